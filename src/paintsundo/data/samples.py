"""What the networks train on, made from one drawing process: a state and its step, or a clip of states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.conditioning.images import crop_to
from paintsundo.data.frames import FrameProcess
from paintsundo.data.process import DrawingProcess, Picture, Reveal, step_of_work
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
    """For the multi-frame model: states uint8 (T, H, W, 3), the first and last the ends of an interval, finished end
    first; works (T,), share of the work done at each.

    `stride`: how many states as they were seen lie from one to the next; 0 where they were taken by work.
    """

    states: NDArray[np.uint8]
    works: NDArray[np.float64]
    tags: tuple[str, ...]
    key: str
    stride: int = 0

    @property
    def ends(self) -> NDArray[np.uint8]:
        """Both ends (2, H, W, 3), the finished one first."""
        return self.states[[0, -1]]

    @property
    def between(self) -> NDArray[np.uint8]:
        """The states between them (T - 2, H, W, 3)."""
        return self.states[1:-1]


@lru_cache(maxsize=16)
def step_probabilities(steps: str | tuple[float, ...]) -> NDArray[np.float64]:
    """How likely each operation step 0 … 999 is, (1000,), summing to 1. Raises UserError for no such rule."""
    if steps in ("uniform", "states"):
        weights = np.ones(STEPS)
    elif steps == "blank_heavy":
        weights = 0.5 + np.arange(STEPS) / (STEPS - 1)
    elif isinstance(steps, str):
        raise UserError(f"steps={steps}: choose uniform, blank_heavy, states or a list of weights")
    else:
        given = np.array(steps, np.float64)
        if not (1 <= len(given) <= STEPS and np.isfinite(given).all() and (given >= 0).all() and given.sum() > 0):
            raise UserError(f"steps must be 1 to {STEPS} weights, none negative and not all 0, not {list(steps)}")
        weights = given[np.arange(STEPS) * len(given) // STEPS]
    return weights / weights.sum()


@dataclass(frozen=True)
class StateRule:
    """How steps are drawn: "uniform" over the work; "blank_heavy" (the blank end three times as often as the finished
    one, evenly between); "states", each state as it was seen equally often, so that parts of a process where much is
    seen in little work count for more (uniform for processes of stages, which have no such states); or weights of equal
    parts of the range, the finished end first.
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
        finished = fitted(process.finished, bucket)
        if self.steps == "states" and isinstance(process, FrameProcess):
            number = int(random.random() * len(process))
            step = step_of_work(float(process.works[number]))  # at which the state before may still be seen
            return StateSample(finished, fitted(process.frame(number), bucket), step, process.tags, key)
        step = self.draw(random)
        state = finished if step == 0 else fitted(process.state_at_step(step), bucket)
        return StateSample(finished, state, step, process.tags, key)


@dataclass(frozen=True)
class ClipRule:
    """How clips of `frames` states are drawn, both ends of an interval included.

    steps="uniform": at equal distances in work over an interval, its length uniform in `span` (shares of the whole
    work). Intervals that would leave the process are cut there, so that blank and finished ends occur.

    steps="states": every n-th state as it was seen, n drawn from those of `strides` for which the process has enough.
    A sixth of the starts beyond either end is pulled onto it. Uniform for processes of too few states, or of stages.
    """

    frames: int
    span: tuple[float, float] = (0.1, 0.6)
    steps: str = "uniform"
    strides: tuple[int, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        low, high = self.span
        if self.frames < 2 or not 0 < low <= high <= 1:
            raise UserError(f"clips need 2 frames and 0 < span <= 1, not {self.frames} and {list(self.span)}")
        if self.steps not in ("uniform", "states"):
            raise UserError(f"steps={self.steps}: clips are drawn uniform or by states")
        if not self.strides or min(self.strides) < 1:
            raise UserError(f"clips need strides of at least 1, not {list(self.strides)}")

    def works(self, random: np.random.Generator) -> NDArray[np.float64]:
        """Work positions (T,), descending."""
        low, high = self.span
        length = low + (high - low) * random.random()
        middle = random.random() * (1 + low) - low / 2
        top, bottom = min(middle + length / 2, 1.0), max(middle - length / 2, 0.0)
        return np.linspace(top, bottom, self.frames)

    def numbers(self, states: int, random: np.random.Generator) -> tuple[list[int], int] | None:
        """Which of so many states make a clip, the finished end first, and their stride; None for too few."""
        strides = [stride for stride in self.strides if stride * (self.frames - 1) < states]
        if not strides:
            return None
        stride = strides[int(random.random() * len(strides))]
        starts = states - stride * (self.frames - 1)
        first = int(np.clip(np.floor((random.random() * 1.33 - 0.165) * starts), 0, starts - 1))
        return [first + stride * frame for frame in reversed(range(self.frames))], stride

    def _drawn(self, process: DrawingProcess, random: np.random.Generator) -> tuple[NDArray[np.float64], int]:
        if self.steps == "states" and isinstance(process, FrameProcess):
            found = self.numbers(len(process), random)
            if found is not None:
                return process.works[found[0]], found[1]
        return self.works(random), 0

    def sample(
        self, process: DrawingProcess, key: str, bucket: tuple[int, int], random: np.random.Generator
    ) -> ClipSample:
        """A clip of a process at the size of the bucket (height, width)."""
        works, stride = self._drawn(process, random)
        film = process.film(works.tolist())
        return ClipSample(np.stack([fitted(state, bucket) for state in film]), works, process.tags, key, stride)


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
