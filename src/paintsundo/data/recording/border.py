"""The border of the canvas to the pixel, in frames of full size."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.recording.canvas import Corners, ordered

PLACES = 96  # along each side
CONTRAST = 8  # levels, the least between paper and border
RINGING = 0.2  # of the contrast around: what compression leaves before an edge is less
STEP = 0.25  # pixels


def refine(frame: Picture, corners: Corners, reach: float, straight: bool) -> Corners:
    """Corners moved to where the blank paper ends, each side by at most `reach` pixels.

    Args:
        frame: uint8 (H, W, 3), the canvas blank on it.
        corners: about right, in pixels of the frame (pixel edges).
        reach: how far off they may be.
        straight: whether the canvas is parallel to the frame and lies on whole pixels.
    """
    height, width = frame.shape[:2]
    lines = []
    for side in range(4):
        first, second = corners[side], corners[(side + 1) % 4]
        on_edge = [abs(first[axis] - end) < 0.01 and abs(second[axis] - end) < 0.01 for axis, end in _ends(side, frame)]
        points = None if any(on_edge) else _crossings(frame, first, second, reach)
        if points is None:
            lines.append((first, second))
        elif straight:
            axis = 1 if side % 2 == 0 else 0
            level = float(np.round(np.median(points[:, axis])))
            one, other = first.copy(), second.copy()
            one[axis] = other[axis] = level
            lines.append((one, other))
        else:
            dx, dy, x, y = cv2.fitLine(points.astype(np.float32), cv2.DIST_HUBER, 0, 0.01, 0.01).ravel().tolist()
            lines.append((np.array([x, y]), np.array([x + dx, y + dy])))
    found = np.stack([_crossing_of(lines[side - 1], lines[side]) for side in range(4)])
    found = np.clip(found, 0, (width, height))
    if straight:
        return found
    return ordered(found)


def _ends(side: int, frame: Picture) -> list[tuple[int, int]]:
    height, width = frame.shape[:2]
    return [(1, 0), (1, height)] if side % 2 == 0 else [(0, 0), (0, width)]


def _crossings(
    frame: Picture, first: NDArray[np.float64], second: NDArray[np.float64], reach: float
) -> NDArray[np.float64] | None:
    """Points (N, 2) at which the colour has gone half the way from the paper's to the border's; None: no border."""
    along = second - first
    length = float(np.hypot(*along))
    if length < 8:
        return None
    outward = np.array([along[1], -along[0]]) / length  # corners go clockwise
    places = first + np.linspace(0.06, 0.94, PLACES)[:, None] * along
    offsets = np.arange(-reach - 6, reach + 5, STEP)
    at = places[:, None] + offsets[None, :, None] * outward - 0.5
    x, y = at[..., 0].astype(np.float32), at[..., 1].astype(np.float32)
    values = cv2.remap(frame, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    paper = np.median(values[:, : round(4 / STEP)], axis=1, keepdims=True)
    away = np.abs(values - paper).max(axis=2)
    window = round(1.5 / STEP)  # no further: beyond a thin line shadows may be darker
    ahead = np.stack([away[:, k : k + window].max(axis=1) for k in range(len(offsets) - window)], axis=1)
    near = away[:, : ahead.shape[1]]
    least = np.maximum(CONTRAST, RINGING * away.max(axis=1, keepdims=True))
    beyond = (near >= 0.5 * ahead) & (near >= 0.5 * least) & (ahead > least)
    has = beyond.any(axis=1)
    if has.mean() < 0.4:
        return None
    index = beyond.argmax(axis=1)
    rows = np.flatnonzero(has)
    reached = offsets[index[rows]]
    before = away[rows, np.maximum(index[rows] - 1, 0)]
    now, half = away[rows, index[rows]], 0.5 * ahead[rows, index[rows]]
    share = np.clip((now - half) / np.maximum(now - before, 1e-3), 0, 1)
    reached = reached - STEP * share
    middle = float(np.median(reached))
    near = np.abs(reached - middle) < max(1.5, 0.5 * reach)
    return np.asarray(places[rows][near] + reached[near, None] * outward)


def _crossing_of(
    one: tuple[NDArray[np.float64], NDArray[np.float64]], other: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Where two lines through two points each meet."""
    (a, b), (c, d) = one, other
    system = np.array([b - a, c - d]).T
    if abs(np.linalg.det(system)) < 1e-9:
        return np.asarray(c)
    return np.asarray(a + np.linalg.solve(system, c - a)[0] * (b - a))
