"""Checks of a data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from paintsundo.data import shards
from paintsundo.data.splits import is_reserved
from paintsundo.errors import UserError


def faults_of(dataset: Path) -> Iterator[str]:
    """What is wrong with a data set, one line each: damaged shards and samples, unsound processes, mixed
    splits.

    Raises UserError when there is no manifest to check against.
    """
    manifest = shards.read_manifest(dataset)
    split_of_subject: dict[str, str] = {}
    for shard in tqdm(manifest["shards"], "checking", unit="shard"):
        path = dataset / shard["file"]
        if not path.exists():
            yield f"{shard['file']}: missing"
            continue
        if shards.file_hash(path) != shard["sha256"]:
            yield f"{shard['file']}: differs from the manifest"
        found = 0
        try:
            for key, members in shards.read_samples(path):
                found += 1
                yield from (f"{shard['file']} {key}: {fault}" for fault in _sample_faults(members, shard["split"]))
                yield from _crossing(members, shard["split"], split_of_subject)
        except UserError as error:
            yield str(error)
        if found != shard["samples"]:
            yield f"{shard['file']}: {found} samples, the manifest says {shard['samples']}"


def _sample_faults(members: dict[str, bytes], split: str) -> list[str]:
    try:
        process = shards.decode(members)
    except (ValueError, KeyError, OSError, SyntaxError, TypeError) as error:
        return [f"damaged ({type(error).__name__}: {error})"]
    found = process.faults()
    if process.extra.get("split") != split:
        found.append(f"belongs to {process.extra.get('split')}, lies in {split}")
    if split != "test":
        reserved = filter(is_reserved, process.extra.get("stems", ()))
        found += [f"made from the reserved file {name}" for name in reserved]
    return found


def _crossing(members: dict[str, bytes], split: str, seen: dict[str, str]) -> Iterator[str]:
    """Subjects that are in training as well as in validation."""
    try:
        subjects = shards.record_of(members)["subject"].split("+")
    except (ValueError, KeyError):
        return
    for subject in subjects:
        if split != "test" and seen.setdefault(subject, split) != split:
            yield f"subject {subject}: in {seen[subject]} and in {split}"
