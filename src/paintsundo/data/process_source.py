"""Single processes out of shards: read where the index says, checked, decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from paintsundo.data import shards
from paintsundo.data.faults import Fault, FaultyData
from paintsundo.data.index import DataIndex
from paintsundo.data.scan import MEMBERS, content_hash
from paintsundo.data.shard_store import ShardError, ShardFiles, ShardStore
from paintsundo.data.staged import StagedProcess

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
        members = dict(zip(MEMBERS, parts, strict=True))
        if content_hash(members) != entry.hash:
            raise self.fault(index, "has changed since it was indexed (checksum)")
        return members

    def process(self, index: int) -> StagedProcess:
        """A sample decoded. Raises FaultyData when it cannot be."""
        return self._decoded(index, shards.decode)

    def arrays(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint16], dict[str, Any]]:
        """A sample as (S, H, W, 3) pictures, (S, H, W) reveal maps and its record. Raises FaultyData likewise."""
        return self._decoded(index, shards.arrays)

    def _decoded(self, index: int, decode: Callable[[dict[str, bytes]], Decoded]) -> Decoded:
        members = self.members(index)
        try:
            return decode(members)
        except Exception as error:  # whatever a damaged record or picture leads to
            raise self.fault(index, f"cannot be decoded ({error})") from error
