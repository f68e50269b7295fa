"""The lines an illustrator would draw: flow-based difference of Gaussians (Kang et al. 2007, Winnemöller et al.
2012), as strokes.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from paintsundo.data import strokes
from paintsundo.data.painter.field import Floats, tangents
from paintsundo.data.painter.thinning import chains, thinned
from paintsundo.data.svg_paths import Polyline

SHARPNESS = 1.0
"""How much of the wider Gaussian is taken off; below 1 light edges would be no lines."""
RATIO = 1.6


def grey_of(lab: Floats) -> Floats:
    """Lightness (H, W), 0 ... 100, in which colours of one lightness differ a little too: along the picture's main
    axis of colour."""
    colour = lab[..., 1:].reshape(-1, 2)
    sample = colour[:: max(1, len(colour) // 5000)]
    axis = np.linalg.eigh(np.cov(sample.T) + 1e-6 * np.eye(2))[1][:, 1]
    axis = axis if axis.sum() >= 0 else -axis
    return lab[..., 0] - 0.35 * (lab[..., 1:] @ axis.astype(np.float32))


def _coordinates(shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    ys, xs = np.indices(shape[:2], dtype=np.float32)
    return xs, ys


def _sample(values: NDArray[np.generic], x: Floats, y: Floats) -> Floats:
    return np.asarray(cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def across(grey: Floats, tangent: Floats, sigma: float) -> Floats:
    """Difference of two Gaussians of a picture (H, W), the narrower `sigma` pixels, taken across the edges; negative on
    the dark side."""
    xs, ys = _coordinates(grey.shape)
    reach = int(np.ceil(2 * RATIO * sigma))
    offsets = np.arange(-reach, reach + 1)
    narrow = np.exp(-(offsets**2) / (2 * sigma**2))
    wide = np.exp(-(offsets**2) / (2 * (RATIO * sigma) ** 2))
    weights = narrow / narrow.sum() - SHARPNESS * wide / wide.sum()
    total = np.zeros_like(grey)
    for offset, weight in zip(offsets.tolist(), weights.tolist(), strict=True):
        if abs(weight) > 1e-4:
            moved = _sample(grey, xs - offset * tangent[..., 1], ys + offset * tangent[..., 0])
            total += np.float32(weight) * moved
    return total


def along(values: Floats, tangent: Floats, sigma: float) -> Floats:
    """A Gaussian mean of values (H, W) along the edges, `sigma` pixels wide."""
    xs, ys = _coordinates(values.shape)
    step = max(1.0, sigma / 2)
    total, weight = values.copy(), 1.0
    for sign in (1.0, -1.0):
        x, y, heading = xs, ys, tangent * np.float32(sign)
        for count in range(1, int(2 * sigma / step) + 1):
            x, y = x + np.float32(step) * heading[..., 0], y + np.float32(step) * heading[..., 1]
            amount = float(np.exp(-((count * step) ** 2) / (2 * sigma**2)))
            total += np.float32(amount) * _sample(values, x, y)
            turned = _sample(tangent, x, y)
            same = np.sign((turned * heading).sum(axis=2, keepdims=True))
            heading = np.where(same == 0, heading, turned * same)
        weight += 2 * sum(np.exp(-((c * step) ** 2) / (2 * sigma**2)) for c in range(1, int(2 * sigma / step) + 1)) / 2
    return total / np.float32(weight)


def line_strength(lab: Floats, unit: float) -> Floats:
    """How much of a line there is at each pixel (H, W), 0 = none; in units of lightness."""
    sigma = max(0.9, 0.75 * unit)
    tangent = tangents(lab, 1.6 * unit)
    response = across(grey_of(lab), tangent, sigma)
    return np.maximum(-along(response, tangent, 3.0 * unit), 0)


def line_mask(strength: Floats, low: float, high: float) -> NDArray[np.bool_]:
    """Where lines are (H, W): stronger than `low` and connected to some place stronger than `high`."""
    parts, count = ndimage.label(strength > low, np.ones((3, 3)))
    strong = np.zeros(count + 1, bool)
    strong[parts[strength > high]] = True
    strong[0] = False
    return strong[parts]


def drawn_lines(mask: NDArray[np.bool_], shortest: float, smoothing: float) -> list[Polyline]:
    """Strokes through the middle of a line mask (H, W), at least `shortest` pixels long, points one pixel apart."""
    found = chains(thinned(mask), max(3, round(shortest)))
    smooth = [strokes.smooth(strokes.resample(line), smoothing) for line in found]
    return [strokes.canonical(line) for line in smooth if len(line) > 1]
