"""Behaviours that change how the drawing is seen: the mirrored canvas, and layers switched off and on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from paintsundo.data.moves import OPERATION, Mask, Move, altered, before, cut_twice, instant
from paintsundo.data.process import Picture
from paintsundo.data.timeline import changed

LEAST_SEEN = 0.003  # of the canvas that must vanish with a layer
SKETCH = ("sketch", "construction")  # names of layers that are hidden most often

Made = tuple[list[Move], dict[str, Any]] | None


def mirrored(move: Move, event: int) -> Move:
    """A move on the mirrored canvas."""
    after, order = (np.ascontiguousarray(array[:, ::-1]) for array in (move.after, move.order))
    return altered(move, event, after=after, order=order)


def flip(moves: list[Move], random: np.random.Generator, strength: float, event: int) -> Made:
    """The canvas is mirrored, drawn on for a while, and mirrored back."""
    length = random.uniform(0.04, 0.1 + 0.5 * strength)
    begin = random.uniform(0.08, 0.97 - length)
    found, start, end = cut_twice(moves, begin, begin + length)
    if not 0 < start < end:
        return None
    there = instant("flip", mirrored(found[start - 1], event).after, OPERATION, event)
    between = [mirrored(move, event) for move in found[start:end]]
    back = instant("flip", found[end - 1].after, OPERATION, event)
    return [*found[:start], there, *between, back, *found[end:]], {}


def visibility(moves: list[Move], random: np.random.Generator, strength: float, event: int) -> Made:
    """A layer is hidden at some time after it was drawn and shown again later, if anything of it is then left."""
    layers = [layer for layer in _layers(moves) if layer[1] < len(moves) - 1]
    random.shuffle(layers)
    if random.random() < 0.5:
        layers.sort(key=lambda layer: moves[layer[0]].name not in SKETCH)
    works = np.concatenate([[0.0], np.cumsum([move.work for move in moves])])
    works /= works[-1]
    for first, last in layers:
        below, top = before(moves, first), moves[last].after
        hide_at = random.uniform(works[last + 1], works[last + 1] + 0.3 * (1 - works[last + 1]))
        length = random.uniform(0.05, 0.15 + 0.6 * strength)
        found, hide, show = cut_twice(moves, hide_at, min(hide_at + length, 1.0))
        if not last < hide <= show or any(_moves_pixels(move) for move in found[first:show]):
            continue
        name = found[first].name
        mask = changed(below, top)
        hidden = [_without(move.after, below, top, mask) for move in found[hide:show]]
        gone = _without(found[hide - 1].after, below, top, mask)
        if changed(gone, found[hide - 1].after).mean() < LEAST_SEEN:
            continue
        between = [altered(move, event, after=after) for move, after in zip(found[hide:show], hidden, strict=True)]
        off = instant("hide", gone, OPERATION, event)
        on = instant("show", found[show - 1].after, OPERATION, event)
        return [*found[:hide], off, *between, on, *found[show:]], {"layer": name}
    return None


def _layers(moves: Sequence[Move]) -> list[tuple[int, int]]:
    """First and last move of each layer: the moves of one name with nothing but behaviours between them."""
    found = []
    for name in dict.fromkeys(move.name for move in moves if not move.added):
        places = [k for k, move in enumerate(moves) if move.name == name and not move.added]
        first, last = places[0], places[-1]
        if all(move.added or move.name == name for move in moves[first : last + 1]):
            found.append((first, last))
    return found


def _moves_pixels(move: Move) -> bool:
    return move.name in ("transform", "flip")


def _without(canvas: Picture, below: Picture, top: Picture, mask: Mask) -> Picture:
    """A canvas without what is still seen of a layer that led from `below` to `top`."""
    seen = mask & ~changed(canvas, top)
    return np.where(seen[..., None], below, canvas).astype(np.uint8)
