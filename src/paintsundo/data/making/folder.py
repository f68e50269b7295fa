"""The folder of a data set while it is made: what is there, and what may be done to it.

OUTPUT/00000.tar …      shards, each from the moment it is complete
OUTPUT/.building/       only until the manifest is written: plan, drawn samples, what is known of finished shards
OUTPUT/manifest.json    written last: without it the data set is incomplete and nobody reads it
OUTPUT/build.json       how to make it again on this machine
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from paintsundo.data.shards import WORK
from paintsundo.errors import UserError

MANIFEST, REJECTED, LICENCES, AGAIN = "manifest.json", "rejected.jsonl", "LICENCES.md", "build.json"
SHARD = re.compile(r"\d{5,}\.tar")
_OWN = {MANIFEST, REJECTED, LICENCES, AGAIN, "index.json"}


def write(path: Path, content: str | bytes) -> None:
    """Write a file that is there as a whole or not at all, whatever happens meanwhile."""
    partial = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
    with partial.open("wb") as out:
        out.write(content.encode() if isinstance(content, str) else content)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(path)


class Folder:
    """A data set being made at `path`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.work = self.path / WORK

    @property
    def finished(self) -> bool:
        return (self.path / MANIFEST).is_file()

    def shard(self, number: int) -> Path:
        """The tar of a shard."""
        return self.path / f"{number:05d}.tar"

    def side(self, number: int) -> Path:
        """What is known of a finished shard: the manifest's entry, the rejected jobs, counts."""
        return self.work / "shards" / f"{number:05d}.json"

    def outcomes(self, number: int) -> Path:
        """The drawn samples of an unfinished shard."""
        return self.work / "outcomes" / f"{number:05d}"

    def read_side(self, number: int) -> dict[str, Any] | None:
        """What is known of a finished shard; None while it is not finished."""
        try:
            side: dict[str, Any] = json.loads(self.side(number).read_bytes())
        except (OSError, ValueError):
            return None
        if side["entry"] is None:
            return side
        try:
            return side if self.shard(number).stat().st_size == side["entry"]["bytes"] else None
        except OSError:
            return None

    def begun(self) -> dict[str, Any] | None:
        """What was said to an unfinished or finished build here: "settings" and "stamp"; None where it is not known."""
        for place in (self.path / AGAIN, self.work / AGAIN) if self.finished else (self.work / AGAIN,):
            try:
                said: dict[str, Any] = json.loads(place.read_bytes())
            except (OSError, ValueError):
                continue
            return said
        return None

    def others(self) -> list[str]:
        """Names here that no data set has."""
        return sorted(
            child.name
            for child in (self.path.iterdir() if self.path.is_dir() else ())
            if child.name not in _OWN | {WORK} and not SHARD.fullmatch(child.name)
        )

    def is_empty(self) -> bool:
        """Whether nothing lies here, so that nothing can be lost."""
        return not self.path.exists() or (self.path.is_dir() and not any(c.name != WORK for c in self.path.iterdir()))

    def discard(self) -> None:
        """Remove a data set, finished or not, and nothing else. What is left when this is interrupted counts as begun
        by other settings.
        """
        self.work.mkdir(exist_ok=True)
        write(self.work / AGAIN, json.dumps({"settings": None, "stamp": None}))
        (self.path / MANIFEST).unlink(missing_ok=True)  # first: from now on nobody takes it for whole
        for child in self.path.iterdir():
            if child.name in _OWN or SHARD.fullmatch(child.name):
                child.unlink(missing_ok=True)
        for child in self.work.iterdir():
            if child.name not in ("locks", "archives", AGAIN):
                shutil.rmtree(child) if child.is_dir() else child.unlink()

    @contextmanager
    def held(self, shard: int | None = None) -> Iterator[None]:
        """Keep other builds out, or, of one shard, others that draw it and builds of the whole; the lock ends with
        this process however that dies.

        Raises UserError when another process works here.
        """
        was_here = self.path.exists()
        (self.work / "locks").mkdir(parents=True, exist_ok=True)
        name = "all" if shard is None else f"{shard:05d}"
        lock = FileLock(self.work / "locks" / name)
        try:
            lock.acquire(timeout=0)
            if shard is None:
                for other in (self.work / "locks").glob("[0-9]*"):
                    with FileLock(other, timeout=0):
                        pass
            else:
                with FileLock(self.work / "locks" / "all", timeout=0):
                    pass
        except Timeout:
            lock.release()
            raise UserError(f"{self.path} is being built by another process") from None
        try:
            yield
        finally:
            if self.finished or self.begun() is None:
                shutil.rmtree(self.work, ignore_errors=True)
                if not was_here:
                    with suppress(OSError):
                        self.path.rmdir()
            lock.release()
