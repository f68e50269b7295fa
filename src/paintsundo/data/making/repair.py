"""Mending finished data sets: a shard is drawn again from its inputs, or else what is sound of it is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paintsundo.data import shards
from paintsundo.data.making import engines
from paintsundo.data.making.folder import MANIFEST, Folder, write
from paintsundo.data.making.looking import looked_at
from paintsundo.data.making.plan import Plan, make_plan, read_inputs
from paintsundo.data.making.settings import BuildSettings, of_manifest
from paintsundo.data.salvage import salvaged
from paintsundo.errors import UserError
from paintsundo.file_hashes import file_hash

DAMAGED = "damaged"  # folder in a data set for shards of which samples were lost


@dataclass(frozen=True)
class Mended:
    """What became of a damaged shard: samples lost, and why it was not drawn again ("" where it was)."""

    file: str
    lost: int
    why: str


def rebuild(settings: BuildSettings, folder: Folder, shard: int, progress: bool) -> dict[str, Any]:
    """Draw one shard of a finished data set again; it takes its place when it is what the manifest says.

    Raises UserError when there is no such shard, or another one comes out.
    """
    manifest = shards.read_manifest(folder.path)
    with _planned_beside(settings, folder, manifest, progress) as plan:
        if shard >= len(plan):
            raise UserError(f"shard={shard}: there are {len(plan)}, counted from 0")
        _redraw(settings, folder, plan, manifest, [shard], progress)
        rejected = plan.sizes[shard]
    kept = sum(entry["samples"] for entry in manifest["shards"] if entry["file"] == folder.shard(shard).name)
    return {"samples": kept, "rejected": rejected - kept, "missing_shards": 0}


def damaged_shards(folder: Folder, manifest: dict[str, Any]) -> list[str]:
    """Files of shards that are missing or not as the manifest says."""
    return [
        entry["file"]
        for entry in manifest["shards"]
        if not (folder.path / entry["file"]).is_file() or file_hash(folder.path / entry["file"]) != entry["sha256"]
    ]


def repair(folder: Folder, source: str | None, workers: int | None, progress: bool = True) -> Iterator[Mended]:
    """Mend the damaged shards of a data set, from its inputs where they are there (`source`: elsewhere than before).

    Of others what is sound is kept under a new entry of the manifest; the damaged file goes to DATASET/damaged.
    """
    manifest = shards.read_manifest(folder.path)
    damaged = damaged_shards(folder, manifest)
    if not damaged:
        return
    begun = folder.begun() or {}
    with folder.held():
        left, why = list(damaged), "it is not known how it was built"
        if "plan" in manifest and (source or "input" in begun):
            try:
                settings = of_manifest(manifest, source or begun["input"], str(folder.path), begun.get("tagger"))
                settings.workers = workers
                with _planned_beside(settings, folder, manifest, progress) as plan:
                    numbers = [number for number in range(len(plan)) if folder.shard(number).name in damaged]
                    why = "another shard comes out"
                    for number in _redraw(settings, folder, plan, manifest, numbers, progress):
                        left.remove(folder.shard(number).name)
                        yield Mended(folder.shard(number).name, 0, "")
            except UserError as error:
                why = str(error)
        for file in left:
            yield _keep_sound(folder, manifest, file, why)


@contextmanager
def _planned_beside(
    settings: BuildSettings, folder: Folder, manifest: dict[str, Any], progress: bool
) -> Iterator[Plan]:
    """The plan by which a data set was built, made anew. Raises UserError when the input is no longer the same."""
    beside = Folder(folder.work / "again")
    try:
        beside.work.mkdir(parents=True, exist_ok=True)
        found = looked_at(read_inputs(settings, beside, without=folder.path), settings, beside, progress)
        plan = make_plan(found, settings, beside)
        if plan.digest != manifest["plan"]:
            raise UserError(f"input {settings.input} is not what {folder.path} was built from")
        yield plan
    finally:
        shutil.rmtree(beside.path, ignore_errors=True)


def _redraw(
    settings: BuildSettings, folder: Folder, plan: Plan, manifest: dict[str, Any], numbers: list[int], progress: bool
) -> list[int]:
    """Draw shards beside a data set and move those into it that are as its manifest says. One only, which is not:
    raises UserError.
    """
    engines.run(settings, plan.folder, plan, numbers, progress)
    entries = {entry["file"]: entry for entry in manifest["shards"]}
    mended = []
    for number in numbers:
        side, file = plan.folder.read_side(number), folder.shard(number)
        if side is not None and side["entry"] == entries.get(file.name):
            if side["entry"] is not None:
                plan.folder.shard(number).replace(file)
            mended.append(number)
    if len(numbers) == 1 and not mended:
        raise UserError(f"another shard {numbers[0]} comes out than {folder.path} had; it is kept as it is")
    return mended


def _keep_sound(folder: Folder, manifest: dict[str, Any], file: str, why: str) -> Mended:
    path = folder.path / file
    entry = next(entry for entry in manifest["shards"] if entry["file"] == file)
    partial = folder.work / file
    kept = salvaged(path, entry["split"], partial) if path.is_file() else 0
    lost = entry["samples"] - kept
    manifest["samples"] -= lost
    manifest.get("splits", {})[entry["split"]] = manifest.get("splits", {}).get(entry["split"], lost) - lost
    manifest["lost"] = {**manifest.get("lost", {}), file: manifest.get("lost", {}).get(file, 0) + lost}
    if kept:
        entry |= {"samples": kept, "bytes": partial.stat().st_size, "sha256": file_hash(partial)}
    else:
        manifest["shards"].remove(entry)
    if path.is_file():
        (folder.path / DAMAGED).mkdir(exist_ok=True)
        path.replace(_free(folder.path / DAMAGED / file))
    if kept:
        partial.replace(path)
    write(folder.path / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    return Mended(file, lost, why)


def _free(path: Path) -> Path:
    number = 0
    while (chosen := path.with_name(f"{path.name}.{number}" if number else path.name)).exists():
        number += 1
    return chosen
