"""Checks and numbers of a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from paintsundo.data import shards
from paintsundo.data.process import DrawingProcess
from paintsundo.data.splits import is_reserved
from paintsundo.errors import UserError

STEPS = 50  # states compared when change is measured


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
    if not found and not (process.state(0) == 255).all():
        found.append("not blank before any work is done")
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


def changed_shares(process: DrawingProcess, steps: int = STEPS) -> np.ndarray:
    """Share of the canvas that changes from each of `steps` + 1 evenly spaced states to the next:
    (steps,).
    """
    film = process.film(np.linspace(0, 1, steps + 1))
    return np.asarray((film[1:] != film[:-1]).any(axis=3).mean(axis=(1, 2)))


def statistics(dataset: Path, sampled: int = 200) -> dict[str, Any]:
    """Counts of everything, and measures of change on the first `sampled` processes."""
    manifest = shards.read_manifest(dataset)
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("stages", "sets", "licences", "tags")}
    subjects = set()
    largest, most, total = [], [], []
    for number, process in enumerate(shards.read_processes(dataset)):
        counts["stages"]["+".join(span.name for span in process.spans())] += 1
        counts["sets"].update({name.split("/")[0] for name in process.source.split("+")})
        counts["licences"].update(filter(None, process.licence.split("; ")))
        counts["tags"].update(process.tags)
        subjects.add(process.subject)
        if number < sampled:
            shares = changed_shares(process)
            largest.append(shares.max())
            most.append(np.sort(shares)[-5:].sum() / shares.sum())
            total.append(shares.sum())
    return {
        "samples": manifest["samples"],
        "splits": manifest["splits"],
        "rejected": manifest["rejected"],
        "size": manifest["size"],
        "bytes": sum(shard["bytes"] for shard in manifest["shards"]),
        "subjects": len(subjects),
        "stage_orders": dict(counts["stages"].most_common()),
        "sets": dict(counts["sets"].most_common()),
        "licences": dict(counts["licences"].most_common()),
        "tags": dict(counts["tags"].most_common(40)),
        "different_tags": len(counts["tags"]),
        "change": {
            "processes_measured": len(largest),
            "steps": STEPS,
            "painted_area_in_canvases": round(float(np.mean(total)), 4),
            "largest_step_share_of_canvas": round(float(np.mean(largest)), 4),
            "share_of_change_in_the_five_largest_steps": round(float(np.mean(most)), 4),
        },
    }
