"""The split of a data set by subject: shown, and made anew in a copy."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm import tqdm

from paintsundo.data import shards
from paintsundo.data.making.folder import LICENCES, MANIFEST, REJECTED
from paintsundo.data.shard_writer import ShardWriter
from paintsundo.data.splits import SPLITS, VALIDATION_SHARE, is_reserved, is_test_subject, split_of_subject
from paintsundo.data.subjects import subject_key
from paintsundo.errors import UserError


@dataclass(frozen=True)
class SplitTable:
    """Samples and subjects by split, subjects of several splits, and samples of reserved files and subjects outside the
    test.
    """

    samples: dict[str, int]
    subjects: dict[str, int]
    crossing: tuple[str, ...]
    reserved: int
    left_out: int = 0

    @classmethod
    def of(cls, dataset: Path, left_out: int = 0) -> SplitTable:
        """The split of a data set. Raises UserError when it is none or cannot be read."""
        samples = Counter[str]()
        seen: dict[str, set[str]] = {split: set() for split in SPLITS}
        reserved = 0
        for shard in shards.read_manifest(dataset)["shards"]:
            split = shard["split"]
            for _, members in shards.read_samples(dataset / shard["file"], "json"):
                record = shards.record_of(members)
                samples[split] += 1
                seen.setdefault(split, set()).update(map(subject_key, record["subject"].split("+")))
                reserved += split != "test" and _for_tests_alone(record)
        crossing = tuple(sorted(key for key, splits in Counter(chain(*seen.values())).items() if splits > 1))
        return cls(dict(samples), {split: len(found) for split, found in seen.items()}, crossing, reserved, left_out)

    def __str__(self) -> str:
        total = max(1, sum(self.samples.values()))
        lines = [f"{'split':<12}{'samples':>9}{'share':>8}{'subjects':>10}"]
        for split in SPLITS:
            count = self.samples.get(split, 0)
            lines.append(f"{split:<12}{count:>9}{count / total:>8.1%}{self.subjects.get(split, 0):>10}")
        named = f": {', '.join(self.crossing[:5])}{', …' if len(self.crossing) > 5 else ''}" if self.crossing else ""
        lines.append(f"subjects in several splits: {len(self.crossing)}{named}")
        lines.append(f"samples of reserved files and subjects outside test: {self.reserved}")
        if self.left_out:
            lines.append(f"left out, because their subjects fall into different splits: {self.left_out}")
        return "\n".join(lines)


def split_of_record(record: dict[str, Any], validation: float, test: float, seed: int | None) -> str | None:
    """The split of a process by its subjects alone; None where it has several that fall into different splits, or a
    file of it is reserved while its subject is not.
    """
    subjects = record["subject"].split("+")
    found = {
        "test" if is_test_subject(subject) else split_of_subject(subject, validation, test, seed)
        for subject in subjects
    }
    if len(found) > 1 or (found != {"test"} and any(map(is_reserved, record.get("stems", ())))):
        return None
    return found.pop()


def _for_tests_alone(record: dict[str, Any]) -> bool:
    return any(map(is_reserved, record.get("stems", ()))) or any(map(is_test_subject, record["subject"].split("+")))


def resplit(dataset: Path, output: Path, validation: float | None, test: float, seed: int | None) -> SplitTable:
    """Write a data set split anew: these shares of subjects for validation and test, the rest for training.

    `validation` None: the share of `build`. Raises UserError when something lies at the output.
    """
    validation = VALIDATION_SHARE if validation is None else validation
    if validation + test >= 1:
        raise UserError(f"validation={validation:g} and test={test:g} leave nothing for training")
    manifest = shards.read_manifest(dataset)
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UserError(f"output {output} exists already; choose another place")
    partial = output.with_name(f".{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        left_out = _write(dataset, manifest, partial, (validation, test, seed))
        if output.exists():
            output.rmdir()
        partial.rename(output)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return SplitTable.of(output, left_out)


def _write(dataset: Path, manifest: dict[str, Any], target: Path, how: Sequence[Any]) -> int:
    validation, test, seed = how
    writer, left_out, counts = ShardWriter(target), 0, Counter[str]()
    for shard in tqdm(manifest["shards"], "splitting", unit="shard"):
        for _, members in shards.read_samples(dataset / shard["file"]):
            record = shards.record_of(members)
            split = split_of_record(record, validation, test, seed)
            if split is None:
                left_out += 1
                continue
            counts[split] += 1
            text = json.dumps({**record, "split": split}, ensure_ascii=False, sort_keys=True)
            writer.write({**members, "json": text.encode()}, split)
    for name in (REJECTED, LICENCES):
        if (dataset / name).is_file():
            shutil.copyfile(dataset / name, target / name)
    manifest.pop("plan", None)  # it is not by that plan any more
    manifest |= {
        "samples": sum(counts.values()),
        "splits": dict(sorted(counts.items())),
        "split_by": {"validation": validation, "test": test, "seed": seed, "left_out": left_out},
        "shards": writer.close(),
    }
    (target / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    return left_out
