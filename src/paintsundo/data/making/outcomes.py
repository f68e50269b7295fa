"""Drawn samples on their way into a shard: one small file each, whole or not there, so that nothing is drawn twice."""

from __future__ import annotations

import json
import os
import socket
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from paintsundo.data.making.tally import Facts


@dataclass(frozen=True)
class Outcome:
    """What became of a job: the members of its sample and the facts to count, or the reason why there is none."""

    members: Mapping[str, bytes] | None = None
    facts: Facts | None = None
    reason: str = ""


@dataclass(frozen=True)
class Kept:
    """An outcome in its file.

    Attributes:
        sizes: bytes of each member, in the order in which they lie from `start` on. None: rejected for `reason`.
    """

    file: Path
    start: int
    sizes: dict[str, int] | None
    facts: Facts | None
    reason: str

    def open(self) -> IO[bytes]:
        """The file, at the first member."""
        stream = self.file.open("rb")
        stream.seek(self.start)
        return stream


def path(folder: Path, number: int) -> Path:
    """The file of job `number`."""
    return folder / f"{number:07d}"


def write(folder: Path, number: int, outcome: Outcome) -> None:
    """Keep an outcome; two processes that draw the same job do not disturb one another."""
    members = outcome.members or {}
    checksum = 0
    for data in members.values():
        checksum = zlib.crc32(data, checksum)
    sizes = None if outcome.members is None else {suffix: len(data) for suffix, data in members.items()}
    head: dict[str, Any] = {"sizes": sizes, "facts": outcome.facts, "reason": outcome.reason, "checksum": checksum}
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{number:07d}.{socket.gethostname()}.{os.getpid()}"
    with partial.open("wb") as out:
        out.write(json.dumps(head).encode() + b"\n")
        for data in members.values():
            out.write(data)
    partial.replace(path(folder, number))


def read(folder: Path, number: int, check: bool = False) -> Kept | None:
    """The outcome of a job; None while there is none, or (with `check`) when its bytes are not those once written."""
    file = path(folder, number)
    try:
        with file.open("rb") as stream:
            head = json.loads(stream.readline())
            start = stream.tell()
            size = sum((head["sizes"] or {}).values())
            if file.stat().st_size != start + size:
                return None
            if check:
                checksum = 0
                while block := stream.read(1 << 20):
                    checksum = zlib.crc32(block, checksum)
                if checksum != head["checksum"]:
                    return None
    except (OSError, ValueError, KeyError):
        return None
    return Kept(file, start, head["sizes"], head["facts"], head["reason"])
