"""Parts of a drawing: what was drawn between two liftings of the pen, and how it looks somewhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.moves import Mask, Move, Order, before, divide
from paintsundo.data.process import Picture
from paintsundo.data.timeline import changed

LEAST_AREA = 0.003  # of the canvas: a smaller part is not worth a behaviour
LEAST_WORK = 0.03  # of the process: moves with less are not divided into parts
BINS = 256  # pieces of a move between which liftings are looked for
LIFT = 0.08  # canvas sides from one piece to the next: the pen was lifted
LEAST_SHIFT = 0.025  # canvas sides by which the pixels of a part are displaced on average, at least
INSIDE = 0.9  # share of a displaced part that must lie on the canvas
ATTEMPTS = 12

Matrix = NDArray[np.float64]  # (2, 3), affine, x before y


@dataclass(frozen=True, eq=False)
class Part:
    """A piece of one move: `moves` are all moves with the piece standing alone as number `index`; `mask` (H, W) is
    what it changes.
    """

    moves: list[Move]
    index: int
    mask: Mask


def drawn(move: Move) -> bool:
    """Whether a move comes from the process itself, not from a behaviour."""
    return not move.added


def pen_lifts(order: Order) -> NDArray[np.float64]:
    """Shares of a move, ascending from 0 to 1, at which drawing goes on at another place."""
    ys, xs = np.nonzero(~np.isnan(order))
    keys = order[ys, xs]
    by_order = np.argsort(keys, kind="stable")
    pieces = [piece for piece in np.array_split(by_order, min(BINS, len(by_order))) if len(piece)]
    centres = np.array([(xs[piece].mean(), ys[piece].mean()) for piece in pieces])
    jumps = np.hypot(*np.diff(centres, axis=0).T) > LIFT * max(order.shape)
    starts = np.array([keys[piece[0]] for piece in pieces[1:]], np.float64)
    return np.unique(np.concatenate([[0.0], starts[jumps], [1.0]]))


def pick_part(moves: Sequence[Move], random: np.random.Generator, strength: float) -> Part | None:
    """A piece of a move that the process itself makes, the larger the stronger; None when there is none."""
    total = sum(move.work for move in moves)
    places = [k for k, move in enumerate(moves) if drawn(move) and move.work > LEAST_WORK * total]
    if not places:
        return None
    works = np.array([moves[k].work for k in places])
    for _ in range(ATTEMPTS):
        index = places[random.choice(len(places), p=works / works.sum())]
        length = random.uniform(0.1, 0.2 + 0.6 * strength)
        begin = random.uniform(0, 1 - length)
        lifts = pen_lifts(moves[index].order)
        low, high = (float(lifts[np.abs(lifts - share).argmin()]) for share in (begin, begin + length))
        if low == high or high - low > 1.5 * length:
            low, high = begin, begin + length
        part = _alone(moves, index, low, high)
        if part.mask.mean() >= LEAST_AREA:
            return part
    return None


def _alone(moves: Sequence[Move], index: int, low: float, high: float) -> Part:
    """A move divided so that what lies between two of its shares stands alone."""
    start, move = before(moves, index), moves[index]
    pieces: list[Move] = []
    if low > 0.01:
        first, move = divide(start, move, low)
        pieces.append(first)
        high = (high - low) / (1 - low)
    place = index + len(pieces)
    if high < 0.99:
        start_of_part = pieces[-1].after if pieces else start
        pieces += divide(start_of_part, move, high)
    else:
        pieces.append(move)
    found = [*moves[:index], *pieces, *moves[index + 1 :]]
    return Part(found, place, changed(before(found, place), found[place].after))


def displacement(mask: Mask, random: np.random.Generator, strength: float) -> Matrix | None:
    """An affine map that shows a part (H, W) at another place, size and angle, still on the canvas; None when none was
    found.
    """
    ys, xs = np.nonzero(mask)
    centre = np.array([xs.mean(), ys.mean()])
    points = np.stack([xs, ys], axis=1)[:: max(1, len(xs) // 2000)]
    side = max(mask.shape)
    for _ in range(ATTEMPTS):
        angle = random.normal(0, 6 + 30 * strength)
        scale = float(np.exp(random.normal(0, 0.06 + 0.3 * strength)))
        matrix = cv2.getRotationMatrix2D(centre.tolist(), angle, scale)
        matrix[:, 2] += random.normal(0, 0.02 + 0.12 * strength, 2) * side
        moved = points @ matrix[:, :2].T + matrix[:, 2]
        inside = ((moved >= 0) & (moved < (mask.shape[1], mask.shape[0]))).all(axis=1).mean()
        if inside >= INSIDE and np.hypot(*(moved - points).T).mean() >= LEAST_SHIFT * side:
            return np.asarray(matrix)
    return None


def described(matrix: Matrix) -> dict[str, float]:
    """A displacement in words: `angle` in degrees, `scale`, and the shift `x`, `y` of the origin in pixels."""
    (a, b), shift = matrix[0, :2], matrix[:, 2]
    return {
        "angle": round(float(np.degrees(np.arctan2(b, a))), 2),
        "scale": round(float(np.hypot(a, b)), 4),
        "x": round(float(shift[0]), 2),
        "y": round(float(shift[1]), 2),
    }


def warped_order(order: Order, matrix: Matrix) -> Order:
    """Orders (H, W) carried along with their pixels."""
    height, width = order.shape
    return np.asarray(
        cv2.warpAffine(order, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=float("nan")), np.float32
    )


def pasted(base: Picture, picture: Picture, mask: Mask, matrix: Matrix) -> Picture:
    """A picture's masked part (H, W), carried along a map, over another picture (H, W, 3)."""
    height, width = mask.shape
    alpha = mask.astype(np.float32)
    layer = np.dstack([picture * alpha[..., None], alpha]).astype(np.float32)
    layer = cv2.warpAffine(layer, matrix, (width, height), flags=cv2.INTER_LINEAR)
    mixed = base * (1 - layer[..., 3:]) + layer[..., :3]
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
