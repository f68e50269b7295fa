"""Rows of states brought to a few stages, for loaders that hold every picture of a data set in memory."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.frames import FrameProcess, order_faults
from paintsundo.data.process import DONE, NEVER, DrawingProcess, Picture
from paintsundo.data.staged import Stage, StagedProcess

MOST = 12
UNNAMED = "states"


def as_stages(process: FrameProcess, most: int = MOST) -> StagedProcess:
    """The process as at most `most` stages.

    With no more states than that, every state is kept exactly. Else several changes make one stage: the work axis is
    cut where labels change, then its longest pieces in halves; the states at the cuts are exact. Within a piece each
    pixel goes from its first to its last colour at the moment that keeps it nearest to what was seen, differences
    weighed by work. A ground that is not white takes a stage of its own.

    Raises ValueError where the process's works are not sound, or `most` less than 2.
    """
    if most < 2:
        raise ValueError(f"most={most}: choose at least 2")
    if faults := order_faults(process.works):
        raise ValueError("; ".join(faults))
    ground = process.frame(0)
    coloured = bool((ground != 255).any())
    positions = np.clip(np.round(process.works * DONE).astype(np.int64), 1 + coloured, DONE)
    positions[0] = coloured
    apart = np.append(np.diff(positions) > 0, True)  # of states too near in work to be told apart, the last
    apart[0] = True
    states = np.flatnonzero(apart)
    stages = [Stage("ground", ground, np.ones(process.size, np.uint16))] if coloured else []
    cuts = _cuts(process, states, most - coloured)
    for first, last in pairwise(cuts):
        piece = states[first : last + 1].tolist()
        reveal = _reveal(process, piece, positions)
        if (reveal != NEVER).any():  # else all that was drawn was removed again
            stages.append(Stage(_name(process, piece), process.frame(piece[-1]), reveal))
    return StagedProcess(tuple(stages), **{part.name: getattr(process, part.name) for part in fields(DrawingProcess)})


def _cuts(process: FrameProcess, states: NDArray[np.int64], most: int) -> list[int]:
    """Places in `states` at which stages begin and end: from 0 to the last."""
    count = len(states) - 1
    if count <= most:
        return list(range(count + 1))
    labels = [process.labels[state] for state in states[1:].tolist()]
    changes = [place for place in range(1, count) if labels[place] != labels[place - 1]]
    cuts = [0, *(changes if len(changes) < most else []), count]
    works = process.works[states]
    while len(cuts) <= most:
        lengths = [works[b] - works[a] if b - a > 1 else 0.0 for a, b in pairwise(cuts)]
        at = int(np.argmax(lengths))
        first, last = cuts[at], cuts[at + 1]
        middle = int(np.searchsorted(works, (works[first] + works[last]) / 2))
        cuts.insert(at + 1, min(max(middle, first + 1), last - 1))
    return cuts


def _reveal(process: FrameProcess, piece: list[int], positions: NDArray[np.int64]) -> NDArray[np.uint16]:
    """When each pixel takes the last state of a piece, (H, W); NEVER where it has its colour already."""
    begin, end = process.frame(piece[0]), process.frame(piece[-1])
    reveal = np.full(process.size, positions[piece[1]], np.uint16)
    gain = np.zeros(process.size, np.float32)  # how much better it would have been not to have changed yet
    best = np.zeros(process.size, np.float32)
    for state, after in pairwise(piece[1:]):
        seen = process.frame(state)
        gain += (_distance(seen, begin) - _distance(seen, end)) * float(positions[after] - positions[state])
        later = gain < best
        best[later] = gain[later]
        reveal[later] = positions[after]
    reveal[(begin == end).all(axis=2)] = NEVER
    return reveal


def _distance(one: Picture, other: Picture) -> NDArray[np.float32]:
    """Of each pixel (H, W), over its channels."""
    difference = cv2.absdiff(one, other)
    return difference[..., 0].astype(np.float32) + difference[..., 1] + difference[..., 2]


def _name(process: FrameProcess, piece: list[int]) -> str:
    """The label of most of a piece's work."""
    shares: dict[str, float] = {}
    for before, state in pairwise(piece):
        label = process.labels[state] or UNNAMED
        shares[label] = shares.get(label, 0.0) + float(process.works[state] - process.works[before])
    return max(shares, key=shares.__getitem__)
