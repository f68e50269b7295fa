"""Which device and number type to compute in, and which networks lie on the device when."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from paintsundo.errors import UserError
from paintsundo.pipelines.offload import is_streamed, visiting

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def choose_device(name: str = "auto") -> torch.device:
    """ "auto" is the first CUDA device, Apple's GPU, or the CPU.

    Raises:
        UserError: torch knows no such device, or it is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"runtime.device cannot be {name!r}: auto, cpu, cuda, cuda:1 or mps") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"runtime.device={name}: torch finds {torch.cuda.device_count()} CUDA devices here")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("runtime.device=mps: torch finds no such device here")
    if device.type not in ("cpu", "cuda", "mps", "xpu"):
        raise UserError(f"runtime.device cannot be {name!r}: auto, cpu, cuda, cuda:1 or mps")
    return device


def choose_dtype(name: str, device: torch.device, on_processors: str = "float32") -> torch.dtype:
    """ "auto" is float16 on a GPU, as published, and float32 on a CPU.

    Args:
        on_processors: what "auto" is instead on CPUs with instructions for bfloat16.
    """
    if name != "auto":
        return _DTYPES[name]
    if device.type != "cpu":
        return torch.float16
    return _DTYPES[on_processors] if computes_bfloat16() else torch.float32


@functools.cache
def computes_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32, by its name and instructions (x86 alone has been
    measured): those of AVX-512 gain on AMD's processors and lose on Intel's, which have AMX for that."""
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    intel = "intel" in str(found.get("cpu_name", "")).lower()
    return bool(found.get("amx_bf16", False) or (found.get("avx512_bf16", False) and not intel))


def choose_vae_dtype(dtype: torch.dtype) -> torch.dtype:
    """The keyframe autoencoder's type: bfloat16 beside float16 networks, as published."""
    return torch.bfloat16 if dtype == torch.float16 else dtype


class Placement:
    """Keeps networks on the computing device (memory "high") or brings each there while it works ("low").

    Args:
        device: where to compute.
        memory: "high"; "low"; "auto" and sizes are low on a GPU, until a plan finds that all networks have room.
        seed_device: "auto" draws noise on the computing device, as published; "cpu" on the CPU.
    """

    def __init__(self, device: torch.device, memory: str = "auto", seed_device: str = "auto") -> None:
        self.device = device
        self.low = memory == "low" or (memory != "high" and device.type in ("cuda", "xpu"))
        self.noise_device = torch.device("cpu") if seed_device == "cpu" else device

    @property
    def rest_device(self) -> torch.device:
        """Where networks and intermediate results wait."""
        return torch.device("cpu") if self.low else self.device

    @contextmanager
    def using(self, *networks: nn.Module) -> Iterator[None]:
        """Have these networks on the computing device inside the block; streamed ones come by themselves."""
        try:
            with ExitStack() as stack:
                for network in networks:
                    if is_streamed(network):
                        continue
                    if self.low and not hasattr(network, "_hf_hook"):
                        stack.enter_context(visiting(network, self.device, self.rest_device))
                    else:
                        _move(network, self.device)
                yield
        finally:
            if self.low and self.device.type == "cuda":
                torch.cuda.empty_cache()


def _move(network: nn.Module, device: torch.device) -> None:
    hook = getattr(network, "_hf_hook", None)
    if hook is None:
        network.to(device)
    elif device == getattr(hook, "execution_device", None):
        # Under accelerate's hooks these do the moving, but only before `forward`, not before `encode`.
        hook.pre_forward(network)
