"""Single processes out of shards: read where the index says, checked, decoded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from paintsundo.data import shards
from paintsundo.data.faults import Fault, FaultyData
from paintsundo.data.frame_archive import FrameArchive
from paintsundo.data.frames import FrameProcess
from paintsundo.data.index import DataIndex
from paintsundo.data.process import DrawingProcess
from paintsundo.data.scan import content_hash, parts_hash
from paintsundo.data.shard_store import ShardError, ShardFiles, ShardStore

FRAMES = "frames.zip"
Decoded = TypeVar("Decoded")


class ProcessSource:
    """Any sample of an index, at random. Copies in other processes open their own files.

    Args:
        index: the samples.
        store: where shards are had from; None: remote ones through the user's cache folder.
    """

    def __init__(self, index: DataIndex, store: ShardStore | None = None) -> None:
        self.index, self.files = index, ShardFiles(index.shards, store)

    def fault(self, index: int, reason: str) -> FaultyData:
        """The error to raise for a sample that cannot be used."""
        entry = self.index.entry(index)
        return FaultyData(Fault(self.index.shards[entry.shard].name, entry.key, " ".join(reason.split())))

    def members(self, index: int) -> dict[str, bytes]:
        """The members of a sample, suffix -> bytes. Raises FaultyData when they are not what was indexed."""
        entry = self.index.entry(index)
        try:
            parts = [
                self.files.read(entry.shard, offset, size)
                for offset, size in zip(entry.offsets, entry.sizes, strict=True)
            ]
        except ShardError as error:
            raise self.fault(index, str(error)) from error
        members = dict(zip(entry.members, parts, strict=True))
        self._check(index, lambda: content_hash(members))
        return members

    def _check(self, index: int, hashed: Callable[[], str]) -> None:
        try:
            same = hashed() == self.index.hashes[index]
        except ValueError:
            same = False
        if not same:
            raise self.fault(index, "has changed since it was indexed (checksum)")

    def process(self, index: int) -> DrawingProcess:
        """A sample decoded. Raises FaultyData when it cannot be.

        Of a sample of states only their index is read; the states are when they are asked for, which may raise
        FaultyData then.
        """
        if FRAMES in self.index.entry(index).members:
            return self._frames(index)[0]
        return self._decoded(index, shards.decode, self.members(index))

    def arrays(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint16], dict[str, Any]]:
        """A sample as (S, H, W, 3) pictures, (S, H, W) reveal maps and its record. Raises FaultyData likewise."""
        if FRAMES in self.index.entry(index).members:
            process, members = self._frames(index)
            return self._decoded(index, lambda members: shards.frame_arrays(process, members), members)
        return self._decoded(index, shards.arrays, self.members(index))

    def _frames(self, index: int) -> tuple[FrameProcess, dict[str, bytes]]:
        """A process of states that reads its shard as it is asked, and the sample's other members."""
        frames = FrameArchive(_Part(self, index, FRAMES), partial(self.fault, index))
        record = _Part(self, index, "json")
        members = {"json": record.read(0, record.size)}
        self._check(index, lambda: parts_hash({**members, FRAMES: frames.index_bytes}))
        process = self._decoded(index, lambda found: shards.frame_process(frames, shards.record_of(found)), members)
        return process, members

    def _decoded(self, index: int, decode: Callable[[dict[str, bytes]], Decoded], members: dict[str, bytes]) -> Decoded:
        try:
            return decode(members)
        except FaultyData:
            raise
        except Exception as error:  # whatever a damaged record or picture leads to
            raise self.fault(index, f"cannot be decoded ({error})") from error


class _Part:
    """One member of a sample, read in parts. Raises FaultyData when it cannot be."""

    def __init__(self, source: ProcessSource, index: int, member: str) -> None:
        entry = source.index.entry(index)
        place = entry.members.index(member)
        self.source, self.index, self.shard = source, index, entry.shard
        self.offset, self.size = entry.offsets[place], entry.sizes[place]

    def read(self, begin: int, end: int) -> bytes:
        end = min(end, self.size)
        try:
            return self.source.files.read(self.shard, self.offset + begin, max(0, end - begin))
        except ShardError as error:
            raise self.source.fault(self.index, str(error)) from error
