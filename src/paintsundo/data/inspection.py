"""Checks of a data set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from paintsundo.data import shards
from paintsundo.data.index import read_shards
from paintsundo.data.shard_store import Shard
from paintsundo.data.splits import is_reserved, is_test_subject
from paintsundo.data.subjects import subject_key
from paintsundo.errors import UserError
from paintsundo.file_hashes import file_hash

_DAMAGE = (ValueError, KeyError, OSError, SyntaxError, TypeError, AttributeError)


def faults_of(dataset: Path, workers: int | None = None) -> Iterator[str]:
    """What is wrong with a data set, one line each: damaged shards and samples, unsound processes, mixed
    splits, files that are not listed. `workers` threads decode; None: one per core.

    Raises UserError when there is no sound manifest to check against.
    """
    listed = read_shards(dataset)
    manifest = shards.read_manifest(dataset)
    split_of_subject: dict[str, str] = {}
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:  # decoding releases the interpreter lock
        for shard in tqdm(listed, "checking", unit="shard"):
            yield from _shard_faults(dataset / shard.file, shard, split_of_subject, pool)
    total = sum(shard.samples for shard in listed)
    if manifest.get("samples", total) != total:
        yield f"manifest.json: says {manifest['samples']} samples, its shards {total}"
    names = {shard.file for shard in listed}
    yield from (f"{path.name}: not in the manifest" for path in sorted(dataset.glob("*.tar")) if path.name not in names)


def _shard_faults(
    path: Path, shard: Shard, split_of_subject: dict[str, str], pool: ThreadPoolExecutor
) -> Iterator[str]:
    if not path.is_file():
        yield f"{shard.file}: missing"
        return
    if file_hash(path) != shard.sha256:
        yield f"{shard.file}: differs from the manifest"
    found = 0
    try:
        samples = shards.read_samples(path)
        while batch := list(islice(samples, 64)):
            found += len(batch)
            faults = pool.map(lambda sample: _sample_faults(sample[1], shard.split), batch)
            for (key, members), found_faults in zip(batch, faults, strict=True):
                yield from (f"{shard.file} {key}: {fault}" for fault in found_faults)
                yield from _crossing(members, shard.split, split_of_subject)
    except UserError as error:
        yield str(error)
    if found != shard.samples:
        yield f"{shard.file}: {found} samples, the manifest says {shard.samples}"


def _sample_faults(members: dict[str, bytes], split: str) -> list[str]:
    try:
        process = shards.decode(members)
        found = process.faults()
    except _DAMAGE as error:
        return [f"damaged ({type(error).__name__}: {error})"]
    if process.extra.get("split") != split:
        found.append(f"belongs to {process.extra.get('split')}, lies in {split}")
    if split != "test":
        reserved = filter(is_reserved, process.extra.get("stems", ()))
        found += [f"made from the reserved file {name}" for name in reserved]
        found += [
            f"{name} is a subject for tests alone" for name in filter(is_test_subject, process.subject.split("+"))
        ]
    return found


def _crossing(members: dict[str, bytes], split: str, seen: dict[str, str]) -> Iterator[str]:
    """Subjects that are in several splits."""
    try:
        subjects = shards.record_of(members)["subject"].split("+")
    except _DAMAGE:
        return
    for subject in subjects:
        key = subject_key(subject)
        if seen.setdefault(key, split) != split:
            yield f"subject {subject}: in {seen[key]} and in {split}"
