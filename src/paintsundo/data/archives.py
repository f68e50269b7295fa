"""Files inside archives: listed without unpacking, read by their place, never trusted.

Nothing is written where a name inside an archive says, and nothing is read whole before its size is known.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from paintsundo.data.source import Packed

UNPACKED_FACTOR, UNPACKED_LEAST = 250, 256 << 20  # a compressed tar may hold so many times its size, or so many bytes
_BLOCK = 1 << 20
Wanted = Callable[[str], bool]
_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}


@dataclass(frozen=True)
class Found:
    """A file that was found: what it holds, or why it may not be used."""

    name: str
    content: bytes | Path | Packed | None
    reason: str = ""


@dataclass(frozen=True)
class Stretch:
    """A file that lies in one piece in another: in an uncompressed tar."""

    file: Path
    offset: int
    size: int

    def open(self) -> BinaryIO:
        """A stream of its bytes."""
        return io.BufferedReader(_Section(self.file, self.offset, self.size))


@dataclass(frozen=True)
class Zipped:
    """Entry number `entry` of a zip; reading it ends at its size, whatever its compressed bytes would give."""

    file: Path
    entry: int
    size: int

    def open(self) -> BinaryIO:
        """A stream of its bytes. Reading raises zipfile.BadZipFile where it is damaged."""
        archive = _zip(str(self.file), self.file.stat().st_mtime_ns)
        return cast(BinaryIO, archive.open(archive.infolist()[self.entry]))


class _Section(io.RawIOBase):
    """Part of a file, read by position."""

    def __init__(self, file: Path, offset: int, size: int) -> None:
        self._stream, self._start, self._size, self._at = file.open("rb", buffering=0), offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        self._stream.seek(self._start + self._at)
        count = self._stream.readinto(view) or 0
        if len(view) and not count:
            raise EOFError("the archive has been cut off")
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def close(self) -> None:
        self._stream.close()
        super().close()


@lru_cache(4)
def _zip(file: str, _changed: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(file)  # kept open: its list of entries is read once a process


def is_archive(path: Path) -> bool:
    """Tar (compressed or not) and zip files, by name."""
    return path.suffix in (".tar", ".zip", ".tgz") or ".tar." in path.name


def members(path: Path, wanted: Wanted, largest: int | None, unpacked: Path | None) -> Iterator[Found]:
    """Wanted files in an archive, and those refused, each with its reason. One of the archive's own name says that
    the archive is damaged; what was found before the damage can be used.

    Args:
        wanted: whether a file of this path in the archive is.
        largest: bytes a file may have; others are refused.
        unpacked: folder where what a compressed tar holds is put, to be read from there; None keeps it in memory.
    """
    try:
        found = _zip_members(path) if path.suffix == ".zip" else _tar_members(path, wanted, largest, unpacked)
        for each in found:
            if each.name and wanted(each.name):
                yield _limited(each, largest)
    except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, ValueError) as error:
        yield Found(path.name, None, f"cannot be read as an archive: {error}")
    except _TooLarge:
        yield Found(path.name, None, f"unpacks to more than {UNPACKED_FACTOR} times its size: it is not to be trusted")


def size_reason(size: int, largest: int | None) -> str:
    """Why a file of this size is refused; nothing for one that may be used."""
    if size == 0:
        return "is empty"
    if largest is not None and size > largest:
        return f"too large: {_size(size)}, more than the {_size(largest)} that are read"
    return ""


def _size(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count >= 1e6 else f"{count:,} bytes"


def _limited(found: Found, largest: int | None) -> Found:
    if found.reason or found.content is None:
        return found
    if "\\" in found.name or PurePosixPath(found.name).is_absolute() or ".." in PurePosixPath(found.name).parts:
        return Found(found.name, None, "its name leads out of the archive")
    size = len(found.content) if isinstance(found.content, bytes) else cast(Packed, found.content).size
    reason = size_reason(size, largest)
    return Found(found.name, None, reason) if reason else found


def _zip_members(path: Path) -> Iterator[Found]:
    with zipfile.ZipFile(path) as archive:
        for number, entry in enumerate(archive.infolist()):
            if entry.is_dir():
                continue
            if entry.flag_bits & 1:
                yield Found(entry.filename, None, "is encrypted")
            elif (entry.external_attr >> 28) not in (0, 8):
                yield Found(entry.filename, None, "is a link or a device")
            else:
                yield Found(entry.filename, Zipped(path.absolute(), number, entry.file_size))


def _tar_members(path: Path, wanted: Wanted, largest: int | None, unpacked: Path | None) -> Iterator[Found]:
    with path.open("rb") as raw:
        start = raw.read(6)
        raw.seek(0)
        opener = next((found for magic, found in _OPENERS.items() if start.startswith(magic)), None)
        if opener is None:
            with tarfile.open(fileobj=raw, mode="r:") as archive:
                end = path.stat().st_size
                for member in _headers(archive):
                    if member.isfile() and not member.issparse() and member.offset_data + member.size > end:
                        raise EOFError("it has been cut off")
                    yield _refused(member) or Found(
                        member.name, Stretch(path.absolute(), member.offset_data, member.size)
                    )
                raw.seek(archive.offset)
                block = raw.read(tarfile.BLOCKSIZE)
                if any(block) or not block:  # tarfile takes a bad header for the end, and needs none
                    raise EOFError("it is damaged" if block else "it has been cut off")
            return
        limit = max(UNPACKED_LEAST, UNPACKED_FACTOR * path.stat().st_size)
        with (
            opener(raw, "rb") as stream,
            tarfile.open(fileobj=cast(IO[bytes], _Bounded(stream, limit)), mode="r|") as archive,
        ):
            yield from _unpacked(archive, path, wanted, largest, unpacked)


def _headers(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """All headers, one at a time: the archive would keep them."""
    while (member := archive.next()) is not None:
        yield member
        archive.members = []  # type: ignore[attr-defined]  # a list that typeshed leaves out


def _refused(member: tarfile.TarInfo) -> Found | None:
    if member.isdir():
        return Found("", None)
    if not member.isfile():
        return Found(member.name, None, "is a link or a device")
    return Found(member.name, None, "is stored with holes") if member.issparse() else None


def _unpacked(
    archive: tarfile.TarFile, path: Path, wanted: Wanted, largest: int | None, folder: Path | None
) -> Iterator[Found]:
    """The wanted files of a compressed tar, which can only be read from front to back."""
    with ExitStack() as stack:
        copy = out = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            copy = (folder / hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:16]).absolute()
            out = stack.enter_context(copy.open("wb"))
        for member in _headers(archive):
            if refused := _refused(member):
                yield refused
            elif not wanted(member.name):
                continue
            elif reason := size_reason(member.size, largest):
                yield Found(member.name, None, reason)
            else:
                stream = archive.extractfile(member)
                assert stream is not None
                if copy is None or out is None:
                    yield Found(member.name, stream.read())
                    continue
                place = out.tell()
                shutil.copyfileobj(stream, out, _BLOCK)
                out.flush()  # it may be read at once
                if out.tell() - place != member.size:
                    raise EOFError("it has been cut off")
                yield Found(member.name, Stretch(copy, place, member.size))


class _TooLarge(Exception):
    """More comes out of an archive than may be."""


class _Bounded:
    """A stream that gives at most so many bytes."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream, self._left = stream, limit

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(min(size, _BLOCK) if size >= 0 else _BLOCK)
        self._left -= len(data)
        if self._left < 0:
            raise _TooLarge
        return data
