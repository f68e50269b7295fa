"""Lines: outlines of regions traced in order, smoothed, and put in the order a hand would draw them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from paintsundo.data.brush import READING_SLOPE, reading_order
from paintsundo.data.svg_paths import Polyline


def contours(labels: NDArray[np.int32]) -> list[tuple[int, Polyline]]:
    """Boundaries of the regions of equal label > 0 (H, W) as closed loops [(label, (N, 2) x, y)].

    Every region is followed along the cracks between pixels with itself on the right, so loops are clockwise
    around regions and counter-clockwise around holes; regions touching at a corner only are kept apart.
    """
    height, width = labels.shape
    padded = np.pad(labels, 1)
    inner = padded[1:-1, 1:-1]

    def same(dy: int, dx: int) -> NDArray[np.bool_]:
        return padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width] == inner

    pixel = np.arange(height * width).reshape(height, width)
    # Sides of a pixel in clockwise order: top, right, bottom, left; `ahead` is where each side leads,
    # `outward` is the neighbour across it. A side is followed by the next side of the same pixel, by the same
    # side of the pixel ahead, or by the previous side of the pixel diagonally ahead.
    outward = [(-1, 0), (0, 1), (1, 0), (0, -1)]
    ahead = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    following = np.empty((height, width, 4), np.int64)
    exposed = np.empty((height, width, 4), bool)
    for side in range(4):
        (ay, ax), (oy, ox) = ahead[side], outward[side]
        exposed[..., side] = ~same(oy, ox) & (inner > 0)
        straight = same(ay, ax)
        diagonal = straight & same(ay + oy, ax + ox)
        turn = pixel * 4 + (side + 1) % 4
        on = (pixel + ay * width + ax) * 4 + side
        back = (pixel + (ay + oy) * width + ax + ox) * 4 + (side + 3) % 4
        following[..., side] = np.where(diagonal, back, np.where(straight, on, turn))
    starts = np.flatnonzero(exposed)
    nexts = dict(zip(starts.tolist(), following.ravel()[starts].tolist(), strict=True))
    corner_x, corner_y = np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1])
    loops = []
    while nexts:
        first, at = nexts.popitem()
        chain = [first]
        while at != first:
            chain.append(at)
            at = nexts.pop(at)
        sides = np.array(chain)
        cell, turns = sides // 4, sides % 4
        points = np.column_stack([cell % width + corner_x[turns], cell // width + corner_y[turns]]).astype(np.float64)
        loops.append((int(labels.ravel()[cell[0]]), points))
    return loops


def runs(points: Polyline, wanted: NDArray[np.bool_]) -> list[Polyline]:
    """The pieces of a line whose points (N,) are wanted, of two points or more; a closed line has no seam."""
    if wanted.all():
        return [points] if len(points) > 1 else []
    if wanted[0] and wanted[-1] and is_closed(points):
        gap = int(np.argmin(wanted))
        points, wanted = np.roll(points[:-1], -gap, axis=0), np.roll(wanted[:-1], -gap)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], wanted.astype(np.int8), [0]])))
    return [points[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 1]


def within(loop: Polyline, height: int, width: int) -> list[Polyline]:
    """The parts of a closed loop that do not run along the edge of the canvas; the loop itself, closed, if
    none does.
    """
    x, y = loop[:, 0], loop[:, 1]
    inside = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    if inside.all():
        return [np.vstack([loop, loop[:1]])]
    start = int(np.argmin(inside))
    return runs(np.roll(loop, -start, axis=0), np.roll(inside, -start))


def resample(points: Polyline, spacing: float = 1.0) -> Polyline:
    """Points at equal distances along a polyline (N, 2), both ends kept."""
    steps = np.hypot(*np.diff(points, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    if along[-1] == 0:
        return points[:1]
    at = np.linspace(0, along[-1], max(2, round(along[-1] / spacing) + 1))
    return np.column_stack([np.interp(at, along, points[:, 0]), np.interp(at, along, points[:, 1])])


def is_closed(points: Polyline) -> bool:
    """Whether a polyline ends where it starts."""
    return bool(np.hypot(*(points[0] - points[-1])) < 1e-6 + 1e-3 * np.ptp(points, axis=0).max())


def smooth(points: Polyline, sigma: float) -> Polyline:
    """A polyline of equally spaced points under a Gaussian of `sigma` points; closed ones stay closed."""
    if sigma <= 0 or len(points) < 4:
        return points
    if is_closed(points):
        ring = ndimage.gaussian_filter1d(points[:-1], sigma, axis=0, mode="wrap")
        return np.vstack([ring, ring[:1]])
    return ndimage.gaussian_filter1d(points, sigma, axis=0, mode="nearest")


def canonical(points: Polyline) -> Polyline:
    """The same line as a hand would draw it: open ones from the end read first, closed ones clockwise from
    the top.
    """
    if not is_closed(points):
        ends = reading_order(points[[0, -1], 0], points[[0, -1], 1])
        return points if ends[0] <= ends[1] else points[::-1]
    ring = points[:-1]
    x, y = ring[:, 0], ring[:, 1]
    if np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)) < 0:
        ring = ring[::-1]
    start = int(np.argmin(reading_order(ring[:, 0], ring[:, 1])))
    ring = np.roll(ring, -start, axis=0)
    return np.vstack([ring, ring[:1]])


def stroke_order(lines: list[Polyline], groups: list[int], size: float, long: float = 0.6) -> list[int]:
    """Indices of lines in drawing order: by group, long ones (over `long` canvas sides) first, then reading
    order.
    """
    keys = []
    for index, (points, group) in enumerate(zip(lines, groups, strict=True)):
        extent = float(np.hypot(*np.diff(points, axis=0).T).sum())
        x, y = points.mean(axis=0)
        keys.append((group, extent < long * size, float(y + READING_SLOPE * x), index))
    return [key[-1] for key in sorted(keys)]


def without_repeats(lines: list[Polyline], distances: list[float], shortest: int) -> list[Polyline]:
    """Drop the parts of each line that run close to an earlier one.

    `distances`: for each line, how far from every earlier one it must keep; of what is left, pieces of at least
    `shortest` points stay.
    """
    kept: list[Polyline] = []
    for points, distance in zip(lines, distances, strict=True):
        if kept:
            far = cKDTree(np.vstack(kept)).query(points, distance_upper_bound=distance)[0] > distance
        else:
            far = np.ones(len(points), bool)
        kept += [run for run in runs(points, far) if len(run) >= shortest]
    return kept


def line_order(lines: list[Polyline], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Order keys (H, W): for each pixel of `mask` the length drawn when the pen passes nearest; NaN
    elsewhere.
    """
    key = np.full(mask.shape, np.nan)
    ys, xs = np.nonzero(mask)
    if len(ys) and lines:
        samples = [resample(points) for points in lines]
        nearest = cKDTree(np.vstack(samples)).query(np.column_stack([xs + 0.5, ys + 0.5]))[1]
        key[ys, xs] = nearest  # samples are one pixel apart: their number is the length drawn
    return key
