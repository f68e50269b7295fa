"""Passes of a brush over the canvas: loose ones that leave their strokes' colours, and careful ones that end at a
known picture.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data import brush
from paintsundo.data.painter.brushwork import covered, grid, trace
from paintsundo.data.painter.field import SLANT, Floats, at
from paintsundo.data.painter.hierarchy import Labels
from paintsundo.data.painter.study import nearest_outside, to_lab, to_rgb
from paintsundo.data.process import Picture
from paintsundo.data.timeline import Draft

BANDS = 2.5
"""Width of the bands in which strokes follow each other, in widths of the brush."""
LOOSE, CAREFUL = 0.72, 1.1
"""Distances between strokes, in widths of the brush: overlapping, and side by side."""
WHOLE_BELOW = 10.0  # pixels of width below which strokes are made whole rather than piece by piece


def serpentine(points: Floats, band: float) -> NDArray[np.float64]:
    """The order, 0 ... 1 exclusive, in which points (N, 2: x, y) come up along slanted bands of `band` pixels, there
    and back."""
    x, y = points.astype(np.float64).T
    along, across = x * np.cos(SLANT) + y * np.sin(SLANT), y * np.cos(SLANT) - x * np.sin(SLANT)
    number = np.floor(across / band)
    key = number * 4 * (1 + np.abs(along).max()) + np.where(number % 2 == 0, along, -along)
    key -= key.min()
    return np.asarray(key / (key.max() + 1))


def loose(
    name: str,
    canvas: Picture,
    reference: Floats,
    field: Floats,
    areas: Labels,
    width: float,
    rng: np.random.Generator,
    *,
    length: float = 6.0,
    tolerance: float = 12.0,
    wrong: float = 4.0,
) -> Draft:
    """A pass of strokes in the reference's colours (H, W, 3 in Lab) wherever the canvas is wrong by more than `wrong`.

    Areas (H, W) are painted one after the other, large ones first; strokes run along the field (H, W, 2) for up to
    `length` widths of the brush (`width` pixels), as far as the reference stays within `tolerance` of their colour.
    """
    height, wide = canvas.shape[:2]
    starts = grid(height, wide, LOOSE * width, rng)
    error = np.abs(to_lab(canvas) - reference).max(axis=2)
    side = max(1, round(width)) | 1
    starts = starts[at(cv2.blur(error, (side, side)), starts) > wrong]
    if not len(starts):
        return Draft(name, canvas, np.full((height, wide), np.nan))
    lines = trace(starts, field, width, length * width, reference, tolerance, None)
    middles = lines.middles
    rank = brush.component_ranks(areas)[at(areas, middles)]
    order = np.argsort(rank + serpentine(middles, BANDS * width), kind="stable")
    colours = to_rgb(np.asarray(at(reference, starts[order]))[None])[0]
    lines = lines.take(order)
    pieces, owner = covered(lines, height, wide, width >= WHOLE_BELOW)
    mask = pieces > 0
    picture = canvas.copy()
    picture[mask] = colours[owner[pieces[mask] - 1]]
    return Draft(name, picture, np.where(mask, pieces, np.nan).astype(np.float64), np.full((height, wide), 1 / width))


def careful(
    name: str,
    picture: Picture,
    field: Floats,
    areas: Labels,
    width: float | NDArray[np.float64],
    rng: np.random.Generator,
) -> Draft:
    """A pass that ends at a known picture (H, W, 3): area by area (H, W), large ones first, in strokes along the
    field that stop at the borders of areas.

    `width`: of the brush in pixels, or one for each area (max + 1,).
    """
    height, wide = areas.shape
    widths = np.asarray(width, np.float64)
    if widths.ndim == 0:
        widths = np.full(int(areas.max()) + 1, float(widths))
    rank = brush.component_ranks(areas)
    key = np.full(areas.shape, np.nan)
    for size in np.unique(widths[1:]).tolist():
        starts = grid(height, wide, CAREFUL * size, rng)
        starts = starts[widths[at(areas, starts)] == size]
        if not len(starts):
            continue
        nothing = np.zeros((height, wide, 1), np.float32)
        lines = trace(starts, field, size, 7.0 * size, nothing, 1.0, areas)
        lines = lines.take(np.argsort(serpentine(lines.middles, BANDS * size), kind="stable"))
        pieces, owner = covered(lines, height, wide, size >= WHOLE_BELOW)
        mine = pieces > 0  # but not where a stroke's width reaches into another area
        mine[mine] = at(areas, lines.middles)[owner[pieces[mine] - 1]] == areas[mine]
        key[mine] = pieces[mine] / (len(owner) + 1)
    key = np.asarray(nearest_outside(key, np.isnan(key)))
    key = np.where(np.isnan(key), 0.5, key)
    return Draft(name, picture, rank[areas] + key, 1 / widths[areas])
