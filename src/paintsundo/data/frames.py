"""Processes seen as a row of states, each with the work done by then, kept as small compressed changes."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from paintsundo.data.process import DrawingProcess, Picture, Span, checked_work

KEY_EVERY = 16
INDEX = "index.json"
FORMAT = 1
Box = tuple[int, int, int, int]  # top, left, height, width in pixels


@dataclass(frozen=True)
class FrameProcess(DrawingProcess):
    """N states in order, each held until the next: the first the blank canvas, the last the finished picture.

    `archive` is a zip without compression: `index.json` (size, work and label of each state, the box each patch
    covers) and one WebP or PNG patch for each state, which replaces its box of the state before; a patch of the whole
    canvas needs no state before. Reading one state decodes the patches from the last such one on.

    Raises ValueError where the archive is damaged: at once what its index shows, damaged patches when they are read.
    """

    archive: bytes = field(repr=False)

    @cached_property
    def _index(self) -> _Index:
        return _Index.read(self.archive)

    @cached_property
    def _last(self) -> list[tuple[int, Picture]]:
        return []  # the state decoded last: going forward in time costs one patch a state

    def __len__(self) -> int:
        return len(self._index.works)

    @property
    def size(self) -> tuple[int, int]:
        return self._index.size

    @property
    def works(self) -> NDArray[np.float64]:
        """Share of the work done at each state, (N,), ascending from 0 to 1."""
        return self._index.works

    @property
    def labels(self) -> tuple[str, ...]:
        """What was being done to reach each state (N); "" where it is not known."""
        return self._index.labels

    def frame(self, number: int) -> Picture:
        """State number 0 (blank) ... N - 1 (finished), (H, W, 3). Raises IndexError outside, ValueError for damage."""
        index = self._index
        if not 0 <= number < len(self):
            raise IndexError(f"there is no state {number} of {len(self)}")
        first = number
        while not index.whole[first]:
            first -= 1
        known, canvas = next(iter(self._last), (-1, None))
        if canvas is not None and first <= known <= number:
            canvas, first = canvas.copy(), known + 1
        for patch in range(first, number + 1):
            canvas = index.paste(self.archive, patch, canvas)
        assert canvas is not None
        self._last[:] = [(number, canvas)]
        return canvas.copy()

    def number_at(self, work: float) -> int:
        """Which state is seen when this share of the work, 0 ... 1, is done. Raises ValueError outside 0 ... 1."""
        return int(np.searchsorted(self.works, checked_work(work), side="right")) - 1

    def state(self, work: float) -> Picture:
        return self.frame(self.number_at(work))

    def film(self, works: Iterable[float]) -> NDArray[np.uint8]:
        numbers = [self.number_at(work) for work in works]
        states = {number: self.frame(number) for number in sorted(set(numbers))}
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
            index = self._index
        except ValueError as error:
            return [str(error)]
        found = list(index.faults())
        if found:
            return found
        canvas: Picture | None = None
        for number in range(len(self)):
            try:
                canvas = index.paste(self.archive, number, canvas)
            except ValueError as error:
                found.append(str(error))
                continue
            if number == 0 and (canvas != canvas[0, 0]).any():
                found.append("the first state is not a blank canvas of one colour")
        if not found and canvas is not None and (canvas == canvas[0, 0]).all():
            found.append("the finished picture is blank")
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_index", "_last")}


@dataclass(frozen=True)
class _Index:
    """What is known of the states without decoding them."""

    size: tuple[int, int]
    works: NDArray[np.float64]
    labels: tuple[str, ...]
    boxes: tuple[Box, ...]
    places: tuple[tuple[int, int], ...]  # begin and end of each patch in the archive

    @classmethod
    def read(cls, archive: bytes) -> _Index:
        """Raises ValueError for a damaged archive."""
        try:
            with zipfile.ZipFile(io.BytesIO(archive)) as file:
                record = json.loads(file.read(INDEX))
                members = {member.filename: member for member in file.infolist()}
            if record["format"] != FORMAT:
                raise ValueError(f"format {record['format']!r} is not {FORMAT}")
            listed = [members[name] for name in record["patches"]]
            if any(member.compress_type != zipfile.ZIP_STORED for member in listed):
                raise ValueError("patches are compressed")
            found = cls(
                (int(record["height"]), int(record["width"])),
                np.array(record["works"], np.float64),
                tuple(map(str, record["labels"])),
                tuple((int(top), int(left), int(high), int(wide)) for top, left, high, wide in record["boxes"]),
                tuple(_place(archive, member) for member in listed),
            )
        except (zipfile.BadZipFile, KeyError, TypeError, ValueError, EOFError, NotImplementedError) as error:
            raise ValueError(f"the states cannot be read ({type(error).__name__}: {error})") from error
        counts = {len(found.works), len(found.labels), len(found.boxes), len(found.places)}
        if len(counts) > 1 or counts == {0} or found.works.ndim != 1:
            raise ValueError("the states' index is of several lengths or empty")
        height, width = found.size
        if not found.whole[0] or not all(
            top >= 0 and left >= 0 and 0 < high <= height - top and 0 < wide <= width - left
            for top, left, high, wide in found.boxes
        ):
            raise ValueError(f"patches do not lie within {width} x {height} pixels")
        return found

    @cached_property
    def whole(self) -> tuple[bool, ...]:
        """Which patches cover the whole canvas."""
        return tuple(box[2:] == self.size for box in self.boxes)

    def paste(self, archive: bytes, number: int, canvas: Picture | None) -> Picture:
        """State `number` from the one before, which is painted over. Raises ValueError for a damaged patch."""
        top, left, height, width = self.boxes[number]
        begin, end = self.places[number]
        data = np.frombuffer(archive, np.uint8, end - begin, begin)
        patch = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION) if end > begin else None
        if patch is None or patch.shape != (height, width, 3) or patch.dtype != np.uint8:
            raise ValueError(f"state {number} cannot be decoded")
        if self.whole[number]:
            return patch
        if canvas is None:
            raise ValueError(f"state {number} has no state before")
        canvas[top : top + height, left : left + width] = patch
        return canvas

    def faults(self) -> Iterable[str]:
        if len(self.works) < 2:
            yield "fewer than two states"
        elif not np.isfinite(self.works).all() or self.works[0] != 0 or self.works[-1] != 1:
            yield "the work done does not run from 0 to 1"
        elif (np.diff(self.works) <= 0).any():
            yield "the work done does not ascend"


def _place(archive: bytes, member: zipfile.ZipInfo) -> tuple[int, int]:
    """Begin and end of a stored member: its local header is 30 bytes, its name and an extra field."""
    header = archive[member.header_offset : member.header_offset + 30]
    if header[:4] != b"PK\x03\x04":
        raise ValueError(f"{member.filename} has no header")
    begin = (
        member.header_offset + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    )
    if begin + member.file_size > len(archive):
        raise ValueError(f"{member.filename} is cut off")
    return begin, begin + member.file_size


class FrameWriter:
    """Makes a process of states as they come; holds two pictures and the compressed patches, however many come.

    Args:
        size: (height, width) in pixels.
        quality: of WebP, 1 ... 100; None: lossless.
        key_every: a patch of the whole canvas stands at least this often, so that no state needs more than so many.

    Raises:
        ValueError: an impossible value.
    """

    def __init__(self, size: tuple[int, int], quality: int | None = None, key_every: int = KEY_EVERY) -> None:
        if min(size) < 1 or key_every < 1 or not (quality is None or 1 <= quality <= 100):
            raise ValueError(f"no such frames: size {size}, quality {quality}, key_every {key_every}")
        self.size, self.quality, self.key_every = size, quality, key_every
        self._buffer = io.BytesIO()
        self._zip = zipfile.ZipFile(self._buffer, "w", zipfile.ZIP_STORED)
        self._works: list[float] = []
        self._labels: list[str] = []
        self._boxes: list[Box] = []
        self._names: list[str] = []
        self._since_key = 0
        self._written: Picture | None = None
        self._waiting: tuple[Picture, float, str] | None = None  # another of equal work may take its place

    def __len__(self) -> int:
        """States so far."""
        return len(self._works) + (self._waiting is not None)

    def add(self, picture: Picture, work: float, label: str = "") -> bool:
        """Add a state; the first is the blank canvas. Returns whether it is kept: a picture equal to the one before
        is not. Of several states at the same work the last one counts, of those at no work the first.

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
            raise ValueError(f"work {work} is less than {before} before")
        if self._written is None:
            self._write(picture, work, label)
            return True
        if work == self._works[0]:
            return False
        if self._waiting is not None and work > self._waiting[1]:
            self._flush()
        latest = self._waiting[0] if self._waiting else self._written
        if np.array_equal(picture, latest):
            return False
        self._waiting = (picture.copy(), float(work), label)
        return True

    def _flush(self) -> None:
        if self._waiting is not None:
            picture, work, label = self._waiting
            self._waiting = None
            if self._written is None or not np.array_equal(picture, self._written):
                self._write(picture, work, label)

    def _write(self, picture: Picture, work: float, label: str) -> None:
        box = (0, 0, *self.size)
        if self._written is not None and self._since_key + 1 < self.key_every:
            box = changed_box(self._written, picture)
        self._since_key = 0 if box[2:] == self.size else self._since_key + 1
        top, left, height, width = box
        uniform = self._written is None and bool((picture == picture[0, 0]).all())  # blank stays exactly of one colour
        data = _compressed(picture[top : top + height, left : left + width], None if uniform else self.quality)
        self._names.append(f"{len(self._names):06d}.webp")
        self._store(self._names[-1], data)
        self._works.append(float(work))
        self._labels.append(label)
        self._boxes.append(box)
        self._written = picture.copy()

    def _store(self, name: str, data: bytes) -> None:
        self._zip.writestr(zipfile.ZipInfo(name), data)  # its date is the first of 1980: equal input, equal bytes

    def finish(self, **metadata: Any) -> FrameProcess:
        """The process, its work brought to 0 ... 1; `metadata` as of `DrawingProcess`. The writer is used up.

        Raises:
            ValueError: fewer than two different states.
        """
        self._flush()
        if len(self._works) < 2:
            raise ValueError("nothing is drawn")
        raw = np.array(self._works)
        record = {
            "format": FORMAT,
            "height": self.size[0],
            "width": self.size[1],
            "works": ((raw - raw[0]) / (raw[-1] - raw[0])).tolist(),
            "labels": self._labels,
            "boxes": self._boxes,
            "patches": self._names,
        }
        self._store(INDEX, json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode())
        self._zip.close()
        return FrameProcess(self._buffer.getvalue(), **metadata)


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
