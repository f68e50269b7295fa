"""The outcomes of a shard's jobs become its tar: in the order of the plan, complete or not at all."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tarfile
from pathlib import Path
from typing import Any

from paintsundo.data.making import outcomes
from paintsundo.data.making.folder import Folder, write
from paintsundo.data.making.outcomes import Kept
from paintsundo.data.making.plan import Plan
from paintsundo.data.making.tally import Tally
from paintsundo.file_hashes import file_hash

MIXED = "source"  # in lines of rejected jobs, where a data set has several


def assemble(folder: Folder, plan: Plan, shard: int) -> dict[str, Any]:
    """Write a shard whose jobs are all done, and what is known of it; returns that. Drawn samples are then removed.

    Raises LookupError naming a job whose outcome is missing, unless another process has written the shard meanwhile.
    """
    try:
        return _assemble(folder, plan, shard)
    except LookupError:
        side = folder.read_side(shard)
        if side is None:
            raise
        return side


def _assemble(folder: Folder, plan: Plan, shard: int) -> dict[str, Any]:
    place, tally, rejected = folder.outcomes(shard), Tally(), []
    folder.side(shard).parent.mkdir(exist_ok=True)
    partial = folder.path / f".{shard:05d}.{socket.gethostname()}.{os.getpid()}"
    try:
        with partial.open("wb") as out:
            with tarfile.open(fileobj=out, mode="w") as archive:
                for job in plan.jobs(shard):
                    kept = outcomes.read(place, job.number)
                    if kept is None:
                        raise LookupError(f"job {job.number} of shard {shard} is not drawn")
                    if kept.sizes is None or kept.facts is None:
                        tally.reject(kept.reason)
                        rejected.append({"name": job.name, "reason": kept.reason})
                        continue
                    tally.keep(kept.facts)
                    _append(archive, f"{job.number:07d}", kept)
            out.flush()
            os.fsync(out.fileno())
        entry = None
        if tally.kept:
            entry = {
                "file": folder.shard(shard).name,
                "split": plan.splits[shard],
                "samples": tally.kept,
                "bytes": partial.stat().st_size,
                "sha256": file_hash(partial),
            }
            partial.replace(folder.shard(shard))
    finally:
        partial.unlink(missing_ok=True)
    side = {"entry": entry, "rejected": rejected, "tally": tally.as_dict()}
    write(folder.side(shard), json.dumps(side))
    shutil.rmtree(place, ignore_errors=True)
    return side


def _append(archive: tarfile.TarFile, key: str, kept: Kept) -> None:
    with kept.open() as stream:
        for suffix, size in (kept.sizes or {}).items():
            member = tarfile.TarInfo(f"{key}.{suffix}")
            member.size = size
            archive.addfile(member, stream)


def left_over(path: Path) -> list[Path]:
    """Half-written shards of processes that were killed."""
    return [child for child in path.iterdir() if child.name[:1] == "." and child.name[1:6].isdigit()]
