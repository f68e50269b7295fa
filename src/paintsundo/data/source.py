"""The interface of sources: what turns one file of a user into a drawing process.

A source is a module of `paintsundo.data.sources` with a class that derives from `Source` and a dataclass of its
options, which is the schema of `configs/source/<name>.yaml`.
"""

from __future__ import annotations

import hashlib
import io
import math
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from paintsundo.data.splits import split_of

if TYPE_CHECKING:
    from paintsundo.data.process import DrawingProcess

MULTIPLE = 8  # of the sides of canvases that are not square
NARROWEST = 8  # their longer side is at most so many times the shorter one
_BLOCK = 1 << 20


class Unusable(ValueError):
    """This input cannot become a drawing process; the message is the reason for the list of rejected inputs."""


class Packed(Protocol):
    """A file inside an archive, read when it is asked for."""

    @property
    def size(self) -> int:
        """Bytes."""

    def open(self) -> BinaryIO:
        """A stream of its bytes."""


@dataclass(frozen=True)
class Item:
    """A source file, in memory, on disk or inside an archive, and what is known about it.

    Attributes:
        name: path below the input, unique in a data set.
        content: the bytes, a file, or a file inside an archive.
        record: "subject" and "source", and where they are known "tags", "licence" and "author".
    """

    name: str
    content: bytes | Path | Packed
    record: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """A stream of the file's bytes."""
        if isinstance(self.content, bytes):
            yield io.BytesIO(self.content)
            return
        with self.content.open("rb") if isinstance(self.content, Path) else self.content.open() as stream:
            yield stream

    def read(self) -> bytes:
        """The file's bytes."""
        if isinstance(self.content, bytes):
            return self.content
        with self.open() as stream:
            return stream.read()

    @contextmanager
    def path(self) -> Iterator[Path]:
        """A real file with the item's bytes; of what is not one by itself a temporary copy of the same suffix."""
        if isinstance(self.content, Path):
            yield self.content
            return
        with tempfile.TemporaryDirectory() as folder, self.open() as stream:
            copy = Path(folder) / f"item{PurePosixPath(self.name).suffix.lower()}"
            with copy.open("wb") as out:
                shutil.copyfileobj(stream, out, _BLOCK)
            yield copy

    def hash(self) -> str:
        """SHA-256 of the file's bytes."""
        digest = hashlib.sha256()
        with self.open() as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    @property
    def size(self) -> int:
        """Bytes."""
        if isinstance(self.content, bytes):
            return len(self.content)
        return self.content.stat().st_size if isinstance(self.content, Path) else self.content.size

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def split(self) -> str:
        """By the subject; `splits.RESERVED` for files that belong to none."""
        return split_of(self.stem, self.record["subject"])


@dataclass(frozen=True)
class Canvas:
    """The canvas that processes are drawn on.

    Attributes:
        size: side of the square in pixels, or of a square of the same area.
        shape: "square", or "source": the source's own proportions, sides multiples of 8.
    """

    size: int = 256
    shape: str = "square"

    def dimensions(self, width: float, height: float) -> tuple[int, int]:
        """(height, width) of the canvas in pixels for a source of this width and height, in any unit.

        Raises Unusable for one too narrow to keep its shape.
        """
        if self.shape == "square":
            return self.size, self.size
        if min(width, height) <= 0 or max(width, height) > NARROWEST * min(width, height):
            raise Unusable("too narrow")
        scale = self.size / math.sqrt(width * height) / MULTIPLE
        return max(1, round(height * scale)) * MULTIPLE, max(1, round(width * scale)) * MULTIPLE


def record_of(*items: Item) -> dict[str, Any]:
    """What a process made of these items says of its origin, as keyword arguments of `DrawingProcess`: subject, tags,
    source, licence, author, hash, and in `extra` the stems of the files.
    """
    records = [item.record for item in items]
    tags = dict.fromkeys(tag for record in records for tag in record.get("tags", ()))
    hashes = [item.hash() for item in items]
    return {
        "subject": "+".join(record["subject"].replace("+", " ") for record in records),
        "source": "+".join(record["source"] for record in records),
        "tags": tuple(tags),
        "licence": _joined(records, "licence"),
        "author": _joined(records, "author"),
        "hash": hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest(),
        "extra": {"stems": [item.stem for item in items]},
    }


def _joined(records: Sequence[Mapping[str, Any]], key: str) -> str:
    return "; ".join(dict.fromkeys(record[key] for record in records if record.get(key)))


class Source(ABC):
    """Draws files of one kind. Made anew in every process that draws: it holds its options and nothing that grows.

    Class attributes:
        name: as in `source=NAME`.
        suffixes: of the files it takes, in lower case with the dot.
        Options: the dataclass of its options, every field with a default.
        per_shard: how many processes it puts into a shard: what an interrupted build may have to draw again is less.
        largest: bytes; larger files are refused unread. None: any.
        seconds: what drawing one item may take before it is given up, unless the build says otherwise. None: any time.
        composes: whether it has its own way to draw several items on one canvas; others are put together by `collage`.
        version: counted up when the same item and options give another process than before.
    """

    name: ClassVar[str]
    suffixes: ClassVar[frozenset[str]]
    Options: ClassVar[type]
    per_shard: ClassVar[int] = 500
    largest: ClassVar[int | None] = 1 << 30
    seconds: ClassVar[float | None] = 600.0
    composes: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def __init__(self, options: Any = None) -> None:
        self.options = self.Options() if options is None else options

    def check(self) -> None:  # noqa: B027  most options are possible
        """Raises UserError for options that cannot work."""

    def variants(self, item: Item) -> int:
        """How many different processes to draw of an item, without reading it."""
        return 1

    @abstractmethod
    def draw(self, item: Item, canvas: Canvas, variant: int, seed: int) -> DrawingProcess:
        """The process of an item; `variant` counts from 0. Pure: the same arguments give the same bytes.

        Metadata come from `record_of(item)`; sources add their `work_rule` and to `extra`. Raises Unusable with the
        reason for an item that cannot be drawn.
        """

    def compose(self, items: Sequence[Item], canvas: Canvas, seed: int) -> DrawingProcess:
        """One process of several items on one canvas. Raises Unusable."""
        raise NotImplementedError(f"{self.name} composes nothing")

    def preview(self, item: Item, side: int = 256) -> NDArray[np.uint8] | None:
        """The finished picture at low cost, (h, w, 3) with sides of about `side` pixels, for tags and near duplicates.

        None: only known after drawing. Raises Unusable.
        """
        return None
