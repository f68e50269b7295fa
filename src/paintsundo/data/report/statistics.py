"""Numbers about a data set, read from its records; pictures are decoded of a sample only."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from paintsundo.data import shards
from paintsundo.data.behaviours.options import OPERATIONS
from paintsundo.data.frames import FrameProcess
from paintsundo.data.process import DrawingProcess, step_of_work
from paintsundo.data.report.change import STEPS, changed_shares
from paintsundo.data.report.records import DAMAGE, ShardPart, evenly, read_members, rejected, shard_parts
from paintsundo.errors import UserError

BINS = 25  # of the operation steps 0 ... 999
SAMPLED = 200
MANY = 20_000  # samples from which on several processes count
NOTHING = "(none)"
COUNTED = (
    "kinds",
    "sets",
    "licences",
    "authors",
    "tags",
    "sizes",
    "stage_orders",
    "stages",
    "behaviours",
    "work_rules",
    "versions",
)


@dataclass
class Summary:
    """What is known of a part of a data set; parts add up.

    `counts` holds what is named in COUNTED, and splits by each of "sets" and "licences"; `lengths` how many processes
    have so many stages and so many states; `shares` the changed shares (STEPS,) of each sampled process; `states` how
    many states lie in each of the BINS of operation steps.
    """

    samples: int = 0
    size: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    counts: dict[str, Counter[Any]] = field(default_factory=dict)
    crossed: dict[str, Counter[tuple[str, str]]] = field(default_factory=dict)
    lengths: dict[str, Counter[int]] = field(default_factory=dict)
    subjects: set[bytes] = field(default_factory=set)
    shares: list[np.ndarray] = field(default_factory=list)
    states: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    damaged: list[str] = field(default_factory=list)

    def add(self, other: Summary) -> None:
        """Add another part's numbers."""
        self.samples += other.samples
        self.size += other.size
        self.splits.update(other.splits)
        for part in ("counts", "crossed", "lengths"):
            mine: dict[str, Counter[Any]] = getattr(self, part)
            for name, counter in getattr(other, part).items():
                mine.setdefault(name, Counter()).update(counter)
        self.subjects |= other.subjects
        self.shares += other.shares
        self.states += other.states
        self.damaged += other.damaged

    def count(self, record: Mapping[str, Any], split: str) -> None:
        """Count one record. Raises KeyError, TypeError or ValueError, counting nothing of it, when it is damaged."""
        frames = record.get("frames")
        stages = [str(name) for name in record["stages"]]
        licences = [part for part in str(record["licence"]).split("; ") if part] or [NOTHING]
        sets = sorted({name.split("/")[0] or NOTHING for name in str(record["source"]).split("+")})
        found: dict[str, Iterable[Any]] = {
            "kinds": ["stages" if frames is None else "states"],
            "sets": sets,
            "licences": licences,
            "authors": [part for part in str(record["author"]).split("; ") if part] or [NOTHING],
            "tags": record["tags"],
            "sizes": [f"{record['width']} × {record['height']}"],
            "stage_orders": [" → ".join(name for name in dict.fromkeys(stages) if name not in OPERATIONS) or NOTHING],
            "stages": sorted(set(stages)),
            "behaviours": sorted({behaviour["name"] for behaviour in record.get("behaviours", ())}),
            "work_rules": [record["work_rule"] or NOTHING],
            "versions": [str(record["version"])],
        }
        length = ("stages", len(stages)) if frames is None else ("states", int(frames))
        subject = hashlib.blake2b(str(record["subject"]).encode(), digest_size=8).digest()
        self.samples += 1
        self.splits[split] += 1
        for name, values in found.items():
            self.counts.setdefault(name, Counter()).update(values)
        for name in ("sets", "licences"):
            self.crossed.setdefault(name, Counter()).update((value, split) for value in found[name])
        self.lengths.setdefault(length[0], Counter())[length[1]] += 1
        self.subjects.add(subject)

    def measure(self, process: DrawingProcess) -> None:
        """Measure one process of the sample."""
        self.shares.append(changed_shares(process))
        if isinstance(process, FrameProcess):
            steps = [step_of_work(work) for work in process.works.tolist()]
            self.states += np.bincount(np.array(steps) * BINS // 1000, minlength=BINS)


def summary_of(part: ShardPart, measured: frozenset[int]) -> Summary:
    """The numbers of one shard; processes whose numbers are in `measured` are decoded."""
    found = Summary()
    try:
        for number, key, members, size in read_members(part, measured):
            try:
                found.count(shards.record_of(members), part.split)
                found.size += size
                if number in measured:
                    found.measure(shards.decode(members))
            except DAMAGE as error:
                found.damaged.append(f"{part.path.name} {key}: {type(error).__name__}: {error}")
    except UserError as error:
        found.damaged.append(str(error))
    return found


def summarise(
    dataset: str | Path, sampled: int = SAMPLED, workers: int | None = None, progress: bool = False
) -> Summary:
    """The numbers of a data set. Change is measured on `sampled` processes, evenly spaced.

    `workers`: processes that read shards; None: one, and one for each core where there is much to read. Raises
    UserError when there is no such data set.
    """
    parts = shard_parts(dataset)
    measured = frozenset(evenly(parts[-1].first + parts[-1].samples, sampled)) if sampled else frozenset[int]()
    total = Summary()
    with tqdm(total=sum(part.samples for part in parts), desc="counting", unit="process", disable=not progress) as bar:
        for part, found in _summaries(parts, measured, workers):
            total.add(found)
            bar.update(part.samples)
    return total


def _summaries(
    parts: list[ShardPart], measured: frozenset[int], workers: int | None
) -> Iterator[tuple[ShardPart, Summary]]:
    many = sum(part.samples for part in parts) >= MANY
    workers = min(len(parts), workers or ((os.cpu_count() or 1) if many else 1))
    jobs = [frozenset(measured.intersection(range(part.first, part.first + part.samples))) for part in parts]
    if workers == 1:
        yield from ((part, summary_of(part, job)) for part, job in zip(parts, jobs, strict=True))
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from zip(parts, pool.map(summary_of, parts, jobs), strict=True)


def statistics(
    dataset: str | Path,
    sampled: int = SAMPLED,
    workers: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Everything `stats` says, ready for JSON. Raises UserError when there is no such data set."""
    manifest = shards.read_manifest(dataset)
    return described(summarise(dataset, sampled, workers, progress), manifest, dataset)


def described(found: Summary, manifest: Mapping[str, Any], dataset: str | Path) -> dict[str, Any]:
    """A summary in plain words and numbers; shares of the canvas are 0 ... 1."""
    reasons = Counter(str(entry.get("reason", "")).split(":")[0] for entry in rejected(dataset))
    counts = {name: found.counts.get(name, Counter()) for name in COUNTED}
    return {
        "samples": found.samples,
        "rejected": sum(reasons.values()),
        "reasons": dict(reasons.most_common()),
        "promised": sum(shard["samples"] for shard in manifest["shards"]),
        "damaged": found.damaged,
        "shards": len(manifest["shards"]),
        "bytes": found.size,
        "subjects": len(found.subjects),
        "splits": _ordered(found.splits),
        **{name: _ordered(counts[name]) for name in COUNTED if name not in ("tags", "stages")},
        "stages": _ordered(counts["stages"]),
        "tags": dict(counts["tags"].most_common(40)),
        "different_tags": len(counts["tags"]),
        "sets_by_split": _crossed(found.crossed.get("sets", Counter())),
        "licences_by_split": _crossed(found.crossed.get("licences", Counter())),
        "lengths": {name: _spread(counter) for name, counter in sorted(found.lengths.items())},
        "change": _change(found),
    }


def _ordered(counter: Counter[Any]) -> dict[str, int]:
    return dict(sorted(counter.items(), key=lambda item: (-item[1], str(item[0]))))


def _crossed(counter: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for (value, split), number in sorted(counter.items()):
        found.setdefault(value, {})[split] = number
    return found


def _spread(counter: Counter[int]) -> dict[str, Any]:
    """Least, median, mean and most of lengths, and how often each occurs."""
    values, numbers = np.array(sorted(counter.items())).T
    middle = values[np.searchsorted(np.cumsum(numbers), numbers.sum() / 2)]
    return {
        "least": int(values[0]),
        "median": int(middle),
        "mean": round(float((values * numbers).sum() / numbers.sum()), 2),
        "most": int(values[-1]),
        "counts": {int(value): int(number) for value, number in zip(values, numbers, strict=True)},
    }


def _change(found: Summary) -> dict[str, Any]:
    if not found.shares:
        return {"processes_measured": 0}
    shares = np.stack(found.shares)  # (processes, STEPS), blank first
    total = shares.sum(axis=1)
    five = np.sort(shares, axis=1)[:, -5:].sum(axis=1) / np.maximum(total, 1e-12)
    steps = 999 * (1 - (np.arange(STEPS) + 0.5) / STEPS)
    bins = np.clip(steps * BINS / 1000, 0, BINS - 1).astype(int)
    return {
        "processes_measured": len(shares),
        "states_compared": STEPS,
        "painted_area_in_canvases": round(float(total.mean()), 4),
        "largest_step_share_of_canvas": round(float(shares.max(axis=1).mean()), 4),
        "share_of_change_in_the_five_largest_steps": round(float(five.mean()), 4),
        "changed_area_by_step": {
            _bin_name(k): round(float(shares[:, bins == k].sum(axis=1).mean()), 5) for k in range(BINS)
        },
        "states_by_step": {_bin_name(k): int(found.states[k]) for k in range(BINS)},
    }


def _bin_name(number: int) -> str:
    width = 1000 // BINS
    return f"{number * width}-{(number + 1) * width - 1}"
