"""Where shards are read from: local ones in place, those of remote sets through a cache folder of this machine.

Anything `webdataset.gopen` reads can hold a data set: http(s)://…, gs://…, hf://…, pipe:COMMAND. A URL with `{}` in
it is a template for the names of its files ("pipe:aws s3 cp s3://bucket/set/{} -"); otherwise names are appended.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from filelock import FileLock

from paintsundo.errors import UserError

_NAME = re.compile(r"\w[\w.+\- ]*(/\w[\w.+\- ]*)*")
_SCHEME = re.compile(r"[a-z][a-z0-9+.\-]+://|pipe:", re.I)
_BLOCK = 1 << 20
LIMIT_BYTES = 200 * 2**30
ATTEMPTS = 3


class ShardError(Exception):
    """A shard that cannot be had or read; one line says why."""


@dataclass(frozen=True)
class Shard:
    """A shard as its manifest lists it. `dataset` is a folder or a URL."""

    dataset: str
    file: str
    split: str
    samples: int
    bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """SET/FILE, for messages and keys."""
        return f"{dataset_name(self.dataset)}/{self.file}"


def cache_folder() -> Path:
    """`paintsundo` in the user's cache folder (XDG_CACHE_HOME, else ~/.cache)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "paintsundo"


def is_remote(dataset: str | Path) -> bool:
    """Whether a data set is named by a URL (file:// counts as local)."""
    text = str(dataset)
    return bool(_SCHEME.match(text)) and not text.lower().startswith("file://")


def local_folder(dataset: str | Path) -> Path:
    """The folder of a local data set, given as a path or as file://…"""
    text = str(dataset)
    return Path(unquote(urlsplit(text).path)) if text.lower().startswith("file://") else Path(text)


def dataset_name(dataset: str) -> str:
    """A short name: the last part of a path or URL."""
    text = dataset.replace("/{}", "").rstrip("/")
    if is_remote(dataset) and not text.startswith("pipe:"):
        text = urlsplit(text).path or text
    return re.sub(r"[^\w.+\-].*", "", text.rstrip("/").rsplit("/", 1)[-1]) or "set"


def identity(dataset: str) -> str:
    """A folder name for what is kept of one data set: equal for equal places only."""
    pipe = dataset.lower().startswith("pipe:")
    place = dataset if pipe else public(dataset) if is_remote(dataset) else str(local_folder(dataset).resolve())
    return hashlib.sha256(place.encode()).hexdigest()[:24]


def url_of(dataset: str, name: str) -> str:
    """Where a file of a remote data set is. Raises UserError for names that could lead elsewhere."""
    if not _NAME.fullmatch(name):
        raise UserError(f"{public(dataset)}: its manifest lists a file of the odd name {name!r}")
    if dataset.lower().startswith("pipe:"):
        quoted = shlex.quote(name)
        return dataset.replace("{}", quoted) if "{}" in dataset else f"{dataset.rstrip('/')}/{quoted}"
    if "{}" in dataset:
        return dataset.replace("{}", name)
    parts = urlsplit(dataset)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


def _blocks(url: str) -> Iterator[bytes]:
    """The bytes at a URL. Raises OSError or ValueError when they cannot be had to the end."""
    from webdataset import gopen  # imports torch

    stream: Any = gopen(url, "rb")
    try:
        while block := stream.read(_BLOCK):
            yield block
    except BaseException:
        process = getattr(stream, "proc", None)
        if process is not None:
            process.kill()  # a command that still waits to be read
        with suppress(OSError):
            stream.close()
        raise
    stream.close()  # raises OSError when the command behind it has failed


def public(dataset: str) -> str:
    """A place as it may be shown: a URL less user, password and query, a command by its first word."""
    if dataset.lower().startswith("pipe:"):
        return "pipe:" + (dataset[5:].split() or [""])[0]
    if not is_remote(dataset):
        return dataset
    parts = urlsplit(dataset)
    return urlunsplit(parts._replace(query="", netloc=parts.netloc.rsplit("@", 1)[-1]))


def cause(error: Exception, url: str) -> str:
    """Why a URL cannot be read, in one line without what may be secret in it."""
    status = re.search(r"exit (-?\d+)", str(error))
    why = f"exit status {status[1]}" if status else type(error).__name__
    return f"{public(url)} cannot be read ({why})"


def fetch_bytes(dataset: str, name: str) -> bytes:
    """A small file of a remote data set. Raises OSError or ValueError when it cannot be had."""
    return b"".join(_blocks(url_of(dataset, name)))


