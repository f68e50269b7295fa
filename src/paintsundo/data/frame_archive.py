"""Rows of states as one zip of small compressed changes, any state of which is read without the others.

The zip is not compressed. Its first member is `index.json`: height, width, and of each state the work done by then, a
label, and its patch (top, left, height, width, size in bytes, hash). Then follow the patches, WebP pictures that each
replace their box of the state before; one of the whole canvas needs no state before. The index's hashes stand for all
the rest.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture

FORMAT = 1
INDEX = "index.json"
_HEADER = 30  # bytes before a member's name in a zip


class Patch(NamedTuple):
    """Where a compressed picture belongs on the canvas, in pixels; its size in bytes and its hash."""

    top: int
    left: int
    height: int
    width: int
    size: int
    hash: str


class Ranges(Protocol):
    """Something whose bytes can be read in parts."""

    def read(self, begin: int, end: int) -> bytes:
        """The bytes from `begin` up to `end`, fewer where there are no more."""


@dataclass(frozen=True)
class Whole:
    """Bytes in memory."""

    data: bytes

    def read(self, begin: int, end: int) -> bytes:
        return self.data[begin:end]


class FrameArchive:
    """Reads an archive as it is asked for.

    Args:
        ranges: its bytes.
        damaged: makes the error to raise of a reason.

    Raises what `damaged` gives: from the first use where the index is damaged, from `paste` where a patch is.
    """

    def __init__(self, ranges: Ranges, damaged: Callable[[str], Exception] = ValueError) -> None:
        self.ranges, self.damaged = ranges, damaged

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrameArchive) and self.index_bytes == other.index_bytes

    def __hash__(self) -> int:
        return hash(self.index_bytes)

    @cached_property
    def index_bytes(self) -> bytes:
        """The index, with whose hashes everything can be checked."""
        name = INDEX.encode()
        header = self.ranges.read(0, _HEADER + len(name))
        size = int.from_bytes(header[18:22], "little")
        if header[:4] != b"PK\x03\x04" or header[26:30] != bytes([len(name), 0, 0, 0]) or header[_HEADER:] != name:
            raise self.damaged("its states have no index")
        index = self.ranges.read(len(header), len(header) + size)
        if len(index) != size:
            raise self.damaged("its states are cut off")
        return index

    @cached_property
    def _index(self) -> _Index:
        text = self.index_bytes
        try:
            return _Index.read(text)
        except (KeyError, TypeError, ValueError) as error:
            raise self.damaged(f"the index of its states is damaged ({type(error).__name__}: {error})") from error

    def __len__(self) -> int:
        return len(self._index.patches)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self._index.size

    @property
    def works(self) -> NDArray[np.float64]:
        """The work done at each state, (N,)."""
        return self._index.works

    @property
    def labels(self) -> tuple[str, ...]:
        """Of each state, (N,)."""
        return self._index.labels

    def whole(self, number: int) -> bool:
        """Whether a patch covers the whole canvas."""
        patch = self._index.patches[number]
        return (patch.height, patch.width) == self.size

    def start(self, number: int) -> int:
        """The last state up to `number` that needs none before."""
        while not self.whole(number):
            number -= 1
        return number

    def states(self, first: int, last: int, canvas: Picture | None = None) -> Iterator[Picture]:
        """States `first` to `last`, one after another on one canvas: copy what is to be kept.

        `canvas` (H, W, 3) is state `first` - 1, which is painted over; not needed where `first` is a whole one.
        """
        index, begin, end = self._index, self._index.begins[first], self._index.begins[last]
        data = self.ranges.read(begin, end + index.patches[last].size)  # they lie one after another
        for number in range(first, last + 1):
            patch, at = index.patches[number], index.begins[number] - begin
            part = data[at : at + patch.size]
            if hash_of(part) != patch.hash:
                raise self.damaged(f"state {number} is not as it was written (checksum)")
            decoded = cv2.imdecode(np.frombuffer(part, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
            if decoded is None or decoded.shape != (patch.height, patch.width, 3):
                raise self.damaged(f"state {number} cannot be decoded")
            cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB, decoded)
            if self.whole(number):
                canvas = np.asarray(decoded, np.uint8)
            elif canvas is None:
                raise self.damaged(f"state {number} has none before it")
            else:
                canvas[patch.top : patch.top + patch.height, patch.left : patch.left + patch.width] = decoded
            yield canvas

    def check(self) -> None:
        """Raises the error of the first patch that is not as it was written; decodes none."""
        for number, (patch, begin) in enumerate(zip(self._index.patches, self._index.begins, strict=True)):
            if hash_of(self.ranges.read(begin, begin + patch.size)) != patch.hash:
                raise self.damaged(f"state {number} is not as it was written (checksum)")

    def to_bytes(self) -> bytes:
        """The whole zip, written anew from its parts: always the same bytes."""
        index = self._index
        patches = [
            self.ranges.read(begin, begin + patch.size)
            for patch, begin in zip(index.patches, index.begins, strict=True)
        ]
        return _zip(self.index_bytes, patches)


@dataclass(frozen=True)
class _Index:
    """What is known of the states without decoding them. `begins`: of each patch's bytes in the archive."""

    size: tuple[int, int]
    works: NDArray[np.float64]
    labels: tuple[str, ...]
    patches: tuple[Patch, ...]
    begins: tuple[int, ...]

    @classmethod
    def read(cls, text: bytes) -> _Index:
        """Raises ValueError, KeyError or TypeError for a damaged one."""
        record = json.loads(text)
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']!r} is not {FORMAT}")
        height, width = int(record["height"]), int(record["width"])
        works = np.array(record["works"], np.float64)
        labels = tuple(str(label) for label in record["labels"])
        patches = tuple(_patch(*patch) for patch in record["patches"])
        if not works.shape == (len(labels),) == (len(patches),) or not patches:
            raise ValueError(f"{works.shape} works, {len(labels)} labels and {len(patches)} patches")
        for top, left, high, wide, size, _ in patches:
            if min(top, left) < 0 or min(high, wide, size) < 1 or top + high > height or left + wide > width:
                raise ValueError(f"a patch does not lie within {width} x {height} pixels")
        if (patches[0].height, patches[0].width) != (height, width):
            raise ValueError("the first state is not whole")
        begins, at = [], _HEADER + len(INDEX) + len(text)
        for number, patch in enumerate(patches):
            begins.append(at + _HEADER + len(_name(number)))
            at = begins[-1] + patch.size
        return cls((height, width), works, labels, patches, tuple(begins))


