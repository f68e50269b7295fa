"""What the networks train on, made from one drawing process: a state and its step, or a clip of states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.conditioning.images import crop_to
from paintsundo.data.process import DrawingProcess, Picture, Reveal
from paintsundo.errors import UserError

STEPS = 1000
Steps = str | Sequence[float]  # how operation steps are drawn; see StateRule


@dataclass(frozen=True)
class StateSample:
    """For the single-frame model: pictures uint8 (H, W, 3), operation step 0 (finished) … 999 (blank)."""

    finished: Picture
    state: Picture
    operation_step: int
    tags: tuple[str, ...]
    key: str


@dataclass(frozen=True)
class ClipSample:
    """For the multi-frame model: states uint8 (T, H, W, 3), finished end first; works (T,), share of the work done."""

    states: NDArray[np.uint8]
    works: NDArray[np.float64]
    tags: tuple[str, ...]
    key: str


@lru_cache(maxsize=16)
def step_probabilities(steps: str | tuple[float, ...]) -> NDArray[np.float64]:
    """How likely each operation step 0 … 999 is, (1000,), summing to 1. Raises UserError for no such rule."""
    if steps == "uniform":
        weights = np.ones(STEPS)
    elif steps == "blank_heavy":
        weights = 0.5 + np.arange(STEPS) / (STEPS - 1)
    elif isinstance(steps, str):
        raise UserError(f"steps={steps}: choose uniform, blank_heavy or a list of weights")
    else:
        given = np.array(steps, np.float64)
        if not (1 <= len(given) <= STEPS and np.isfinite(given).all() and (given >= 0).all() and given.sum() > 0):
            raise UserError(f"steps must be 1 to {STEPS} weights, none negative and not all 0, not {list(steps)}")
        weights = given[np.arange(STEPS) * len(given) // STEPS]
    return weights / weights.sum()


@dataclass(frozen=True)
class StateRule:
    """How steps are drawn: "uniform"; "blank_heavy" (the blank end three times as often as the finished one, evenly
    between); or weights of equal parts of the range, the finished end first.
    """

    steps: Steps = "uniform"

    def __post_init__(self) -> None:
        self.probabilities  # noqa: B018  refuses impossible values at once

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Of each step, (1000,)."""
        return step_probabilities(self.steps if isinstance(self.steps, str) else tuple(self.steps))

    def draw(self, random: np.random.Generator) -> int:
        """An operation step 0 … 999."""
        place = np.searchsorted(np.cumsum(self.probabilities), random.random(), side="right")
        return min(int(place), STEPS - 1)

    def sample(
        self, process: DrawingProcess, key: str, bucket: tuple[int, int], random: np.random.Generator
    ) -> StateSample:
        """A state of a process at the size of the bucket (height, width)."""
        step = self.draw(random)
        finished = fitted(process.finished, bucket)
        state = finished if step == 0 else fitted(process.state_at_step(step), bucket)
        return StateSample(finished, state, step, process.tags, key)


@dataclass(frozen=True)
class ClipRule:
    """How clips are drawn: `frames` states of an interval, both ends included, its length uniform in `span` (shares
    of the whole work). Intervals that would leave the process are cut there, so that blank and finished ends occur.
    """

    frames: int
    span: tuple[float, float] = (0.1, 0.6)

    def __post_init__(self) -> None:
        low, high = self.span
        if self.frames < 2 or not 0 < low <= high <= 1:
            raise UserError(f"clips need 2 frames and 0 < span <= 1, not {self.frames} and {list(self.span)}")

    def works(self, random: np.random.Generator) -> NDArray[np.float64]:
        """Work positions (T,), descending."""
        low, high = self.span
        length = low + (high - low) * random.random()
        middle = random.random() * (1 + low) - low / 2
        top, bottom = min(middle + length / 2, 1.0), max(middle - length / 2, 0.0)
        return np.linspace(top, bottom, self.frames)

    def sample(
        self, process: DrawingProcess, key: str, bucket: tuple[int, int], random: np.random.Generator
    ) -> ClipSample:
        """A clip of a process at the size of the bucket (height, width)."""
        works = self.works(random)
        states = np.stack([fitted(process.state(work), bucket) for work in works.tolist()])
        return ClipSample(states, works, process.tags, key)


def fitted(picture: Picture, bucket: tuple[int, int]) -> Picture:
    """A picture (h, w, 3) scaled to cover (height, width), INTER_AREA, and cropped about its centre, as published."""
    if picture.shape[:2] == tuple(bucket):
        return picture
    return crop_to(picture, bucket[1], bucket[0])


def fitted_map(reveal: Reveal, bucket: tuple[int, int]) -> Reveal:
    """A reveal map (h, w) brought to (height, width) as `fitted` does, each value one of the map's own."""
    height, width = bucket
    rows, columns = reveal.shape
    if (rows, columns) == (height, width):
        return reveal
    factor = max(height / rows, width / columns)
    size = (round(columns * factor), round(rows * factor))
    scaled = np.asarray(cv2.resize(reveal, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint16)
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width])
