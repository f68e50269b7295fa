"""Pictures in and out: reading any file, resizing to a model's size, the [-1, 1] range."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paintsundo.conditioning.picture_file import open_picture

__all__ = ["crop_notice", "crop_to", "open_picture", "pad_to", "start_uint8", "to_model", "to_uint8"]

Picture = NDArray[np.uint8]  # (H, W, 3) RGB


def _resized(image: Picture, width: int, height: int) -> Picture:
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def crop_to(image: Picture, width: int, height: int) -> Picture:
    """Scale a picture (H, W, 3) to cover (height, width), sides rounded, and crop its centre."""
    rows, columns = image.shape[:2]
    factor = max(height / rows, width / columns)
    scaled = _resized(image, round(columns * factor), round(rows * factor))
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width])


def pad_to(image: Picture, width: int, height: int) -> Picture:
    """Scale a picture (H, W, 3) to fit into (height, width), sides rounded, centred on white."""
    rows, columns = image.shape[:2]
    factor = min(height / rows, width / columns)
    scaled = _resized(image, max(1, round(columns * factor)), max(1, round(rows * factor)))
    canvas = np.full((height, width, 3), 255, dtype=np.uint8)
    top, left = (height - scaled.shape[0]) // 2, (width - scaled.shape[1]) // 2
    canvas[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return canvas


def crop_notice(image: Picture, width: int, height: int) -> str | None:
    """One line saying what `crop_to` removes; None if that is less than half a percent of a side."""
    rows, columns = image.shape[:2]
    factor = max(height / rows, width / columns)
    parts = []
    for side, kept, whole in (
        ("width", width, round(columns * factor)),
        ("height", height, round(rows * factor)),
    ):
        if whole - kept >= 0.005 * whole:
            parts.append(f"{100 * (whole - kept) / whole:.0f} % of the {side}")
    if not parts:
        return None
    return f"cropped from {columns}x{rows} to the shape of {width}x{height}: {' and '.join(parts)} is cut off"


def to_model(pictures: Picture) -> Tensor:
    """uint8 (…, H, W, 3) → float32 (…, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).movedim(-1, -3).float() / 127.5 - 1


def to_uint8(pictures: Tensor) -> Picture:
    """float (…, 3, H, W) in [-1, 1] → uint8 (…, H, W, 3) on the CPU, clamped and truncated (not rounded).

    Raises FloatingPointError if a value is not a number, rather than return a black picture.
    """
    return start_uint8(pictures)()


def start_uint8(pictures: Tensor) -> Callable[[], Picture]:
    """`to_uint8` of (N, 3, H, W) or (3, H, W) on a GPU without waiting for it: call what is returned for the result."""
    some = pictures.detach()
    images = some if some.dim() > 3 else some[None]
    shape = (*images.shape[:-3], *images.shape[-2:], images.shape[-3])
    on_gpu = images.is_cuda
    result = torch.empty(shape, dtype=torch.uint8, pin_memory=on_gpu)
    found = torch.zeros((), dtype=torch.bool, device=images.device)
    # One picture at a time: no more than one lies there in float32.
    for index, image in enumerate(images):
        values = 127.5 * image.float() + 127.5
        found |= values.isnan().any()
        levels = values.clamp(0, 255).to(torch.uint8).movedim(-3, -1).contiguous()
        result[index].copy_(levels, non_blocking=on_gpu)
    faulty = torch.empty((), dtype=torch.bool, pin_memory=on_gpu)
    faulty.copy_(found, non_blocking=on_gpu)
    done = torch.cuda.Event() if on_gpu else None
    if done is not None:
        done.record(torch.cuda.current_stream(images.device))

    def wait() -> Picture:
        if done is not None:
            done.synchronize()
        if faulty:
            raise FloatingPointError("the model returned values that are not numbers (NaN)")
        return (result if some.dim() > 3 else result[0]).numpy()

    return wait
