"""What `run.json` says of the machine and the software."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

import paintsundo

_PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "onnxruntime", "numpy", "pillow", "av")


def versions() -> dict[str, str]:
    """Versions of this package, Python and what computes."""
    found = {"paintsundo": paintsundo.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine(device: torch.device) -> dict[str, Any]:
    """Operating system and computing device."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"platform": platform.platform(), "device": str(device), "device_name": name}


def peak_memory(device: torch.device) -> dict[str, float]:
    """Largest memory of the process so far, and of torch on the GPU, in GiB."""
    peaks = {"process_GiB": _peak_resident() / 2**30}
    if device.type == "cuda":
        peaks["device_GiB"] = torch.cuda.max_memory_allocated(device) / 2**30
    return {name: round(value, 3) for name, value in peaks.items()}


def _peak_resident() -> int:
    """Largest resident size of this process, bytes."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
