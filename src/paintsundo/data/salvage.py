"""What is sound in a damaged shard: found member by member, whatever lies between."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from paintsundo.data import shards
from paintsundo.data.scan import sample_fault

_NAME = re.compile(r"(\w+)\.([\w.]+)")
_BLOCK = tarfile.BLOCKSIZE


def salvaged(shard: Path, split: str, target: Path) -> int:
    """Write the sound samples of a damaged shard to a new one, under their keys; returns how many there are."""
    kept = 0
    with tarfile.open(target, "w") as archive:
        for key, members in _samples(shard):
            if not _is_sound(members, split):
                continue
            kept += 1
            for suffix, data in members.items():
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    if not kept:
        target.unlink()
    return kept


def _is_sound(members: dict[str, bytes], split: str) -> bool:
    if sample_fault(members) is not None:
        return False
    try:
        process = shards.decode(members)
        return not process.faults() and process.extra.get("split") == split
    except (ValueError, KeyError, OSError, SyntaxError, TypeError):
        return False


def _samples(shard: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(key, members) of all whose headers can be read; members that are cut off are missing."""
    key, members = "", dict[str, bytes]()
    with shard.open("rb") as file:
        while len(block := file.read(_BLOCK)) == _BLOCK:
            try:
                header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
            except (tarfile.HeaderError, UnicodeError):
                continue  # no header: something in between, or data of a member whose header is damaged
            name = _NAME.fullmatch(header.name)
            if not header.isreg() or name is None:
                continue
            start = file.tell()
            data = file.read(header.size)
            if len(data) != header.size:  # cut off, or a damaged size: go on block by block
                file.seek(start)
                continue
            if name[1] != key:
                if members:
                    yield key, members
                key, members = name[1], {}
            members[name[2]] = data
            file.seek(-header.size % _BLOCK, io.SEEK_CUR)
    if members:
        yield key, members
