"""Which part of a picture is kept, and uploads brought to the keyframes' size."""

from __future__ import annotations

import numpy as np
from PIL import Image

from paintsundo.conditioning.images import crop_to, pad_to

_DIM = 0.35  # of the brightness of what will be cut off


def fitted(picture: Image.Image, width: int, height: int, fit: str) -> Image.Image:
    """A picture at the keyframes' size, as `infer.py` fits it."""
    fit_to = crop_to if fit == "crop" else pad_to
    return Image.fromarray(fit_to(np.asarray(picture.convert("RGB")), width, height))


def kept_region(size: tuple[int, int], width: int, height: int) -> tuple[float, float, float, float]:
    """(left, top, right, bottom), 0…1 of the sides of a picture of `size`, of what a crop to width x height keeps."""
    factor = max(width / size[0], height / size[1])
    across, down = width / (size[0] * factor), height / (size[1] * factor)
    return (1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2


def crop_preview(picture: Image.Image, width: int, height: int, fit: str, side: int) -> Image.Image:
    """A small copy of the picture: what is cut off dimmed, or what is added white; longer side at most `side`."""
    if fit == "pad":
        shown = fitted(picture, width, height, fit)
        shown.thumbnail((side, side))
        return shown
    shown = picture.convert("RGB").copy()
    shown.thumbnail((side, side))
    pixels = np.asarray(shown)
    left, top, right, bottom = kept_region(picture.size, width, height)
    rows, columns = pixels.shape[:2]
    inside = np.zeros((rows, columns, 1), bool)
    inside[round(top * rows) : round(bottom * rows), round(left * columns) : round(right * columns)] = True
    return Image.fromarray(np.where(inside, pixels, (pixels * _DIM + 255 * (1 - _DIM)).astype(np.uint8)))
