"""Line masks as strokes: thinned to one pixel and followed from end to end."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.svg_paths import Polyline

# Neighbours clockwise from the top, as bits 1, 2, 4 ... 128.
_BITS = np.array([[128, 1, 2], [64, 0, 4], [32, 16, 8]], np.float32)
_AROUND = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]


def _removable(pass_: int) -> NDArray[np.bool_]:
    """Zhang and Suen's (1984) rule for each of the 256 neighbourhoods."""
    rule = np.zeros(256, bool)
    for code in range(256):
        n = [(code >> k) & 1 for k in range(8)]
        changes = sum(n[k] == 0 and n[(k + 1) % 8] == 1 for k in range(8))
        if pass_ == 0:
            free = n[0] * n[2] * n[4] == 0 and n[2] * n[4] * n[6] == 0
        else:
            free = n[0] * n[2] * n[6] == 0 and n[0] * n[4] * n[6] == 0
        rule[code] = 2 <= sum(n) <= 6 and changes == 1 and free
    return rule


_RULES = (_removable(0), _removable(1))


def thinned(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The middle lines, one pixel wide, of a mask (H, W); what is connected stays so (Zhang and Suen 1984)."""
    left = np.pad(mask.astype(np.uint8), 1)
    while True:
        before = int(left.sum())
        for rule in _RULES:
            codes = cv2.filter2D(left, cv2.CV_32F, _BITS, borderType=cv2.BORDER_CONSTANT).astype(np.uint8)
            left[rule[codes]] = 0
        if int(left.sum()) == before:
            return left[1:-1, 1:-1] > 0


def chains(lines: NDArray[np.bool_], shortest: int, turn: int = 6) -> list[Polyline]:
    """Lines one pixel wide (H, W) as polylines (N, 2: x, y, pixel centres), none shorter than `shortest` pixels.

    At crossings a stroke goes on as straight as it can, judged by its last `turn` pixels.
    """
    left = {(int(y), int(x)) for y, x in np.argwhere(lines)}
    padded = np.pad(lines.astype(np.uint8), 1)
    degree = cv2.filter2D(padded, cv2.CV_8U, np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], np.float32))[1:-1, 1:-1]
    ends = [(int(y), int(x)) for y, x in np.argwhere(lines & (degree == 1))]

    def follow(start: tuple[int, int], path: list[tuple[int, int]]) -> list[tuple[int, int]]:
        here = start
        while True:
            y, x = here
            best, straightest = None, -2.0
            back = path[max(0, len(path) - turn)]
            ahead = (y - back[0], x - back[1])
            length = (ahead[0] ** 2 + ahead[1] ** 2) ** 0.5
            for dy, dx in _AROUND:
                there = (y + dy, x + dx)
                if there not in left:
                    continue
                norm = (dy * dy + dx * dx) ** 0.5
                straight = (ahead[0] * dy + ahead[1] * dx) / (length * norm) if length else -norm
                if straight > straightest:
                    best, straightest = there, straight
            if best is None or (length and straightest < -0.5):
                return path
            left.discard(best)
            path.append(best)
            here = best

    found = []
    for start in [*ends, *sorted(left)]:
        if start not in left:
            continue
        left.discard(start)
        path = follow(start, [start])
        path = follow(start, path[::-1])  # the other way, where it began in the middle
        if len(path) >= shortest:
            found.append(np.array(path, np.float64)[:, ::-1] + 0.5)
    return found
