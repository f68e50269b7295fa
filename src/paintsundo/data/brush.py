"""The order in which areas are painted: shape by shape, each swept by a brush in serpentine bands.

The order is a function of the picture alone: shapes by size class, then in reading order; bands lie on a fixed
lattice of the canvas. So it can be inferred from the finished picture, which an order drawn by lot cannot.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SLANT = -0.35  # radians: the strokes of a right hand rise to the right
BAND = 16 / 256  # brush width as a share of the canvas side
SIZE_CLASSES = (0.10, 0.015)  # shares of the canvas: large, medium, small
READING_SLOPE = 0.4  # how much a step to the right weighs against a step down


def reading_order(x: NDArray[np.float64] | float, y: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Positions along the reading direction: from the top, and a little from the left."""
    return np.asarray(y + READING_SLOPE * np.asarray(x), np.float64)


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


def component_ranks(
    parts: NDArray[np.int32], groups: NDArray[np.int32] | None = None, size_classes: tuple[float, ...] = SIZE_CLASSES
) -> NDArray[np.int64]:
    """The painting order of numbered regions: ranks (max + 1,), the entry for 0 unused.

    `groups` (max + 1,) orders regions before anything else (elements of a composition); then size class, large first;
    then reading order of the centres.
    """
    count = int(parts.max())
    area = np.bincount(parts.ravel(), minlength=count + 1)
    ys, xs = np.indices(parts.shape)
    safe = np.maximum(area, 1)
    x = np.bincount(parts.ravel(), xs.ravel(), count + 1) / safe
    y = np.bincount(parts.ravel(), ys.ravel(), count + 1) / safe
    size = np.sum([area < share * parts.size for share in size_classes], axis=0)
    order = np.lexsort([reading_order(x, y), size, np.zeros_like(area) if groups is None else groups])
    ranks = np.empty(count + 1, np.int64)
    ranks[order] = np.arange(count + 1)
    return ranks


def sweep(height: int, width: int, band: float) -> NDArray[np.float64]:
    """The serpentine order (H, W) of a brush of width `band` pixels over the whole canvas; below 1e6."""
    ys, xs = np.indices((height, width), dtype=np.float64)
    along = xs * np.cos(SLANT) + ys * np.sin(SLANT)
    across = ys * np.cos(SLANT) - xs * np.sin(SLANT)
    number = np.floor(across / band)
    offset = across - (number + 0.5) * band
    tip = np.sqrt(np.maximum((band / 2) ** 2 - offset**2, 0))  # the brush is round: its middle is ahead
    reach = 2.0 * (height + width)
    forward = np.where(number % 2 == 0, along, -along) - tip
    return (number * 2 * reach + forward + reach) + 4 * reach * (height + width) / band


def painting_order(
    parts: NDArray[np.int32], ranks: NDArray[np.int64], bands: dict[float, NDArray[np.bool_]] | float
) -> NDArray[np.float64]:
    """Order keys (H, W) of painting numbered regions by rank; NaN where there is no region.

    `bands`: the brush width in pixels, or masks (H, W) with a width for each.
    """
    height, width = parts.shape
    if isinstance(bands, float):
        key = sweep(height, width, bands)
    else:
        key = np.zeros((height, width))
        for band, mask in bands.items():
            key[mask] = sweep(height, width, band)[mask]
    scale = 1.0 / (key.max() + 1)
    return np.where(parts > 0, ranks[parts] + key * scale, np.nan)
