"""Similarities of the plane: how pixels at the beginning of a recording lie in a later sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]  # (2, 3), pixels at the beginning -> pixels of a sample

SCALES = 0.2, 8.0  # possible enlargement


def identity() -> Matrix:
    """The view of the beginning."""
    return np.eye(2, 3)


def is_identity(matrix: Matrix) -> bool:
    """Whether a view is exactly that of the beginning."""
    return bool(np.array_equal(matrix, identity()))


def kind(matrix: Matrix) -> dict[str, float | bool]:
    """Zoom factor, rotation in degrees and whether it mirrors, of a similarity."""
    turn = matrix[:, :2]
    mirrored = bool(np.linalg.det(turn) < 0)
    if mirrored:
        turn = turn @ np.diag([-1.0, 1.0])
    angle = float(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))
    return {"zoom": float(np.sqrt(abs(np.linalg.det(turn)))), "degrees": angle, "mirrored": mirrored}


def compose(after: Matrix, before: Matrix) -> Matrix:
    """First `before`, then `after`."""
    return np.asarray((np.vstack([after, [0, 0, 1]]) @ np.vstack([before, [0, 0, 1]]))[:2])


def moved(matrix: Matrix, other: Matrix, points: NDArray[np.float64]) -> float:
    """How far apart, in pixels, two views bring some points (N, 2), at most."""
    apart = (points @ (matrix - other)[:, :2].T) + (matrix - other)[:, 2]
    return float(np.hypot(apart[:, 0], apart[:, 1]).max())


def sensible(matrix: Matrix) -> bool:
    """Whether an enlargement is possible."""
    return SCALES[0] <= float(np.sqrt(abs(np.linalg.det(matrix[:, :2])))) <= SCALES[1]
