"""Build data sets: source files in, shards of drawing processes out, in parallel and always the same."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from paintsundo.data import inputs, process, shards, timeline
from paintsundo.data.compose import compose
from paintsundo.data.inputs import Item
from paintsundo.data.pictures import picture_process, read_picture
from paintsundo.data.scene import Placed
from paintsundo.data.splits import SPLITS
from paintsundo.data.staged import StagedProcess
from paintsundo.data.svg import scene_process
from paintsundo.data.svg_art import UnusableArt
from paintsundo.data.svg_reader import parse
from paintsundo.errors import UserError

SOURCES = {"svg": inputs.SVG_SUFFIXES, "pictures": inputs.PICTURE_SUFFIXES}


@dataclass
class BuildSettings:
    """What to build; see `configs/build.yaml`."""

    source: str
    input: str
    output: str
    size: int = 256
    workers: int | None = None
    limit: int | None = None
    compositions: int = 0
    crops: int = 1
    sets: str | None = None
    splits: str = "train,validation"
    seed: int = 0
    overwrite: bool = False
    work_shares: dict[str, dict[str, float]] = field(
        default_factory=lambda: {"svg": dict(timeline.WEIGHTS), "pictures": dict(timeline.PICTURE_WEIGHTS)}
    )

    def check(self) -> None:
        """Raises UserError for values that cannot work."""
        if self.source not in SOURCES:
            raise UserError(f"source={self.source}: choose one of {', '.join(SOURCES)}")
        if not 32 <= self.size <= 2048:
            raise UserError(f"size={self.size}: choose 32 to 2048 pixels")
        for name in ("workers", "limit"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}: choose at least 1")
        if self.compositions < 0 or self.crops < 1:
            raise UserError("compositions must be at least 0, crops at least 1")
        if self.compositions and self.source != "svg":
            raise UserError("compositions are made of vector art: they need source=svg")
        unknown = set(self.wanted_splits) - set(SPLITS)
        if unknown:
            raise UserError(f"splits={self.splits}: choose among {', '.join(SPLITS)}")
        stages = timeline.WEIGHTS if self.source == "svg" else timeline.PICTURE_WEIGHTS
        if set(stages) - set(self.shares) or any(share <= 0 for share in self.shares.values()):
            raise UserError(f"work_shares.{self.source} needs a positive share for each of {', '.join(stages)}")

    @property
    def shares(self) -> dict[str, float]:
        """Of the work axis, by stage."""
        return self.work_shares.get(self.source, {})

    @property
    def wanted_splits(self) -> list[str]:
        return [name.strip() for name in self.splits.split(",") if name.strip()]

    @property
    def wanted_sets(self) -> list[str]:
        return [name.strip() for name in (self.sets or "").split(",") if name.strip()]


@dataclass(frozen=True)
class Job:
    """One process to make: an item alone, a composition of items, or a crop of a picture."""

    name: str
    items: tuple[Item, ...]
    split: str
    size: int
    weights: Mapping[str, float]
    seed: int | None = None  # of a composition
    crop: int = 0


@dataclass(frozen=True)
class Outcome:
    """A finished job: the members of a sample, or the reason why there is none."""

    name: str
    split: str
    members: dict[str, bytes] | None
    stages: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    reason: str = ""


def _record(items: Sequence[Item], contents: Sequence[bytes]) -> dict[str, Any]:
    records = [item.record for item in items]
    tags = dict.fromkeys(tag for record in records for tag in record.get("tags", ()))
    hashes = [hashlib.sha256(content).hexdigest() for content in contents]
    return {
        "subject": "+".join(record["subject"] for record in records),
        "source": "+".join(record["source"] for record in records),
        "tags": tuple(tags),
        "licence": _joined(records, "licence"),
        "author": _joined(records, "author"),
        "hash": hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest(),
        "extra": {"stems": [item.stem for item in items]},
    }


def _joined(records: Sequence[Mapping[str, Any]], key: str) -> str:
    return "; ".join(dict.fromkeys(record[key] for record in records if record.get(key)))


def _parses(content: bytes) -> bool:
    try:
        parse(content)
    except UnusableArt:
        return False
    return True


def _draw(job: Job) -> StagedProcess:
    items, contents = job.items, [item.read() for item in job.items]
    if not items[0].name.lower().endswith(".svg"):
        picture = read_picture(contents[0], job.size, job.crop)
        return picture_process(picture, weights=job.weights, **_record(items, contents))
    if job.seed is None:
        placed = [Placed(parse(contents[0]))]
        return scene_process(placed, job.size, weights=job.weights, **_record(items, contents))
    usable = [k for k, content in enumerate(contents) if _parses(content)]
    if not usable:
        raise UnusableArt("no usable element")
    contents = [contents[k] for k in usable]
    placed, background = compose(contents, job.seed)
    record = _record([items[k] for k in usable], contents)
    if background:
        record["tags"] = (*record["tags"], "background")
    return scene_process(placed, job.size, background, weights=job.weights, **record)


def work(job: Job) -> Outcome:
    """Make one process; whatever is wrong with its source becomes the reason of its rejection."""
    try:
        drawn = _draw(job)
        faults = drawn.faults()
        if len(drawn.stages) < 2:
            faults.append("fewer than two stages")
        if faults:
            return Outcome(job.name, job.split, None, reason="; ".join(faults))
        members = shards.encode(drawn, split=job.split, name=job.name)
        names = tuple(stage.name for stage in drawn.stages)
        return Outcome(job.name, job.split, members, names, tuple(drawn.licence.split("; ")))
    except UnusableArt as error:
        return Outcome(job.name, job.split, None, reason=str(error))
    except Exception as error:  # a renderer's or decoder's failure on one file must not end the build
        return Outcome(job.name, job.split, None, reason=f"{type(error).__name__}: {error}")


def jobs(items: list[Item], settings: BuildSettings) -> list[Job]:
    """Everything to make, items and compositions evenly mixed."""
    alone = [
        Job(
            item.name if crop == 0 else f"{item.name}#{crop}",
            (item,),
            item.split,
            settings.size,
            settings.shares,
            None,
            crop,
        )
        for crop in range(settings.crops if settings.source == "pictures" else 1)
        for item in items
    ]
    by_split = {split: [item for item in items if item.split == split] for split in settings.wanted_splits}
    total = sum(map(len, by_split.values()))
    composed = []
    for number in range(settings.compositions):
        random_ = random.Random(f"{settings.seed}/{number}")
        pool = by_split[random_.choices(list(by_split), [len(found) / total for found in by_split.values()])[0]]
        count = min(len(pool), random_.choices([1, 2, 3, 4], [0.5, 0.25, 0.15, 0.1])[0])
        chosen = tuple(random_.sample(pool, count))
        name = f"composition-{number}"
        composed.append(Job(name, chosen, chosen[0].split, settings.size, settings.shares, random_.getrandbits(32)))
    both = [(k / len(part), kind, k) for kind, part in enumerate((alone, composed)) for k in range(len(part))]
    return [(alone, composed)[kind][k] for _, kind, k in sorted(both)]


def _results(todo: list[Job], workers: int) -> Iterator[Outcome]:
    """Outcomes in the order of the jobs, a bounded number of them under way."""
    if workers == 1:
        yield from map(work, todo)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_ignore_interrupt) as pool:
        waiting = iter(todo)
        window = [pool.submit(work, job) for job in islice(waiting, 8 * workers)]
        try:
            while window:
                yield window.pop(0).result()
                window.extend(pool.submit(work, job) for job in islice(waiting, 1))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _ignore_interrupt() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def build(settings: BuildSettings, progress: bool = True) -> dict[str, Any]:
    """Build a data set and return its manifest. It appears under its name only when it is complete.

    Raises UserError before any long work for bad settings or input.
    """
    settings.check()
    output = Path(settings.output)
    if output.exists() and not (settings.overwrite or (output.is_dir() and not any(output.iterdir()))):
        raise UserError(f"output {output} exists already; choose another place or say overwrite=true")
    items = inputs.read_items(Path(settings.input), SOURCES[settings.source], settings.wanted_sets)
    found = len(items)
    left_out = Counter(item.split for item in items if item.split not in settings.wanted_splits)
    items = [item for item in items if item.split in settings.wanted_splits][: settings.limit]
    todo = jobs(items, settings)
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    start = time.monotonic()
    writer = shards.ShardWriter(partial)
    counts: dict[str, Counter[str]] = {key: Counter() for key in ("splits", "stages", "licences", "reasons")}
    most = kept = 0
    workers = min(settings.workers or os.cpu_count() or 1, max(1, len(todo)))
    with (partial / "rejected.jsonl").open("w") as rejected:
        for outcome in tqdm(
            _results(todo, workers),
            "drawing",
            len(todo),
            unit="process",
            disable=not progress,
            smoothing=0.05,
        ):
            if outcome.members is None:
                counts["reasons"][outcome.reason.split(":")[0]] += 1
                rejected.write(json.dumps({"name": outcome.name, "reason": outcome.reason}, ensure_ascii=False) + "\n")
                continue
            writer.write(outcome.members, outcome.split)
            kept += 1
            most = max(most, len(outcome.stages))
            counts["splits"][outcome.split] += 1
            counts["stages"].update(outcome.stages)
            counts["licences"].update(filter(None, outcome.licences))
    manifest = {
        "format": shards.FORMAT,
        "process_version": process.VERSION,
        "work_rule": process.WORK_RULE,
        "work_shares": dict(settings.shares),
        "source": settings.source,
        "size": settings.size,
        "seed": settings.seed,
        "compositions": settings.compositions,
        "most_stages": most,
        "samples": kept,
        "rejected": len(todo) - kept,
        "files_found": found,
        "files_left_out": dict(sorted(left_out.items())),
        **{name: dict(sorted(counter.items())) for name, counter in counts.items()},
        "shards": writer.close(),
    }
    (partial / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    if output.exists():
        shutil.rmtree(output)
    partial.rename(output)
    manifest["seconds"] = time.monotonic() - start
    return manifest