def _download(url: str, target: Path, shard: Shard) -> str:
    """Write the bytes at a URL to a file; returns what is wrong with them. Raises OSError for a full disk."""
    digest, size, blocks = hashlib.sha256(), 0, _blocks(url)
    with target.open("wb") as out:
        while True:
            try:
                block = next(blocks, b"")
            except (OSError, ValueError) as error:
                return cause(error, url)
            if not block:
                break
            out.write(block)
            digest.update(block)
            size += len(block)
    if size != shard.bytes:
        return f"has {size} bytes, the manifest says {shard.bytes}"
    return "" if digest.hexdigest() == shard.sha256 else "differs from the manifest"


class ShardStore:
    """Gives local paths of shards. Remote ones are fetched on first use, checked against the manifest, and appear
    under their names only when complete; several processes may ask at once and one fetches.

    Args:
        folder: where fetched shards are kept; None: under the user's cache folder.
        limit_bytes: above this, the fetched shards least recently opened are removed.
    """

    def __init__(self, folder: str | Path | None = None, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = Path(folder) if folder is not None else cache_folder() / "shards"
        self.limit_bytes = limit_bytes

    def path(self, shard: Shard) -> Path:
        """A file of this machine with the shard's bytes. Raises ShardError when it cannot be had."""
        if not is_remote(shard.dataset):
            return local_folder(shard.dataset) / shard.file
        path = self.folder / identity(shard.dataset) / f"{shard.sha256[:16]}-{shard.file.replace('/', '_')}"
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(path.with_name(path.name + ".lock")):
                    if not path.exists():
                        self._fetch(shard, path)
            os.utime(path)  # marks the use
        except FileNotFoundError:  # removed by another process between two lines: fetch again
            return self.path(shard)
        except OSError as error:
            raise ShardError(f"cannot be kept in {self.folder} ({error})") from error
        return path

    def _fetch(self, shard: Shard, path: Path) -> None:
        partial, url = path.with_name(path.name + ".partial"), url_of(shard.dataset, shard.file)
        self._make_room(shard.bytes)
        try:
            for attempt in range(ATTEMPTS):
                reason = _download(url, partial, shard)
                if not reason:
                    partial.replace(path)
                    return
                if attempt + 1 < ATTEMPTS:
                    time.sleep(0.2 * 4**attempt)
        finally:
            partial.unlink(missing_ok=True)
        raise ShardError(reason)

    def _make_room(self, needed: int) -> None:
        with FileLock(self.folder / ".lock"):
            kept = [(file.stat(), file) for file in self.folder.glob("*/*.tar*") if file.suffix != ".lock"]
            total = sum(status.st_size for status, _ in kept) + needed
            for status, file in sorted(kept, key=lambda pair: pair[0].st_mtime_ns):
                if total <= self.limit_bytes:
                    break
                if file.suffix != ".partial":
                    file.unlink(missing_ok=True)  # processes that have it open read on
                    total -= status.st_size

    def clear(self) -> None:
        """Remove everything fetched."""
        shutil.rmtree(self.folder, ignore_errors=True)


class ShardFiles:
    """Reads byte ranges of many shards through at most `most_open` open files.

    Reads name their offset, so copies made by forking do not disturb one another; pickled copies open anew.
    """

    def __init__(self, shards: Sequence[Shard], store: ShardStore | None = None, most_open: int = 32) -> None:
        self.shards, self.store, self.most_open = tuple(shards), store or ShardStore(), most_open
        self._open: OrderedDict[int, int] = OrderedDict()

    def read(self, shard: int, offset: int, size: int) -> bytes:
        """`size` bytes at `offset` of shard number `shard`. Raises ShardError when they cannot be had."""
        try:
            data = os.pread(self._handle(shard), size, offset)
        except OSError as error:
            raise ShardError(f"cannot be read ({error.strerror})") from error
        if len(data) != size:
            raise ShardError(f"ends before byte {offset + size}")
        return data

    def _handle(self, shard: int) -> int:
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard]
        while len(self._open) >= self.most_open:
            os.close(self._open.popitem(last=False)[1])
        for last in (False, False, True):
            try:
                self._open[shard] = os.open(self.store.path(self.shards[shard]), os.O_RDONLY | os.O_CLOEXEC)
                break
            except FileNotFoundError:  # perhaps removed by another process to make room
                if last:
                    raise
        return self._open[shard]

    def close(self) -> None:
        """Close all files."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __del__(self) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}
