"""`benchmark.py kernels`: Triton kernels and convolutions at the sizes of one pass, written as JSON and as tables."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import MISSING

from paintsundo.errors import UserError
from paintsundo.models.fused import kernels_installed
from paintsundo.pipelines.record import machine, versions
from support.arguments import parse
from support.json_files import write_json
from support.kernel_calls import FULL, SMALL, calls_of_a_pass
from support.kernel_cases import Data
from support.kernel_convolutions import convolution_table, measure_convolutions
from support.kernel_times import kernel_table, measure_kernels, measure_norm_parts, memory_rate, parts_table, sums_of

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass
class KernelSettings:
    """Options of `benchmark.py kernels`, explained at the top of that file."""

    output: str = MISSING
    dtype: str = "float16"
    small: bool = False


def main(arguments: Sequence[str]) -> None:
    settings = parse(KernelSettings, arguments, literal_keys=("output",))
    if settings.dtype not in DTYPES:
        raise UserError(f"dtype={settings.dtype}: one of {', '.join(DTYPES)}")
    device = choose_device()
    # Interpreted kernels take seconds for what a GPU does in microseconds.
    settings.small = settings.small or device.type != "cuda"
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    table = measure(settings, device, output)
    print(f"{table}\n\nwritten to {output}")


def choose_device() -> torch.device:
    """A GPU, or the processor where kernels are interpreted. Raises UserError where neither can run them."""
    if not kernels_installed():
        raise UserError("benchmark.py kernels needs Triton, which is not installed")
    # Triton decides at its import: without a GPU everything is interpreted.
    if os.environ.get("TRITON_INTERPRET") == "1":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError("benchmark.py kernels needs a CUDA GPU; TRITON_INTERPRET=1 checks tiny shapes without one")
    return torch.device("cuda", torch.cuda.current_device())


@torch.no_grad()
def measure(settings: KernelSettings, device: torch.device, output: Path) -> str:
    """Write kernels.json and kernels.md; the tables."""
    torch.manual_seed(0)
    data = Data(device, DTYPES[settings.dtype])
    calls = calls_of_a_pass(settings.small, data.dtype)
    rate = memory_rate(device)
    about = machine(device)
    heading = [about["device_name"], f"PyTorch {torch.__version__}", settings.dtype]
    heading.append("tiny shapes, not timed" if rate is None else f"memory {rate / 1e12:.2f} TB/s read and written")
    tables = [", ".join(heading)]
    report = {
        "settings": asdict(settings),
        "small": settings.small,
        "latents": SMALL if settings.small else FULL,
        "machine": about,
        "versions": versions() | {"triton": importlib.metadata.version("triton"), "cuda": torch.version.cuda},
        "memory_rate": rate,
    }

    def keep(table: str, **found: Any) -> None:
        """What is known so far stays if the rest fails."""
        report.update(found)
        write_json(output / "kernels.json", report)
        tables.append(table)
        (output / "kernels.md").write_text("\n\n".join(tables) + "\n", encoding="utf-8")

    rows = measure_kernels(calls, data, rate)
    keep(kernel_table(rows), kernels=rows, sum=sums_of(rows))
    parts = measure_norm_parts(calls, data)
    keep(parts_table(parts), group_norm_parts=parts)
    convolutions = measure_convolutions(calls, data)
    keep(convolution_table(convolutions), convolutions=convolutions)
    return "\n\n".join(tables)
