"""The plan of a data set: which jobs make which shard, decided before anything is drawn.

It depends on the input and the settings alone. It is written as one file a shard, so that a shard can be drawn by
whoever has the folder, and so that no process needs to hold it.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from paintsundo.data import inputs
from paintsundo.data.making.folder import Folder, write
from paintsundo.data.making.jobs import Job, seed_of
from paintsundo.data.making.settings import BuildSettings, Part
from paintsundo.data.source import Item
from paintsundo.errors import UserError

Refused = tuple[str, str]  # name, reason
OF_OTHER_LICENCES = "other licences"


@dataclass
class Inputs:
    """What the parts of a data set read.

    Attributes:
        items: of each part, of the wanted splits alone.
        refused: inputs that may not be used, by name.
        found: how many items there were.
        left_out: of other splits, of none or OF_OTHER_LICENCES, and how many.
    """

    items: list[list[Item]]
    refused: list[Refused]
    found: int
    left_out: dict[str, int]


def suffixes_of(settings: BuildSettings) -> set[str]:
    """Of all files that the parts read."""
    return {suffix for part in settings.parts for suffix in part.source.suffixes}


def read_inputs(settings: BuildSettings, folder: Folder, without: Path | None = None) -> Inputs:
    """List the input, less the data set itself (`without`; None: the folder). Raises UserError when it is not there
    or nothing in it can be for this data set.
    """
    parts: list[list[Item]] = []
    refused: dict[Refused, None] = {}
    found, left_out = 0, Counter[str]()
    for number, part in enumerate(settings.parts):
        listing = inputs.list_inputs(
            Path(settings.input),
            part.source.suffixes,
            part.sets,
            part.pattern,
            part.source.largest,
            settings.links,
            folder.work / "archives" / str(number),
            without or folder.path,
            licence=settings.licence,
            author=settings.author,
        )
        if not listing.items and not listing.refused:
            where = f" that match {part.pattern}" if part.pattern else ""
            raise UserError(
                f"input {settings.input} holds no {' / '.join(sorted(part.source.suffixes))} files{where} "
                f"for source={part.source.name}"
            )
        refused.update(dict.fromkeys(listing.refused))
        found += len(listing.items)
        items = [item for item in listing.items if settings.takes(item.record.get("licence", ""))]
        left_out[OF_OTHER_LICENCES] += len(listing.items) - len(items)
        splits = [item.split for item in items]
        left_out.update(split for split in splits if split not in settings.wanted_splits)
        wanted = zip(items, splits, strict=True)
        parts.append([item for item, split in wanted if split in settings.wanted_splits][: part.limit])
    return Inputs(parts, sorted(refused), found, dict(sorted((+left_out).items())))


def _alone(number: int, part: Part, items: Sequence[Item], seed: int) -> Iterator[Job]:
    variants = [part.source.variants(item) for item in items]
    for variant in range(max(variants, default=0)):
        for item, count in zip(items, variants, strict=True):
            if variant < count:
                name = item.name if variant == 0 else f"{item.name}#{variant}"
                yield Job(0, name, number, (item,), item.split, variant, seed_of(seed, item.name, variant))


def _together(number: int, part: Part, items: Sequence[Item], settings: BuildSettings) -> Iterator[Job]:
    by_split = {split: [item for item in items if item.split == split] for split in settings.wanted_splits}
    total = sum(map(len, by_split.values()))
    if not total:
        return
    several = len(settings.parts) > 1
    for count in range(part.compositions):
        random_ = random.Random(f"{settings.seed}/{number}/{count}" if several else f"{settings.seed}/{count}")
        pool = by_split[random_.choices(list(by_split), [len(found) / total for found in by_split.values()])[0]]
        size = min(len(pool), random_.choices([1, 2, 3, 4], [0.5, 0.25, 0.15, 0.1])[0])
        chosen = tuple(random_.sample(pool, size))
        name = f"composition-{number}-{count}" if several else f"composition-{count}"
        yield Job(0, name, number, chosen, chosen[0].split, 0, random_.getrandbits(32), together=True)


def jobs(found: Inputs, settings: BuildSettings) -> Iterator[Job]:
    """Everything to draw, numbered, all parts and compositions evenly mixed."""
    streams: list[Iterator[tuple[float, int, Job]]] = []
    for number, (part, items) in enumerate(zip(settings.parts, found.items, strict=True)):
        alone = sum(part.source.variants(item) for item in items)
        for count, drawn in (
            (alone, _alone(number, part, items, settings.seed)),
            (part.compositions, _together(number, part, items, settings)),
        ):
            streams.append(_spread(drawn, count, len(streams)))
    merged = heapq.merge(*streams, key=lambda place: place[:2])
    for number, (_, _, job) in enumerate(merged):
        yield replace(job, number=number)


def _spread(drawn: Iterator[Job], count: int, stream: int) -> Iterator[tuple[float, int, Job]]:
    """Jobs with their places among those of all streams: evenly spread from 0 to 1."""
    return ((k / count, stream, job) for k, job in enumerate(drawn))


class Plan:
    """A written plan.

    Attributes:
        splits: of each shard.
        sizes: jobs of each shard.
        digest: of everything that is to be drawn, wherever the input lies.
        facts: "found", "left_out" and "refused".
    """

    def __init__(self, folder: Folder, content: dict[str, Any]) -> None:
        self.folder = folder
        self.splits: list[str] = content["splits"]
        self.sizes: list[int] = content["sizes"]
        self.digest: str = content["digest"]
        self.facts: dict[str, Any] = content["facts"]

    def __len__(self) -> int:
        """How many shards."""
        return len(self.sizes)

    @classmethod
    def read(cls, folder: Folder) -> Plan | None:
        """The plan of an unfinished build; None when it is not complete."""
        try:
            return cls(folder, json.loads((folder.work / "plan.json").read_bytes()))
        except (OSError, ValueError):
            return None

    def jobs(self, shard: int) -> Iterator[Job]:
        """The jobs of a shard."""
        with (self.folder.work / "plan" / f"{shard:05d}.jsonl").open(encoding="utf-8") as lines:
            yield from map(Job.of_line, lines)

    def refused(self) -> Iterator[str]:
        """Lines for `rejected.jsonl` of inputs that no job is made of."""
        with (self.folder.work / "refused.jsonl").open(encoding="utf-8") as lines:
            yield from lines


def make_plan(found: Inputs, settings: BuildSettings, folder: Folder) -> Plan:
    """Deal the jobs out to shards, each of one split, in the order in which they are begun, and write them down."""
    shutil.rmtree(folder.work / "plan", ignore_errors=True)
    (folder.work / "plan").mkdir(parents=True)
    part_of_shard = [Fraction(1, settings.per_shard or part.source.per_shard) for part in settings.parts]
    splits: list[str] = []
    sizes: list[int] = []
    filling: dict[str, tuple[int, Fraction, IO[str]]] = {}
    digest = hashlib.sha256()
    for job in jobs(found, settings):
        if job.split not in filling:
            begun = (folder.work / "plan" / f"{len(splits):05d}.jsonl").open("w", encoding="utf-8")
            filling[job.split] = len(splits), Fraction(0), begun
            splits.append(job.split)
            sizes.append(0)
        shard, full, file = filling[job.split]
        file.write(job.line() + "\n")
        digest.update(job.identity())
        sizes[shard] += 1
        full += part_of_shard[job.part]
        if full >= 1:
            file.close()
            del filling[job.split]
        else:
            filling[job.split] = shard, full, file
    for _, _, rest in filling.values():
        rest.close()
    lines = [json.dumps({"name": name, "reason": reason}, ensure_ascii=False) + "\n" for name, reason in found.refused]
    write(folder.work / "refused.jsonl", "".join(lines))
    digest.update("".join(lines).encode())
    reasons = Counter(reason.split(":")[0] for _, reason in found.refused)
    facts = {"found": found.found, "left_out": found.left_out, "reasons": dict(sorted(reasons.items()))}
    content = {"splits": splits, "sizes": sizes, "digest": digest.hexdigest(), "facts": facts}
    write(folder.work / "plan.json", json.dumps(content))
    return Plan(folder, content)
