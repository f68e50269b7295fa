"""Drawn lines as strokes: thinned to a pixel's width, followed from their ends, straight on where lines cross."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from paintsundo.data import strokes
from paintsundo.data.brush import reading_order
from paintsundo.data.svg_paths import Polyline

_AROUND = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))  # clockwise from above


def thinned(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The skeleton (H, W) of a mask (Zhang and Suen 1984)."""
    image = np.pad(mask, 1).astype(np.uint8)
    while True:
        before = int(image.sum())
        for first in (True, False):
            image[_removable(image, first)] = 0
        if int(image.sum()) == before:
            return image[1:-1, 1:-1].astype(bool)


def _removable(image: NDArray[np.uint8], first: bool) -> NDArray[np.bool_]:
    near = [np.roll(image, (-dy, -dx), axis=(0, 1)) for dy, dx in _AROUND]
    count = np.sum(near, axis=0)
    changes = np.sum([(a == 0) & (b == 1) for a, b in zip(near, [*near[1:], near[0]], strict=True)], axis=0)
    up, right, down, left = near[0], near[2], near[4], near[6]
    if first:
        open_sides = (up * right * down == 0) & (right * down * left == 0)
    else:
        open_sides = (up * right * left == 0) & (up * down * left == 0)
    return (image == 1) & (count >= 2) & (count <= 6) & (changes == 1) & open_sides


def centrelines(mask: NDArray[np.bool_]) -> list[Polyline]:
    """Lines (N, 2) of (x, y) through the middle of what is drawn, every skeleton pixel in one of them."""
    skeleton = thinned(mask)
    ys, xs = np.nonzero(skeleton)
    left = set(zip(ys.tolist(), xs.tolist(), strict=True))
    degree = {at: sum((at[0] + dy, at[1] + dx) in left for dy, dx in _AROUND) for at in left}
    order = np.argsort(reading_order(xs.astype(np.float64), ys.astype(np.float64)), kind="stable")
    starts = [(int(ys[k]), int(xs[k])) for k in order]
    found = []
    for start in (*(at for at in starts if degree[at] == 1), *starts):  # ends first, then what is left of loops
        if start in left:
            path = _followed(start, left)
            found.append(np.array([(x + 0.5, y + 0.5) for y, x in path], np.float64))
    return found


def _followed(start: tuple[int, int], left: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """The pixels from a start on, taken out of `left`, turning as little as possible."""
    path = [start]
    left.discard(start)
    while True:
        y, x = path[-1]
        back = path[max(0, len(path) - 5)]
        ahead = (y - back[0], x - back[1])
        choices = [
            (-(dy * ahead[0] + dx * ahead[1]) / (dy * dy + dx * dx) ** 0.5, abs(dy) + abs(dx), (y + dy, x + dx))
            for dy, dx in _AROUND
            if (y + dy, x + dx) in left
        ]
        if not choices:
            return path
        path.append(min(choices)[2])
        left.discard(path[-1])


def line_keys(mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Order keys (H, W) of drawing the lines of a mask one by one, NaN elsewhere, and their mean width in pixels."""
    keys = np.full(mask.shape, np.nan)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return keys, 1.0
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    keys[window], width = _keys(mask[window], mask.shape[0])
    return keys, width


def _keys(mask: NDArray[np.bool_], height: int) -> tuple[NDArray[np.float64], float]:
    """The same within the rectangle that the lines fill, on a canvas of this height."""
    lines = centrelines(mask)
    width = max(1.0, float(mask.sum()) / sum(len(line) for line in lines))
    lines = [strokes.canonical(line) if len(line) > 1 else line for line in _without_spurs(lines, mask, 2 * width)]
    order = strokes.stroke_order(lines, [0] * len(lines), height)
    return strokes.line_order([lines[k] for k in order], mask), width


def _without_spurs(lines: list[Polyline], mask: NDArray[np.bool_], least: float) -> list[Polyline]:
    """Lines of some length, and of each connected part at least the longest: thinning leaves spurs at corners."""
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    of = [int(parts[int(line[0, 1]), int(line[0, 0])]) for line in lines]
    longest = np.zeros(count + 1, np.int64)
    for part, line in zip(of, lines, strict=True):
        longest[part] = max(longest[part], len(line))
    kept = []
    for part, line in zip(of, lines, strict=True):
        if len(line) >= least or len(line) == longest[part]:
            kept.append(line)
            longest[part] += len(line) == longest[part]  # one of several as long is enough
    return kept
