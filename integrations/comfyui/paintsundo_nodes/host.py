"""The few things that are ComfyUI's: its pictures, its progress bar, its stop button, its folders.

Outside ComfyUI (in tests, in notebooks) progress is silent, and films go to a folder `output`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from paintsundo.errors import UserError


def to_pictures(images: torch.Tensor) -> list[Image.Image]:
    """IMAGE, float (B, H, W, C) 0…1, as PIL pictures; transparency is laid over white by the pipeline."""
    levels = images.detach().float().cpu().clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
    return [Image.fromarray(picture) for picture in levels]


def to_images(pictures: list[Image.Image] | np.ndarray) -> torch.Tensor:
    """PIL pictures, or uint8 (B, H, W, 3), as IMAGE, float32 (B, H, W, 3) 0…1."""
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).float() / 255


def one_picture(images: torch.Tensor) -> Image.Image:
    """The only picture of a batch."""
    if len(images) != 1:
        raise UserError(f"one picture is needed, and this batch has {len(images)}")
    return to_pictures(images)[0]


def on_step(total: int) -> Callable[..., dict[str, Any]]:
    """A `callback_on_step_end` that moves ComfyUI's progress bar and hears its stop button."""
    try:
        from comfy.model_management import throw_exception_if_processing_interrupted as stop_if_asked
        from comfy.utils import ProgressBar
    except ImportError:
        return lambda *_: {}
    bar = ProgressBar(total)

    def called(pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        bar.update(1)
        stop_if_asked()
        return {}

    return called


def output_folder(prefix: str) -> tuple[Path, str]:
    """A new folder under ComfyUI's output for a film, and its name there.

    Args:
        prefix: what its name begins with; anything but letters, digits, spaces, `-`, `_` becomes `_`, so that no
            workflow writes elsewhere.
    """
    try:
        from folder_paths import get_output_directory

        root = Path(get_output_directory())
    except ImportError:
        root = Path("output")
    stem = re.sub(r"[^\w\- ]", "_", prefix).strip()[:80] or "paintsundo"
    for number in range(1, 100_000):
        folder = root / f"{stem}_{number:05d}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder, folder.name
    raise UserError(f"{root} has no free name left for {stem!r}")
