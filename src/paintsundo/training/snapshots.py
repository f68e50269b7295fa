"""Snapshots of power-function averages on disk: what averages of other widths are later reconstructed from.

`<run>/averages/std-0.050/step-00001000.safetensors` holds whole trained parameters, float32, under their names in the
module (`unet.conv_in.weight`), with `format`, `std`, `step` and `updates` (the t of the profile) as metadata.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from paintsundo.errors import UserError

FORMAT = "paintsundo-average-1"


def label(std: float) -> str:
    """Name of the folder of a width."""
    return f"std-{std:.3f}"


@dataclass(frozen=True)
class Snapshot:
    """One average at one step.

    Attributes:
        file: where it is.
        std: relative width.
        step: of the training.
        updates: how many steps it averages.
    """

    file: Path
    std: float
    step: int
    updates: int


def write_snapshot(folder: Path, tensors: Mapping[str, Tensor], std: float, step: int, updates: int) -> Path:
    """Write one, under its name only once it is whole and on disk.

    Args:
        folder: of the run.
        tensors: float32, CPU.
        std, step, updates: as in `Snapshot`.
    """
    file = folder / "averages" / label(std) / f"step-{step:08d}.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    metadata = {"format": FORMAT, "std": repr(std), "step": str(step), "updates": str(updates)}
    try:
        save_file({name: t.contiguous() for name, t in tensors.items()}, partial, metadata=metadata)
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return file


def find_snapshots(folder: Path) -> list[Snapshot]:
    """All snapshots of a run, in the order of steps, then widths.

    Raises:
        UserError: one is damaged or of another format.
    """
    found = []
    for file in (folder / "averages").glob("std-*/step-*.safetensors"):
        try:
            with safe_open(file, "pt") as opened:
                metadata = opened.metadata() or {}
            if metadata["format"] != FORMAT:
                raise ValueError(metadata["format"])
            found.append(Snapshot(file, float(metadata["std"]), int(metadata["step"]), int(metadata["updates"])))
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise UserError(f"{file} is damaged or no snapshot of an average: {error}") from None
    return sorted(found, key=lambda one: (one.step, one.std))


def set_aside(folder: Path, step: int) -> list[Path]:
    """Rename snapshots of steps after `step` to `….superseded`; returns the new names.

    A run that goes on from an earlier checkpoint may take another way than the one that left them.
    """
    renamed = []
    for file in sorted((folder / "averages").glob("std-*/step-*.safetensors")):
        if int(file.stem.removeprefix("step-")) > step:
            renamed.append(file.rename(file.with_name(f"{file.name}.superseded")))
    return renamed