def _patch(top: int, left: int, height: int, width: int, size: int, digest: str) -> Patch:
    return Patch(int(top), int(left), int(height), int(width), int(size), str(digest))


def pack(
    size: tuple[int, int],
    works: Sequence[float],
    labels: Sequence[str],
    boxes: Sequence[tuple[int, int, int, int]],
    patches: Sequence[bytes],
) -> FrameArchive:
    """An archive of states: equal ones give equal bytes. `boxes`: top, left, height, width of each patch."""
    record = {
        "format": FORMAT,
        "height": size[0],
        "width": size[1],
        "works": list(works),
        "labels": list(labels),
        "patches": [[*box, len(data), hash_of(data)] for box, data in zip(boxes, patches, strict=True)],
    }
    index = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    return FrameArchive(Whole(_zip(index, patches)))


def hash_of(data: bytes) -> str:
    """The first half of a SHA-256, in hex."""
    return hashlib.sha256(data).hexdigest()[:32]


def _name(number: int) -> str:
    return f"{number:06d}.webp"


def _zip(index: bytes, patches: Sequence[bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as file:
        for name, data in [(INDEX, index), *((_name(number), patch) for number, patch in enumerate(patches))]:
            member = zipfile.ZipInfo(name)  # dated 1980, whenever it is written
            member.create_system = 3  # wherever it is written
            file.writestr(member, data)
    return out.getvalue()
