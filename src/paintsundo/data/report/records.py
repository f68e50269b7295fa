"""Records of a data set without its pictures, and single processes of it."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from paintsundo.data import shards
from paintsundo.data.process import DrawingProcess
from paintsundo.errors import UserError

DAMAGE = (ValueError, KeyError, TypeError, OSError, SyntaxError, AttributeError)  # what decoding may raise


@dataclass(frozen=True)
class ShardPart:
    """A shard of a data set: `first` is the number of its first sample among all."""

    path: Path
    split: str
    first: int
    samples: int


def shard_parts(dataset: str | Path, split: str | None = None) -> list[ShardPart]:
    """The shards of a data set (of one split), samples numbered from 0. Raises UserError when there are none."""
    found, first = [], 0
    for shard in shards.read_manifest(dataset)["shards"]:
        if split in (None, shard["split"]):
            found.append(ShardPart(Path(dataset) / shard["file"], shard["split"], first, shard["samples"]))
            first += shard["samples"]
    if not found:
        raise UserError(f"{dataset} holds no {split or ''} samples".replace("  ", " "))
    return found


def read_members(part: ShardPart, wanted: Collection[int] = ()) -> Iterator[tuple[int, str, dict[str, bytes], int]]:
    """(number, key, members, bytes of all members) of each sample of a shard, in order.

    Of samples whose numbers are wanted, all members are read; of others only the record, passing over the pictures.
    Raises UserError for a shard that cannot be read.
    """
    number, key = part.first - 1, ""
    members: dict[str, bytes] = {}
    size = 0
    try:
        with tarfile.open(part.path, "r:") as archive:
            for member in archive:
                name, _, suffix = member.name.partition(".")
                if name != key:
                    if number >= part.first:
                        yield number, key, members, size
                    number, key, members, size = number + 1, name, {}, 0
                size += member.size
                if suffix == "json" or number in wanted:
                    stream = archive.extractfile(member)
                    members[suffix] = stream.read() if stream is not None else b""
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{part.path.name} cannot be read: {error}") from error
    if number >= part.first:
        yield number, key, members, size


def evenly(total: int, count: int) -> list[int]:
    """At most `count` of the numbers 0 ... total - 1, evenly spaced, the first among them."""
    return sorted(set(np.linspace(0, total, min(count, total), endpoint=False).astype(int).tolist()))


def processes(
    dataset: str | Path, numbers: Sequence[int], split: str | None = None
) -> Iterator[tuple[int, str, DrawingProcess | str]]:
    """(number, key, process) of some samples, ascending, without reading pictures of others.

    In place of a process that cannot be decoded stands what is wrong with it. Raises UserError for unreadable shards.
    """
    wanted = set(numbers)
    for part in shard_parts(dataset, split):
        own = {number for number in wanted if part.first <= number < part.first + part.samples}
        if not own:
            continue
        for number, key, members, _ in read_members(part, own):
            if number in own:
                yield number, f"{part.path.name}/{key}", _decoded(members)


def _decoded(members: dict[str, bytes]) -> DrawingProcess | str:
    try:
        return shards.decode(members)
    except DAMAGE as error:
        return f"cannot be decoded ({type(error).__name__}: {error})"


def rejected(dataset: str | Path) -> Iterator[dict[str, Any]]:
    """Entries of `rejected.jsonl`, name and reason of each; lines that are none are passed over."""
    path = Path(dataset) / "rejected.jsonl"
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry
