"""Which way strokes run: the edge tangent field of a picture.

The smoothed structure tensor (Kang et al. 2007, Kyprianidis and Kang 2011): its weaker eigenvector runs along
edges. Where a picture is flat the field is carried in from the edges around.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SLANT = -0.35
"""Radians: where nothing says otherwise, the strokes of a right hand rise to the right."""
CARRIED = 12.0
"""How much wider than the field itself its surroundings are looked at."""


def structure_tensor(lab: Floats, sigma: float) -> Floats:
    """Products of derivatives (H, W, 3: xx, xy, yy) of a Lab picture, summed over its channels, smoothed by `sigma`
    pixels."""
    across = cv2.Scharr(lab, cv2.CV_32F, 1, 0, scale=1 / 32)
    down = cv2.Scharr(lab, cv2.CV_32F, 0, 1, scale=1 / 32)
    products = np.stack([(across * across).sum(2), (across * down).sum(2), (down * down).sum(2)], axis=2)
    return cv2.GaussianBlur(products, (0, 0), sigma)


def tangents(lab: Floats, sigma: float) -> Floats:
    """Unit vectors along edges (H, W, 2: x, y) of a Lab picture; v and -v mean the same.

    `sigma`: pixels over which the field is smooth. Weak edges count too, as far as there are no strong ones near.
    """
    tensor = structure_tensor(lab, sigma)
    height, width = tensor.shape[:2]
    # What lies around decides where the tensor itself is weak, and a constant slant where there is nothing.
    factor = max(1, int(sigma * CARRIED / 4))
    small = cv2.resize(tensor, (-(-width // factor), -(-height // factor)), interpolation=cv2.INTER_AREA)
    around = cv2.GaussianBlur(small, (0, 0), sigma * CARRIED / factor)
    around = cv2.resize(around, (width, height), interpolation=cv2.INTER_LINEAR)
    slant = np.array([np.sin(SLANT) ** 2, -np.sin(SLANT) * np.cos(SLANT), np.cos(SLANT) ** 2], np.float32)
    total = tensor + 0.05 * around + np.float32(0.02) * slant
    # The angle of the stronger eigenvector; the tangent is at a right angle to it.
    angle = 0.5 * np.arctan2(2 * total[..., 1], total[..., 0] - total[..., 2])
    return np.stack([-np.sin(angle), np.cos(angle)], axis=2)


def at(values: NDArray[Any], points: NDArray[Any]) -> NDArray[Any]:
    """Entries of a map (H, W, ...) at points (..., 2: x, y), nearest pixel, points outside taken to the edge."""
    height, width = values.shape[:2]
    x = np.clip(points[..., 0].astype(np.int32), 0, width - 1)
    y = np.clip(points[..., 1].astype(np.int32), 0, height - 1)
    return values[y, x]
