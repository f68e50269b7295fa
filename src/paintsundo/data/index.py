"""Where every sample of a data set lies, so that any one can be read alone; and what is wrong with the others.

An index is made by reading all shards once and kept as `index.json` beside them (in the user's cache folder where
that cannot be written). It is used only for the shards it was made of: manifest entry, size and time of change of
each must agree, else that shard is read again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from paintsundo.data import shards
from paintsundo.data.faults import Fault
from paintsundo.data.scan import COLUMNS, FORMS, MANIFEST, MOST_MEMBERS, Found, entry_of, scan, stamp
from paintsundo.data.shard_store import (
    Shard,
    ShardStore,
    cache_folder,
    cause,
    fetch_bytes,
    identity,
    is_remote,
    local_folder,
    public,
    url_of,
)
from paintsundo.errors import UserError

FORMAT = 2
_FILE = "index.json"


@dataclass(frozen=True)
class Entry:
    """Where one sample lies: offset and size of each of its members in shard number `shard`."""

    shard: int
    key: str
    members: tuple[str, ...]
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    height: int
    width: int
    hash: str


@dataclass(frozen=True)
class DataIndex:
    """N samples as arrays: a plan over millions stays small, and workers share the memory.

    shard int32 (N,); forms int8 (N,), which of the FORMS of samples; offsets, sizes int64 (N, 3), of its members, 0
    where it has fewer; heights, widths int32 (N,) in pixels; keys, hashes (N,) text, the hash being `content_hash`.
    `faults`: what could not be indexed. `left_out`: sound samples that a limit has removed.
    """

    shards: tuple[Shard, ...]
    shard: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    heights: NDArray[np.int32]
    widths: NDArray[np.int32]
    keys: NDArray[np.str_]
    hashes: NDArray[np.str_]
    forms: NDArray[np.int8]
    faults: tuple[Fault, ...] = ()
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.shard)

    @property
    def lost(self) -> int:
        """Samples that the manifests promise and faults have taken."""
        return sum(fault.samples for fault in self.faults)

    def entry(self, index: int) -> Entry:
        """Where sample number `index` lies."""
        members = FORMS[self.forms[index]]
        return Entry(
            int(self.shard[index]),
            str(self.keys[index]),
            members,
            tuple(self.offsets[index, : len(members)].tolist()),
            tuple(self.sizes[index, : len(members)].tolist()),
            int(self.heights[index]),
            int(self.widths[index]),
            str(self.hashes[index]),
        )

    def name(self, index: int) -> str:
        """SET/FILE/KEY of a sample, for people and logs."""
        return f"{self.shards[self.shard[index]].name}/{self.keys[index]}"

    def take(self, rows: NDArray[np.int64]) -> DataIndex:
        """The index of these samples only, in this order; faults stay."""
        columns: dict[str, Any] = {name: getattr(self, name)[rows] for name in ("shard", *COLUMNS)}
        return replace(self, **columns)

    def of_split(self, split: str) -> DataIndex:
        """The samples, and the faults, of one split."""
        wanted = np.array([shard.split == split for shard in self.shards], bool)
        names = {shard.name for shard in self.shards if shard.split == split}
        faults = tuple(fault for fault in self.faults if fault.shard in names)
        return replace(self.take(np.flatnonzero(wanted[self.shard])), faults=faults)

    def limited(self, count: int | None) -> DataIndex:
        """At most `count` samples, drawn by their contents: the same ones wherever and in whatever order they lie."""
        if count is None or count >= len(self):
            return self
        chosen = self.take(np.sort(np.argsort(self.hashes, kind="stable")[:count]))
        return replace(chosen, left_out=self.left_out + len(self) - len(chosen))


def join(indexes: Sequence[DataIndex]) -> DataIndex:
    """One index of several. Raises UserError when there is none."""
    if not indexes:
        raise UserError("no data set is given")
    starts = np.cumsum([0, *(len(index.shards) for index in indexes)])
    columns: dict[str, Any] = {name: np.concatenate([getattr(index, name) for index in indexes]) for name in COLUMNS}
    shard = [(index.shard + start).astype(np.int32) for index, start in zip(indexes, starts, strict=False)]
    return DataIndex(
        tuple(shard for index in indexes for shard in index.shards),
        np.concatenate(shard),
        **columns,
        faults=tuple(fault for index in indexes for fault in index.faults),
        left_out=sum(index.left_out for index in indexes),
    )


def read_indexes(
    datasets: Sequence[str | Path],
    split: str | None = None,
    limit: int | None = None,
    store: ShardStore | None = None,
    progress: bool = False,
) -> DataIndex:
    """The joined index of several data sets: the samples of one split, at most `limit` of them.

    Raises:
        UserError: a data set is none or cannot be had, or there is no sample at all.
    """
    store = store or ShardStore()
    joined = join([read_index(dataset, store, progress) for dataset in datasets])
    joined = joined.of_split(split) if split is not None else joined
    if len(joined) == 0:
        more = f"; the first fault: {joined.faults[0]}" if joined.faults else ""
        places = ", ".join(public(str(dataset)) for dataset in datasets)
        raise UserError(f"{places}: no usable sample of the split {split}{more}")
    return joined.limited(limit)


def read_shards(dataset: str | Path) -> list[Shard]:
    """The shards of a data set as its manifest lists them. Raises UserError when there is no sound manifest."""
    text = str(dataset)
    if is_remote(dataset):
        try:
            manifest = shards.parse_manifest(fetch_bytes(text, "manifest.json"), public(text))
        except (OSError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            url = url_of(text, "manifest.json")
            raise UserError(f"{public(text)} is no data set: {cause(error, url)}") from error
    else:
        manifest = shards.read_manifest(local_folder(dataset))
    try:
        found = [Shard(text, *(kind(entry[name]) for name, kind in MANIFEST.items())) for entry in manifest["shards"]]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{public(text)}: its manifest is damaged ({type(error).__name__}: {error})") from error
    for shard in found:
        url_of(text, shard.file)  # refuses names that lead elsewhere
    return found


def read_index(dataset: str | Path, store: ShardStore | None = None, progress: bool = False) -> DataIndex:
    """The index of one data set (a folder or a URL), read where it is kept, made where it is missing or old.

    Raises:
        UserError: there is no sound manifest. Faults of shards and samples are listed in the index instead.
    """
    store = store or ShardStore()
    listed = read_shards(dataset)
    kept = _kept(str(dataset), listed)
    missing = [number for number, found in enumerate(kept) if found is None]
    if missing:
        workers = min(8, os.cpu_count() or 1, len(missing))
        with ThreadPoolExecutor(workers) as pool:  # hashing and reading release the interpreter lock
            scanned = pool.map(lambda number: scan(listed[number], store), missing)
            for number, found in zip(
                missing, tqdm(scanned, "indexing", len(missing), disable=not progress), strict=True
            ):
                kept[number] = found
        _keep(str(dataset), listed, kept)
    return _assembled(listed, [found for found in kept if found is not None])


def _kept(dataset: str, listed: list[Shard]) -> list[Found | None]:
    """What a kept index knows of each shard; None where it is missing or not of this very shard."""
    texts: list[bytes] = []
    own = cache_folder() / "indexes" / f"{identity(dataset)}.json"
    for place in (None, own):
        try:
            if place is not None or not is_remote(dataset):
                texts.append((place or local_folder(dataset) / _FILE).read_bytes())
            else:
                texts.append(fetch_bytes(dataset, _FILE))
        except (OSError, ValueError):
            continue
    result: list[Found | None] = [None] * len(listed)
    for text in texts:
        try:
            content = json.loads(text)
            if content["format"] != FORMAT:
                continue
            known = {found["entry"][0]: found for found in content["shards"]}
        except (ValueError, KeyError, TypeError, IndexError):
            continue
        for number, shard in enumerate(listed):
            found = known.get(shard.file)
            if result[number] is None and found is not None and _fits(found, shard):
                result[number] = found
    return result


def _fits(found: Found, shard: Shard) -> bool:
    if found.get("entry") != entry_of(shard) or len({len(found.get(name, "")) for name in COLUMNS}) != 1:
        return False
    if is_remote(shard.dataset):
        return not any(fault["key"] is None for fault in found["faults"])  # it may be whole by now
    now = stamp(local_folder(shard.dataset) / shard.file)
    return now is not None and found["stamp"] == now


def _keep(dataset: str, listed: list[Shard], kept: list[Found | None]) -> None:
    text = json.dumps({"format": FORMAT, "shards": kept}, separators=(",", ":"), ensure_ascii=False)
    places = [cache_folder() / "indexes" / f"{identity(dataset)}.json"]
    if not is_remote(dataset):
        places.insert(0, local_folder(dataset) / _FILE)
    for place in places:
        partial = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(text, encoding="utf-8")
            partial.replace(place)
            return
        except OSError:  # not writable or full: the next place, or none; the index is only made again
            partial.unlink(missing_ok=True) if partial.parent.is_dir() and os.access(partial.parent, os.W_OK) else None


def _assembled(listed: list[Shard], found: list[Found]) -> DataIndex:
    counts = [len(part["keys"]) for part in found]

    def column(name: str, kind: Any) -> NDArray[Any]:
        return np.array([row for part in found for row in part[name]], kind)

    def places(name: str) -> NDArray[np.int64]:
        rows = [[*row, *[0] * (MOST_MEMBERS - len(row))] for part in found for row in part[name]]
        return np.array(rows, np.int64).reshape(sum(counts), MOST_MEMBERS)

    names = [shard.name for shard in listed]
    faults = [  # the data set may have been moved since: its present name
        Fault(**{**fault, "shard": name}) for name, part in zip(names, found, strict=True) for fault in part["faults"]
    ]
    return DataIndex(
        tuple(listed),
        np.repeat(np.arange(len(listed), dtype=np.int32), counts),
        places("offsets"),
        places("sizes"),
        column("heights", np.int32),
        column("widths", np.int32),
        column("keys", np.str_),
        column("hashes", np.str_),
        column("forms", np.int8),
        tuple(faults),
    )
