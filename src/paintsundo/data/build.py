"""Build data sets: inputs in, shards of drawing processes out, always the same bytes.

An interrupted build goes on where it stopped when it is started again; a finished one is kept.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from paintsundo.data import inputs
from paintsundo.data.making import engines
from paintsundo.data.making.assembly import left_over
from paintsundo.data.making.ending import finish
from paintsundo.data.making.folder import AGAIN, Folder, write
from paintsundo.data.making.looking import looked_at
from paintsundo.data.making.plan import Plan, make_plan, read_inputs, suffixes_of
from paintsundo.data.making.repair import rebuild
from paintsundo.data.making.settings import BuildSettings
from paintsundo.data.shards import read_manifest
from paintsundo.errors import UserError

__all__ = ["BuildSettings", "build"]


def build(settings: BuildSettings, progress: bool = True) -> dict[str, Any]:
    """Build a data set, or go on with it, and return its manifest and "seconds"; of one that was there already "kept".
    With `settings.shard` only that one is drawn.

    Raises UserError before any long work for bad settings or input, or where something else lies at the output.
    """
    settings.check()
    start = time.monotonic()
    folder = Folder(settings.output)
    stamp = inputs.stamp(Path(settings.input), suffixes_of(settings), folder.path)
    said = {"settings": settings.identity(), "stamp": stamp}
    same = _same(folder, said)
    _refuse(settings, folder, same)
    again = folder.finished and same
    if again and settings.shard is not None:
        with folder.held():
            found = rebuild(settings, folder, settings.shard, progress)
        return {**found, "seconds": time.monotonic() - start}
    if again and not settings.overwrite:
        if folder.work.exists():  # a build was killed as it ended
            with folder.held():
                pass
        return {**read_manifest(folder.path), "kept": True, "seconds": 0.0}
    if settings.shard is not None:
        with folder.held():
            plan = _planned(settings, folder, said, same, progress)
        return {**_one(settings, folder, plan, settings.shard, progress), "seconds": time.monotonic() - start}
    with folder.held():
        plan = _planned(settings, folder, said, same and not again, progress)
        for partial in left_over(folder.path):
            partial.unlink(missing_ok=True)
        missing = [shard for shard in range(len(plan)) if folder.read_side(shard) is None]
        engines.run(settings, folder, plan, missing, progress)
        manifest = finish(settings, folder, plan)
    return {**manifest, "seconds": time.monotonic() - start}


def _one(settings: BuildSettings, folder: Folder, plan: Plan, shard: int, progress: bool) -> dict[str, Any]:
    """One shard of an unfinished build."""
    if shard >= len(plan):
        raise UserError(f"shard={shard}: there are {len(plan)}, counted from 0")
    with folder.held(shard):
        engines.run(settings, folder, plan, [shard] if folder.read_side(shard) is None else [], progress)
    side = folder.read_side(shard)
    assert side is not None
    missing = sum(folder.read_side(number) is None for number in range(len(plan)))
    return {"samples": side["tally"]["kept"], "rejected": side["tally"]["rejected"], "missing_shards": missing}


def _same(folder: Folder, said: dict[str, str]) -> bool:
    """Whether what lies at the output was begun by the same settings from the same input, untouched since."""
    begun = folder.begun()
    return begun is not None and all(begun.get(name) == value for name, value in said.items())


def _refuse(settings: BuildSettings, folder: Folder, same: bool) -> None:
    if folder.path.exists() and not folder.path.is_dir():
        raise UserError(f"output {folder.path} is a file; choose another place")
    if same or (folder.is_empty() and folder.begun() is None):
        return
    known = folder.finished or folder.begun() is not None
    if not known and folder.others():
        raise UserError(f"output {folder.path} holds other things ({folder.others()[0]}); choose another place")
    if not settings.overwrite:
        what = "a data set" if folder.finished else "an unfinished data set"
        raise UserError(
            f"output {folder.path} holds {what} of other settings or another input; choose another place or say "
            "overwrite=true"
        )


def _planned(settings: BuildSettings, folder: Folder, said: dict[str, str], goes_on: bool, progress: bool) -> Plan:
    """The plan of a build that goes on, or a new one after the input has been found good and what lies at the output
    has been removed.
    """
    plan = Plan.read(folder) if goes_on else None
    if plan is None:
        found = read_inputs(settings, folder)
        if not goes_on and not (folder.is_empty() and folder.begun() is None):
            folder.discard()
        place = {"input": str(Path(settings.input).absolute()), "tagger": settings.tagger}
        write(folder.work / AGAIN, json.dumps({**said, **place}))
        plan = make_plan(looked_at(found, settings, folder, progress), settings, folder)
    return plan
