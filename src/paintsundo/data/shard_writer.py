"""Writing shards: uncompressed tars of samples, each of one split."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

from paintsundo.file_hashes import file_hash

PER_SHARD = 500


class ShardWriter:
    """Writes samples into numbered tars, each of one split; equal samples give equal bytes."""

    def __init__(self, folder: Path, per_shard: int = PER_SHARD):
        self.folder, self.per_shard = folder, per_shard
        self.shards: list[dict[str, Any]] = []
        self._open: dict[str, tuple[tarfile.TarFile, dict[str, Any]]] = {}
        self._samples = 0

    def write(self, members: dict[str, bytes], split: str) -> None:
        """Add one sample."""
        if split not in self._open:
            shard: dict[str, Any] = {"file": f"{len(self.shards):05d}.tar", "split": split, "samples": 0}
            self.shards.append(shard)
            archive = tarfile.open(self.folder / shard["file"], "w")  # noqa: SIM115  closed when it is full
            self._open[split] = (archive, shard)
        archive, shard = self._open[split]
        for suffix, data in members.items():
            member = tarfile.TarInfo(f"{self._samples:07d}.{suffix}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        self._samples += 1
        shard["samples"] += 1
        if shard["samples"] == self.per_shard:
            self._finish(split)

    def _finish(self, split: str) -> None:
        archive, shard = self._open.pop(split)
        archive.close()
        path = self.folder / shard["file"]
        shard["bytes"] = path.stat().st_size
        shard["sha256"] = file_hash(path)

    def close(self) -> list[dict[str, Any]]:
        """Finish all shards and return their entries for the manifest."""
        for split in list(self._open):
            self._finish(split)
        return self.shards
