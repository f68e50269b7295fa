"""The record of how a picture is drawn: a blank canvas, ordered stages, and when each pixel takes each of
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

VERSION = 1
DONE = 65534  # work position of the finished picture
NEVER = 65535  # reveal value of a pixel that never takes a stage's picture
WORK_RULE = (
    "each present stage owns its share of the work axis (shares renormalised over the stages present); "
    "inside a stage work is the cumulative changed area, divided by the width of the brush where areas are "
    "painted"
)

Picture = NDArray[np.uint8]  # (H, W, 3)
Reveal = NDArray[np.uint16]  # (H, W)


def step_of_work(work: float) -> int:
    """Operation step 0 (finished) ... 999 (blank) of a share of work done, 0 ... 1."""
    return round(999 * (1 - work))


def work_of_step(step: int) -> float:
    """Share of the work done, 0 ... 1, at operation step 0 ... 999."""
    return 1 - step / 999


@dataclass(frozen=True)
class Stage:
    """One pass over the canvas: `picture` (H, W, 3) is the canvas at its end.

    `reveal` (H, W): work position 1 ... 65534 at which a pixel takes the picture, 65535 = never.
    """

    name: str
    picture: Picture
    reveal: Reveal


@dataclass(frozen=True)
class DrawingProcess:
    """How one picture is drawn: state(w) is white, then each stage's picture where reveal <= w, in order."""

    stages: tuple[Stage, ...]
    subject: str = ""  # what is drawn: a code point or a name; equal subjects never fall in different splits
    tags: tuple[str, ...] = ()
    source: str = ""  # the set and the file
    licence: str = ""
    author: str = ""
    hash: str = ""  # SHA-256 of the source bytes
    work_rule: str = WORK_RULE
    version: int = VERSION
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.stages[0].reveal.shape
        return height, width

    @property
    def finished(self) -> Picture:
        """The finished picture (H, W, 3)."""
        return self.state(1.0)

    def state(self, work: float) -> Picture:
        """The canvas (H, W, 3) when this share of the work, 0 ... 1, is done. Raises ValueError outside 0 ...
        1.
        """
        if not 0 <= work <= 1:
            raise ValueError(f"work must lie between 0 and 1, not {work}")
        position = round(work * DONE)
        canvas = np.full((*self.size, 3), 255, np.uint8)
        for stage in self.stages:
            cv2.copyTo(stage.picture, (stage.reveal <= position).view(np.uint8), canvas)  # 60 times np.copyto's speed
        return canvas

    def state_at_step(self, step: int) -> Picture:
        """The canvas (H, W, 3) at operation step 0 (finished) ... 999 (blank)."""
        return self.state(work_of_step(step))

    def film(self, works: Iterable[float]) -> NDArray[np.uint8]:
        """States at several shares of the work: (N, H, W, 3)."""
        return np.stack([self.state(work) for work in works])

    def faults(self) -> list[str]:
        """What contradicts the definition of a drawing process; empty for a sound one."""
        found = []
        if not self.stages:
            return ["no stages"]
        for stage in self.stages:
            if stage.picture.shape != (*self.size, 3) or stage.picture.dtype != np.uint8:
                found.append(f"stage {stage.name}: picture is not uint8 {(*self.size, 3)}")
            if stage.reveal.shape != self.size or stage.reveal.dtype != np.uint16:
                found.append(f"stage {stage.name}: reveal map is not uint16 {self.size}")
            elif stage.reveal.min() == 0:
                found.append(f"stage {stage.name}: present before any work is done")
            elif stage.reveal.min() == NEVER:
                found.append(f"stage {stage.name}: changes nothing")
        if found:
            return found
        ends = [int(stage.reveal[stage.reveal != NEVER].max()) for stage in self.stages]
        starts = [int(stage.reveal.min()) for stage in self.stages]
        if any(start <= end for start, end in zip(starts[1:], ends[:-1], strict=True)):
            found.append("stages overlap in time")
        if (self.state(1.0) == 255).all():
            found.append("the finished picture is blank")
        return found


def shares(names: Sequence[str], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Boundaries 0 ... 1 on the work axis, (len(names) + 1,), of the stages present."""
    present = np.array([weights[name] for name in names], np.float64)
    return np.concatenate([[0.0], np.cumsum(present) / present.sum()])
