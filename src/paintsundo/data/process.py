"""The record of how a picture is drawn: states from a blank canvas to the finished picture over the work done.

Two forms exist: `staged.StagedProcess`, from which every state in between can be had, and `frames.FrameProcess`, a
row of states as they were seen.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

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


class Span(NamedTuple):
    """What was being done on a part of the work axis, 0 <= begin < end <= 1."""

    name: str
    begin: float
    end: float


def step_of_work(work: float) -> int:
    """Operation step 0 (finished) ... 999 (blank) of a share of work done, 0 ... 1."""
    return round(999 * (1 - work))


def work_of_step(step: int) -> float:
    """Share of the work done, 0 ... 1, at operation step 0 ... 999."""
    return 1 - step / 999


@dataclass(frozen=True, kw_only=True)
class DrawingProcess(ABC):
    """How one picture is drawn. Work is not time: `work_rule` says how it was counted."""

    subject: str = ""  # what is drawn: a code point or a name; equal subjects never fall in different splits
    tags: tuple[str, ...] = ()
    source: str = ""  # the set and the file
    licence: str = ""
    author: str = ""
    hash: str = ""  # SHA-256 of the source bytes
    work_rule: str = ""
    version: int = VERSION
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""

    @abstractmethod
    def state(self, work: float) -> Picture:
        """The canvas (H, W, 3) when this share of the work, 0 ... 1, is done. Raises ValueError outside 0 ...
        1.
        """

    @abstractmethod
    def spans(self) -> tuple[Span, ...]:
        """The named parts of the work axis, in order; empty where the source knows none."""

    @abstractmethod
    def faults(self) -> list[str]:
        """What contradicts the definition of a drawing process; empty for a sound one."""

    @property
    def finished(self) -> Picture:
        """The finished picture (H, W, 3)."""
        return self.state(1.0)

    def state_at_step(self, step: int) -> Picture:
        """The canvas (H, W, 3) at operation step 0 (finished) ... 999 (blank)."""
        return self.state(work_of_step(step))

    def film(self, works: Iterable[float]) -> NDArray[np.uint8]:
        """States at several shares of the work: (N, H, W, 3)."""
        return np.stack([self.state(work) for work in works])


def checked_work(work: float) -> float:
    """A share of the work. Raises ValueError outside 0 ... 1."""
    if not 0 <= work <= 1:
        raise ValueError(f"work must lie between 0 and 1, not {work}")
    return work
