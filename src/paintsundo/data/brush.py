"""The order in which areas are painted: shape by shape, each swept by a brush in serpentine bands.

The order is a function of the picture alone: shapes by size class, then in reading order; bands lie on a
fixed lattice of the canvas. So it can be inferred from the finished picture, which an order drawn by lot
cannot.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SLANT = -0.35  # radians: the strokes of a right hand rise to the right
SIZE_CLASSES = (0.10, 0.015)  # shares of the canvas: large, medium, small
BANDS = (22 / 256, 14 / 256, 8 / 256)  # brush width for each class, as a share of the canvas side
BROAD = 48 / 256  # for what lies behind everything
BAND = BANDS[1]
READING_SLOPE = 0.4  # how much a step to the right weighs against a step down


def reading_order(x: NDArray[np.float64] | float, y: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Positions along the reading direction: from the top, and a little from the left."""
    return np.asarray(y + READING_SLOPE * np.asarray(x), np.float64)


def side(height: int, width: int) -> float:
    """The side of a square of the same area: what shares of the canvas side refer to."""
    return math.sqrt(height * width)


def components(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Number the 4-connected regions of equal label (H, W) from 1; label 0 is nothing and stays 0."""
    numbered = np.zeros_like(labels)
    count = 0
    for label, window in enumerate(ndimage.find_objects(labels), start=1):
        if window is None:
            continue
        parts, found = ndimage.label(labels[window] == label)
        view = numbered[window]
        view[parts > 0] = parts[parts > 0] + count
        count += found
    return numbered


def size_classes(area: NDArray[np.int64], pixels: int) -> NDArray[np.int64]:
    """0 large, 1 medium, 2 small, for areas in pixels on a canvas of so many pixels."""
    return np.asarray(np.sum([area < share * pixels for share in SIZE_CLASSES], axis=0))


def component_ranks(parts: NDArray[np.int32], groups: NDArray[np.int32] | None = None) -> NDArray[np.int64]:
    """The painting order of numbered regions: ranks (max + 1,), the entry for 0 unused.

    `groups` (max + 1,) orders regions before anything else (elements of a composition); then size class,
    large first; then reading order of the centres.
    """
    count = int(parts.max())
    area = np.bincount(parts.ravel(), minlength=count + 1)
    ys, xs = np.indices(parts.shape)
    safe = np.maximum(area, 1)
    x = np.bincount(parts.ravel(), xs.ravel(), count + 1) / safe
    y = np.bincount(parts.ravel(), ys.ravel(), count + 1) / safe
    first = np.zeros_like(area) if groups is None else groups
    order = np.lexsort([reading_order(x, y), size_classes(area, parts.size), first])
    ranks = np.empty(count + 1, np.int64)
    ranks[order] = np.arange(count + 1)
    return ranks


@lru_cache(maxsize=32)
def sweep(height: int, width: int, band: float) -> NDArray[np.float64]:
    """The serpentine order (H, W) of a brush of width `band` pixels over the whole canvas, 0 ... 1
    exclusive.
    """
    ys, xs = np.indices((height, width), dtype=np.float64)
    along = xs * np.cos(SLANT) + ys * np.sin(SLANT)
    across = ys * np.cos(SLANT) - xs * np.sin(SLANT)
    number = np.floor(across / band)
    offset = across - (number + 0.5) * band
    tip = np.sqrt(np.maximum((band / 2) ** 2 - offset**2, 0))  # the brush is round: its middle is ahead
    forward = np.where(number % 2 == 0, along, -along) - tip
    key = number * (4.0 * (height + width)) + forward
    key -= key.min()
    key /= key.max() + 1
    key.setflags(write=False)  # shared between calls
    return key


def painting(
    parts: NDArray[np.int32],
    groups: NDArray[np.int32] | None = None,
    behind: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Order keys and work (both (H, W)) of painting numbered regions; keys are NaN where there is no region.

    The brush is as wide as its region's size class asks, and broad where `behind` (H, W) says that the region
    is a background. The work of a pixel is the length of stroke that covers it: one over the width of the
    brush.
    """
    height, width = parts.shape
    area = np.bincount(parts.ravel())
    kind = size_classes(area, parts.size)[parts]
    if behind is not None:
        kind = np.where(behind, len(BANDS), kind)
    key, cost = np.zeros(parts.shape), np.zeros(parts.shape)
    for number, share in enumerate((*BANDS, BROAD)):
        mask = kind == number
        if mask.any():
            key[mask] = sweep(height, width, share * side(height, width))[mask]
            cost[mask] = BAND / share
    return np.where(parts > 0, component_ranks(parts, groups)[parts] + key, np.nan), cost
