"""Processes seen as a row of states, each with the work done by then, kept as small compressed changes."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from paintsundo.data.frame_archive import FrameArchive, pack
from paintsundo.data.process import DrawingProcess, Picture, Span, checked_work

KEY_EVERY = 16
Box = tuple[int, int, int, int]  # top, left, height, width in pixels


@dataclass(frozen=True)
class FrameProcess(DrawingProcess):
    """N states in order, each held until the next: the first the blank canvas, the last the finished picture.

    Reading one state decodes the changes since the last whole picture before it, at most `FrameWriter.key_every`;
    reading on from it one change a state. A damaged archive raises ValueError when it is met (what the archive's
    `damaged` gives, where a sample of a data set is read).
    """

    frames: FrameArchive

    @cached_property
    def _latest(self) -> dict[int, Picture]:
        return {}  # the state decoded last

    def __len__(self) -> int:
        return len(self.frames)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_latest"}

    @property
    def archive(self) -> bytes:
        """All states as one zip; see `frame_archive`."""
        return self.frames.to_bytes()

    @property
    def size(self) -> tuple[int, int]:
        return self.frames.size

    @property
    def works(self) -> NDArray[np.float64]:
        """Share of the work done at each state, (N,), ascending from 0 to 1."""
        return self.frames.works

    @property
    def labels(self) -> tuple[str, ...]:
        """What was being done to reach each state (N); "" where it is not known."""
        return self.frames.labels

    def frame(self, number: int) -> Picture:
        """State number 0 (blank) ... N - 1 (finished), (H, W, 3). Raises IndexError outside."""
        if not 0 <= number < len(self):
            raise IndexError(f"there is no state {number} of {len(self)}")
        first, canvas = self.frames.start(number), None
        known = next(iter(self._latest), -1)
        if first <= known <= number:
            first, canvas = known + 1, self._latest[known]
        if first <= number:
            self._latest.clear()  # its canvas is painted over
            self._latest[number] = deque(self.frames.states(first, number, canvas), maxlen=1)[0]
        return self._latest[number].copy()

    def number_at(self, work: float) -> int:
        """Which state is seen when this share of the work, 0 ... 1, is done. Raises ValueError outside 0 ... 1."""
        return int(np.searchsorted(self.works, checked_work(work), side="right")) - 1

    def state(self, work: float) -> Picture:
        return self.frame(self.number_at(work))

    def film(self, works: Iterable[float]) -> NDArray[np.uint8]:
        numbers = [self.number_at(work) for work in works]
        states = {number: self.frame(number) for number in sorted(set(numbers))}  # forward: each change once
        return np.stack([states[number] for number in numbers])

    def spans(self) -> tuple[Span, ...]:
        found: list[Span] = []
        for begin, end, label in zip(self.works[:-1], self.works[1:], self.labels[1:], strict=True):
            if found and found[-1].name == label and found[-1].end == begin:
                found[-1] = found[-1]._replace(end=float(end))
            elif label:
                found.append(Span(label, float(begin), float(end)))
        return tuple(found)

    def faults(self) -> list[str]:
        try:
            found = order_faults(self.works)
            states = self.frames.states(0, len(self) - 1) if not found else iter(())
            for number, canvas in enumerate(states):
                if number == 0 and (canvas != canvas[0, 0]).any():
                    found.append("the first state is not a blank canvas of one colour")
                if number == len(self) - 1 and (canvas == canvas[0, 0]).all():
                    found.append("the finished picture is blank")
        except ValueError as error:
            return [str(error)]
        return found


def order_faults(works: NDArray[np.float64]) -> list[str]:
    """What is wrong with the work done at each state, (N,)."""
    if len(works) < 2:
        return ["fewer than two states"]
    if not np.isfinite(works).all() or works[0] != 0 or works[-1] != 1:
        return ["the work done does not run from 0 to 1"]
    return ["the work done does not ascend"] if (np.diff(works) <= 0).any() else []


class FrameWriter:
    """Makes a process of states as they come; holds two pictures and the compressed changes, however many come.

    Args:
        size: (height, width) in pixels.
        quality: of WebP, 1 ... 100; None: lossless.
        key_every: a whole picture stands at least this often, so that no state needs more changes than that.

    Raises:
        ValueError: an impossible value.
    """

    def __init__(self, size: tuple[int, int], quality: int | None = None, key_every: int = KEY_EVERY) -> None:
        if min(size) < 1 or key_every < 1 or not (quality is None or 1 <= quality <= 100):
            raise ValueError(f"no such frames: size {size}, quality {quality}, key_every {key_every}")
        self.size, self.quality, self.key_every = size, quality, key_every
        self._works: list[float] = []
        self._labels: list[str] = []
        self._boxes: list[Box] = []
        self._patches: list[bytes] = []
        self._since_whole = 0
        self._written: Picture | None = None
        self._waiting: tuple[Picture, float, str] | None = None  # another at the same work may take its place

    def __len__(self) -> int:
        """States so far."""
        return len(self._works) + (self._waiting is not None)

    def add(self, picture: Picture, work: float, label: str = "") -> bool:
        """Add a state; the first is the blank canvas. Returns whether it is kept.

        A picture equal to the one before is not. Of several states at the same work the last one counts, except that
        nothing takes the place of the blank canvas.

        Args:
            picture: uint8 (H, W, 3).
            work: cumulative, of any unit, never less than before.
            label: what was being done to reach this state.

        Raises:
            ValueError: a picture of another size or kind, or less work than before.
        """
        if picture.shape != (*self.size, 3) or picture.dtype != np.uint8:
            raise ValueError(f"a state must be uint8 {(*self.size, 3)}, not {picture.dtype} {picture.shape}")
        before = self._waiting[1] if self._waiting else self._works[-1] if self._works else work
        if not np.isfinite(work) or work < before:
            raise ValueError(f"work {work} is less than the {before} before")
        if self._written is None:
            self._write(picture.copy(), work, label)
            return True
        latest = self._waiting[0] if self._waiting else self._written
        if work == self._works[0] or np.array_equal(picture, latest):
            return False
        if self._waiting is not None and work > self._waiting[1]:
            self._flush()
        self._waiting = (picture.copy(), work, label)
        return True

    def _flush(self, last: bool = False) -> None:
        if self._waiting is not None and not np.array_equal(self._waiting[0], self._written):  # type: ignore[arg-type]
            self._write(*self._waiting, last)
        self._waiting = None

    def _write(self, picture: Picture, work: float, label: str, last: bool = False) -> None:
        """Add a state for good. The last one, which every sample shows, is a whole picture."""
        box, quality = (0, 0, *self.size), self.quality
        if self._written is None:
            uniform = bool((picture == picture[0, 0]).all())
            quality = None if uniform else quality  # a blank canvas stays exactly of one colour
        elif self._since_whole + 1 < self.key_every and not last:
            box = changed_box(self._written, picture)
        self._since_whole = 0 if box[2:] == self.size else self._since_whole + 1
        top, left, height, width = box
        self._patches.append(_compressed(picture[top : top + height, left : left + width], quality))
        self._boxes.append(box)
        self._works.append(float(work))
        self._labels.append(label)
        self._written = picture

    def finish(self, **metadata: Any) -> FrameProcess:
        """The process, its work brought to 0 ... 1; `metadata` as of `DrawingProcess`. Nothing can be added then.

        Raises:
            ValueError: fewer than two different states.
        """
        self._flush(last=True)
        if len(self._works) < 2:
            raise ValueError("nothing is drawn")
        raw = np.array(self._works)
        works = (raw - raw[0]) / (raw[-1] - raw[0])
        return FrameProcess(pack(self.size, works.tolist(), self._labels, self._boxes, self._patches), **metadata)


def changed_box(before: Picture, after: Picture) -> Box:
    """The smallest box around the pixels in which two different pictures (H, W, 3) differ."""
    rows = cv2.absdiff(before, after).reshape(len(before), -1)  # one channel: three would need a slow maximum
    first, top, width, height = cv2.boundingRect(rows)
    left, right = first // 3, (first + width + 2) // 3
    return top, left, height, right - left


def _compressed(picture: Picture, quality: int | None) -> bytes:
    out = io.BytesIO()
    if quality is None:
        Image.fromarray(picture).save(out, "WEBP", lossless=True, quality=50, method=1)
    else:
        Image.fromarray(picture).save(out, "WEBP", quality=quality, method=2)
    return out.getvalue()
