"""Brush strokes along the edges of a picture: where they run, what they cover, and in which order.

Strokes start on a jittered grid and follow a field both ways until they are long enough, leave what they paint, or
turn too sharply (after Hertzmann 1998). Where strokes overlap, the canvas keeps the one that was there first: each
pixel changes once in a pass, so every stroke is whole the moment it is made.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.painter.field import Floats, at
from paintsundo.data.painter.hierarchy import Labels

STEP = 0.7
"""Steps along a stroke, in widths of the brush."""


@dataclass(frozen=True)
class Strokes:
    """Strokes of one brush: `points` (S, T, 2: x, y in pixels), of which the first `counts` (S,) are used, in the order
    drawn; `width` in pixels."""

    points: Floats
    counts: NDArray[np.int32]
    width: float

    def __len__(self) -> int:
        return len(self.points)

    def take(self, order: NDArray[np.integer] | NDArray[np.bool_]) -> Strokes:
        """Some of the strokes, in the order given."""
        return Strokes(self.points[order], self.counts[order], self.width)

    @property
    def starts(self) -> Floats:
        """Where each stroke begins (S, 2)."""
        return self.points[:, 0]

    @property
    def middles(self) -> Floats:
        """A point half-way along each stroke (S, 2)."""
        return self.points[np.arange(len(self)), self.counts // 2]


def grid(height: int, width: int, spacing: float, rng: np.random.Generator) -> Floats:
    """Points (N, 2: x, y) about `spacing` pixels apart all over the canvas."""
    rows, columns = max(1, round(height / spacing)), max(1, round(width / spacing))
    ys, xs = np.mgrid[:rows, :columns].astype(np.float32)
    jitter = rng.uniform(0.15, 0.85, (2, rows, columns)).astype(np.float32)
    points = np.stack([(xs + jitter[0]) * width / columns, (ys + jitter[1]) * height / rows], axis=2)
    return points.reshape(-1, 2)


def trace(
    starts: Floats, field: Floats, width: float, length: float, colours: Floats, tolerance: float, areas: Labels | None
) -> Strokes:
    """Strokes through points (S, 2) along a field (H, W, 2), up to `length` pixels long.

    A stroke ends at the canvas's edge, where `colours` (H, W, C) are farther than `tolerance` from those at its
    start, and at the border of its area (H, W) where areas are given.
    """
    height, wide = field.shape[:2]
    step = np.float32(max(1.0, STEP * width))
    count = max(1, round(length / step / 2))
    own = at(colours, starts)
    area = None if areas is None else at(areas, starts)
    halves = []
    for sign in (-1.0, 1.0):
        here: Floats = starts.copy()
        heading: Floats = at(field, starts) * np.float32(sign)
        alive = np.ones(len(starts), bool)
        points, used = [], np.zeros(len(starts), np.int32)
        for _ in range(count):
            ahead = here + step * heading
            inside = (ahead >= 0).all(axis=1) & (ahead[:, 0] < wide) & (ahead[:, 1] < height)
            alive &= inside & (np.abs(at(colours, ahead) - own).max(axis=1) < tolerance)
            if area is not None:
                alive &= at(areas, ahead) == area  # type: ignore[arg-type]
            turned = np.asarray(at(field, ahead))
            along = (turned * heading).sum(axis=1, keepdims=True)
            turned = np.where(along < 0, -turned, turned)
            alive &= np.abs(along[:, 0]) > 0.5
            mean = 0.5 * heading + 0.5 * turned
            length_of = np.maximum(np.hypot(mean[:, 0], mean[:, 1]), np.float32(1e-6))
            heading = np.asarray(mean / length_of[:, None], np.float32)
            here = np.where(alive[:, None], ahead, here)
            points.append(here)
            used += alive
            if not alive.any():
                break
        halves.append((np.stack(points, axis=1), used))
    (back, back_used), (forth, forth_used) = halves
    total = 1 + back.shape[1] + forth.shape[1]
    line = np.concatenate([back[:, ::-1], starts[:, None], forth], axis=1)
    # Dead steps repeat the last point: those of the first half come first and are moved out of the way.
    shift = back.shape[1] - back_used
    places = np.minimum(np.arange(total)[None] + shift[:, None], total - 1)
    line = np.take_along_axis(line, places[..., None], axis=1)
    counts = (1 + back_used + forth_used).astype(np.int32)
    # A hand pulls strokes from the left, or down where they are steep.
    last = line[np.arange(len(line)), counts - 1]
    way = last - line[:, 0]
    wrong = way[:, 0] + 0.7 * way[:, 1] < 0
    backwards = np.maximum(counts[:, None] - 1 - np.arange(total)[None], 0)
    line = np.where(wrong[:, None, None], np.take_along_axis(line, backwards[..., None], axis=1), line)
    return Strokes(line.astype(np.float32), counts, width)


def covered(lines: Strokes, height: int, width: int, by_segment: bool) -> tuple[Labels, NDArray[np.int32]]:
    """Which segment covers each pixel first: (H, W) of number + 1, 0 = none; and each segment's stroke (M,).

    Numbers rise in the order of drawing. `by_segment` False: whole strokes at a time.
    """
    canvas = np.zeros((height, width), np.int32)
    thick = max(1, round(lines.width))
    fixed = np.round(lines.points * 16).astype(np.int32)
    counts = lines.counts.tolist()
    if not by_segment:
        for stroke in range(len(lines) - 1, -1, -1):
            cv2.polylines(canvas, [fixed[stroke, : counts[stroke]]], False, stroke + 1, thick, cv2.LINE_8, 4)
        return canvas, np.arange(len(lines), dtype=np.int32)
    pieces = np.maximum(lines.counts - 1, 1)
    first = np.concatenate([[0], np.cumsum(pieces)])
    owner = np.repeat(np.arange(len(lines), dtype=np.int32), pieces)
    ends = fixed.tolist()
    for stroke in range(len(lines) - 1, -1, -1):
        line, number = ends[stroke], int(first[stroke])
        for k in range(int(pieces[stroke]) - 1, -1, -1):
            cv2.line(canvas, line[k], line[min(k + 1, counts[stroke] - 1)], number + k + 1, thick, cv2.LINE_8, 4)
    return canvas, owner
