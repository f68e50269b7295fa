"""A staged process taken apart into moves, each leading from one canvas to the next, and put together again.

Between the two anything may be done to the moves: canvases altered, moves divided, added and left out. What changes
in a move always follows from the canvases before and after it, so the result is a sound process whatever was done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import DONE, NEVER, Picture
from paintsundo.data.staged import Stage, StagedProcess, bounds
from paintsundo.data.timeline import changed, nearest_known

Order = NDArray[np.float32]  # (H, W)
Mask = NDArray[np.bool_]  # (H, W)
OPERATION = 0.002  # work of what is done at once, in shares of the work of the process that was taken apart
SNAP = 0.004  # a cut nearer to the end of a move than this share of the work is made at that end


@dataclass(frozen=True, eq=False)
class Move:
    """Part of a process.

    `after` (H, W, 3) is the canvas at its end; `order` (H, W) the share of the move, 0 ... 1, at which a pixel takes
    it, NaN = not known; `work` in shares of the work of the process that was taken apart. `added`: it is not part of
    that process. `events`: numbers of the behaviours that added or altered it.
    """

    name: str
    after: Picture
    order: Order
    work: float
    added: bool = False
    events: tuple[int, ...] = ()


def blank_like(picture: Picture) -> Picture:
    """The white canvas of a picture's size."""
    return np.full_like(picture, 255)


def moves_of(process: StagedProcess) -> list[Move]:
    """The stages of a process as moves; their works sum to 1."""
    moves: list[Move] = []
    canvas, last = np.full((*process.size, 3), 255, np.uint8), 0
    for stage in process.stages:
        end = DONE if stage is process.stages[-1] else bounds(stage.reveal)[1]
        taken = stage.reveal != NEVER
        canvas = np.where(taken[..., None], stage.picture, canvas)
        order = np.where(taken, (stage.reveal - np.float32(last)) / (end - last), np.nan).astype(np.float32)
        moves.append(Move(stage.name, canvas, order, (end - last) / DONE))
        last = end
    return moves


def before(moves: Sequence[Move], index: int) -> Picture:
    """The canvas (H, W, 3) at the beginning of a move, or at the end of all when index = len(moves)."""
    return moves[index - 1].after if index else blank_like(moves[0].after)


def instant(name: str, after: Picture, work: float, event: int) -> Move:
    """A move whose whole change happens at once, at its end."""
    return Move(name, after, np.ones(after.shape[:2], np.float32), work, True, (event,))


def altered(move: Move, event: int, **fields: Any) -> Move:
    """A move with other fields, altered by a behaviour."""
    return replace(move, events=(*move.events, event), **fields)


def divide(start: Picture, move: Move, share: float) -> tuple[Move, Move]:
    """A move that begins at canvas `start` as two, the first of them this share, 0 ... 1, of its work."""
    early = move.order <= share
    middle = np.where(early[..., None], move.after, start)
    first = np.where(early, move.order / share, np.nan).astype(np.float32)
    second = np.where(move.order > share, (move.order - share) / (1 - share), np.nan).astype(np.float32)
    return (
        replace(move, after=middle, order=first, work=move.work * share),
        replace(move, order=second, work=move.work * (1 - share)),
    )


def cut(moves: Sequence[Move], work: float) -> tuple[list[Move], int]:
    """The moves with one of them ending at a share, 0 ... 1, of all their work, and how many come before that place.

    Moves that were added are not divided, and nothing is cut off that is shorter than SNAP.
    """
    total = sum(move.work for move in moves)
    at = 0.0
    for index, move in enumerate(moves):
        inside = work * total - at
        if inside < move.work:
            if inside < SNAP * total:
                return list(moves), index
            if move.work - inside < SNAP * total or move.added:
                return list(moves), index + 1
            return [
                *moves[:index],
                *divide(before(moves, index), move, inside / move.work),
                *moves[index + 1 :],
            ], index + 1
        at += move.work
    return list(moves), len(moves)


def cut_twice(moves: Sequence[Move], begin: float, end: float) -> tuple[list[Move], int, int]:
    """The moves cut at two places, begin <= end, and how many come before each; see `cut`."""
    found, last = cut(moves, end)
    before_cut = len(found)
    found, first = cut(found, begin)
    return found, first, last + len(found) - before_cut


def settle(moves: Sequence[Move]) -> list[Move]:
    """The moves with orders that fit their canvases: known exactly where something changes. Idle moves are left out.

    A changed pixel without an order of its own changes with the nearest that has one.
    """
    kept: list[Move] = []
    for move in moves:
        canvas = before(kept, len(kept)) if kept else blank_like(move.after)
        mask = changed(canvas, move.after)
        if not mask.any():
            continue
        known = move.order.astype(np.float64)
        order = np.ones(mask.shape) if np.isnan(known).all() else nearest_known(known, mask)
        kept.append(replace(move, order=np.where(mask, order, np.nan).astype(np.float32)))
    return kept


def join(moves: Sequence[Move]) -> list[Move]:
    """Settled moves with neighbours made one that were divided for nothing: of one name, and no pixel in both."""
    kept: list[Move] = []
    for move in moves:
        last = kept[-1] if kept else None
        if last is None or (last.name, last.events) != (move.name, move.events) or last.added or move.added:
            kept.append(move)
            continue
        first, second = ~np.isnan(last.order), ~np.isnan(move.order)
        if (first & second).any():
            kept.append(move)
            continue
        work = last.work + move.work
        order = np.where(first, last.order * (last.work / work), (move.order * move.work + last.work) / work)
        kept[-1] = replace(move, order=order.astype(np.float32), work=work)
    return kept


def ranked(keys: NDArray[np.floating[Any]], mask: Mask) -> Order:
    """Orders, 0 exclusive ... 1, in which a mask's pixels follow each other by their keys (H, W); NaN outside it."""
    places = np.argsort(keys[mask], kind="stable")
    ranks = np.empty(len(places), np.float32)
    ranks[places] = np.arange(1, len(places) + 1, dtype=np.float32) / len(places)
    order = np.full(mask.shape, np.nan, np.float32)
    order[mask] = ranks
    return order


def spans(moves: Sequence[Move]) -> NDArray[np.float64]:
    """Beginnings and ends of the moves on the work axis 0 ... 1: (N + 1,)."""
    ends = np.concatenate([[0.0], np.cumsum([move.work for move in moves])])
    return np.asarray(ends / ends[-1])


def staged(moves: Sequence[Move], **record: Any) -> StagedProcess:
    """Settled moves as a process, each with its share of the work. Raises ValueError when there are none."""
    if not moves:
        raise ValueError("nothing is drawn")
    stages, last = [], 0
    ends = np.maximum(spans(moves)[1:] * DONE, 1)
    canvas = blank_like(moves[0].after)
    for index, (move, place) in enumerate(zip(moves, ends, strict=True)):
        end = min(max(round(float(place)), last + 1), DONE - (len(moves) - 1 - index))
        mask = changed(canvas, move.after)
        when = last + (end - last) * move.order[mask].astype(np.float64)
        reveal = np.full(mask.shape, NEVER, np.uint16)
        reveal[mask] = np.clip(np.ceil(when - 1e-3), last + 1, end)
        stages.append(Stage(move.name, move.after, reveal))
        canvas, last = move.after, end
    return StagedProcess(tuple(stages), **record)


def metadata(process: StagedProcess) -> Mapping[str, Any]:
    """All fields of a process but its stages, as keywords."""
    return {name: value for name, value in vars(process).items() if name != "stages"}
