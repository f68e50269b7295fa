"""Colours off for a while, then corrected with curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paintsundo.data.moves import OPERATION, Move, altered, before, cut, instant
from paintsundo.data.process import Picture
from paintsundo.data.timeline import changed

LEAST_DIFFERENCE = 5.0  # levels by which colours that are off are so on average, at least
LEAST_AREA = 0.01  # of the canvas that they are off on
LINES = ("construction", "sketch", "line", "lines", "ink")
COLOURFUL = 24  # levels between the largest and the smallest channel, on average: a stage with colours
ATTEMPTS = 12
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601


@dataclass(frozen=True)
class Curves:
    """Per-channel curves x ** gamma, then saturation about the luma. Black and white stay what they are."""

    gammas: tuple[float, float, float]
    saturation: float

    def __call__(self, picture: Picture) -> Picture:
        """A picture uint8 (..., 3) with other colours."""
        levels = np.linspace(0, 1, 256, dtype=np.float32)[:, None] ** np.array(self.gammas, np.float32)
        values: NDArray[np.float32] = np.take_along_axis(
            levels, picture.reshape(-1, 3).astype(np.int64), axis=0
        ).reshape(picture.shape)
        grey = (values @ LUMA)[..., None]
        mixed = grey + (values - grey) * np.float32(self.saturation)
        return np.clip(np.rint(255 * mixed), 0, 255).astype(np.uint8)


def random_curves(random: np.random.Generator, strength: float) -> Curves:
    """Curves that are off by brightness, balance and saturation, the more the stronger."""
    overall = random.normal(0, 0.15 + 0.5 * strength)
    balance = random.normal(0, 0.05 + 0.3 * strength, 3)
    red, green, blue = np.exp(np.clip(overall + balance, -1.2, 1.2)).tolist()
    low, high = 1 - 0.2 - 0.7 * strength, 1 + 0.2 + 0.6 * strength
    return Curves((round(red, 4), round(green, 4), round(blue, 4)), round(random.uniform(low, high), 4))


def colour_curves(
    moves: list[Move], random: np.random.Generator, strength: float, event: int
) -> tuple[list[Move], dict[str, Any]] | None:
    """From a stage with colours on, what is drawn has other colours, until curves correct it."""
    areas = np.array([_colourful_area(before(moves, k), move) for k, move in enumerate(moves)])
    lines = np.array([move.name in LINES for move in moves])
    if (areas[~lines] > LEAST_AREA).any():
        areas[lines] = 0  # lines may be coloured, too
    starts = np.flatnonzero((areas > LEAST_AREA) & (areas >= areas.max() / 2))
    if not len(starts):
        return None
    start = int(starts[0] if random.random() < 0.7 else random.choice(starts))
    works = np.concatenate([[0.0], np.cumsum([move.work for move in moves])])
    begin = works[start] / works[-1]
    found, end = cut(moves, begin + (1 - begin) * random.uniform(0.2, 0.3 + 0.7 * strength))
    if end <= start:
        return None
    for _ in range(ATTEMPTS):
        curves = random_curves(random, strength)
        off, difference = _off(found, start, end, curves, event)
        if difference >= LEAST_DIFFERENCE:
            correction = instant("colours", found[end - 1].after, OPERATION, event)
            record = {"gammas": list(curves.gammas), "saturation": curves.saturation}
            return [*found[:start], *off, correction, *found[end:]], record
    return None


def _colourful_area(canvas: Picture, move: Move) -> float:
    """Share of the canvas that a move of the process itself gives colours; 0 when they are all but grey."""
    mask = changed(canvas, move.after)
    if move.added or not mask.any():
        return 0.0
    colours = move.after[mask].astype(np.int16)
    return float(mask.mean()) if np.ptp(colours, axis=1).mean() > COLOURFUL else 0.0


def _off(moves: list[Move], start: int, end: int, curves: Curves, event: int) -> tuple[list[Move], float]:
    """Moves start ... end - 1 with what they draw in other colours, and by how many levels that is at their end."""
    touched = np.zeros(moves[0].after.shape[:2], bool)
    found = []
    for index in range(start, end):
        after = moves[index].after
        touched |= changed(before(moves, index), after)
        other = np.where(touched[..., None], curves(after), after).astype(np.uint8)
        found.append(altered(moves[index], event, after=other))
    last, true = found[-1].after, moves[end - 1].after
    wrong = changed(last, true)
    if wrong.mean() < LEAST_AREA:
        return found, 0.0
    return found, float(np.abs(last[wrong].astype(np.int16) - true[wrong]).mean())
