"""The data commands: options in, one line of result out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from paintsundo import settings
from paintsundo.data import shards
from paintsundo.data.making.plan import OF_OTHER_LICENCES
from paintsundo.data.report.commands import show, stats
from paintsundo.data.splits import RESERVED
from paintsundo.errors import UserError

_BUILD_TEXTS = (
    "input",
    "output",
    "sets",
    "licences",
    "splits",
    "tagger",
    "licence",
    "author",
)  # values that are taken literally


def build(arguments: Sequence[str]) -> int:
    """Exit 0 if anything was kept, 2 if nothing."""
    from paintsundo.data.build import BuildSettings
    from paintsundo.data.build import build as built

    config = settings.compose("build", [_by_new_name(word) for word in arguments], _BUILD_TEXTS)
    chosen = settings.as_schema(config, BuildSettings)
    found = built(chosen)
    if chosen.shard is not None:
        rest = f"; {found['missing_shards']} shards are missing" if found["missing_shards"] else ""
        print(f"shard {chosen.shard}: {found['samples']} processes kept, {found['rejected']} rejected{rest}")
        return 0
    if found.get("kept"):
        print(f"{chosen.output} is finished, with these settings from this input: {_counted(found)}; it is kept")
    else:
        speed = found["samples"] / max(found["seconds"], 1e-9)
        print(f"{_counted(found)}, in {found['seconds']:.0f} s ({speed:.1f} a second): {chosen.output}")
    return 0 if found["samples"] else 2


def _by_new_name(word: str) -> str:
    """Options of sources as they were called when they stood beside the common ones."""
    name, equals, value = word.partition("=")
    name = re.sub(r"^work_shares\.(svg|pictures)\.", "source.work_shares.", name)
    return f"{'source.crops' if name == 'crops' else name}{equals}{value}"


def _counted(manifest: Mapping[str, Any]) -> str:
    why = {RESERVED: "reserved by their names", OF_OTHER_LICENCES: "of other licences (licences=)"}
    left_out = [
        f"{count} files {why.get(kind, f'of the split {kind} (splits=)')}"
        for kind, count in manifest["files_left_out"].items()
    ]
    more = f", {' and '.join(left_out)} left out" if left_out else ""
    return f"{manifest['samples']} processes kept, {manifest['rejected']} rejected{more}"


def options(arguments: Sequence[str], required: Sequence[str], **defaults: int | str | None) -> dict[str, str]:
    """name=value words as a mapping, values literal. Raises UserError for unknown or missing names."""
    found = {name: str(value) for name, value in defaults.items() if value is not None}
    if "data" in required and "input" not in (*required, *defaults):  # its former name
        arguments = [re.sub(r"^\s*input=", "data=", word) for word in arguments]
    literals, others = settings.split_literals(arguments, {*required, *defaults})
    if others:
        known = ", ".join([*required, *defaults])
        raise UserError(f"unknown option {others[0].partition('=')[0]}; the options are {known}")
    found.update({name: value for name, value in literals.items() if value is not None})
    missing = [name for name in required if name not in found]
    if missing:
        raise UserError(f"say {missing[0]}=…")
    return found


def whole(found: dict[str, str], name: str, least: int = 1) -> int:
    """An option as a whole number."""
    try:
        value = int(found[name])
    except ValueError:
        raise UserError(f"{name}={found[name]} is not a whole number") from None
    if value < least:
        raise UserError(f"{name}={value}: choose at least {least}")
    return value


def share(found: dict[str, str], name: str) -> float:
    """An option as a share, 0 up to 1."""
    try:
        value = float(found[name])
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise UserError(f"{name}={found[name]}: choose a share from 0 up to 1")
    return value


def check(arguments: Sequence[str]) -> int:
    """Exit 0 when every sample is sound, 2 otherwise; faults are listed."""
    from paintsundo.data.inspection import faults_of

    found = options(arguments, ("data",))
    faults = 0
    for fault in faults_of(Path(found["data"])):
        faults += 1
        print(fault)
    samples = shards.read_manifest(found["data"])["samples"]
    print(f"{samples} samples, {faults} faults: {found['data']}")
    return 2 if faults else 0


def repair(arguments: Sequence[str]) -> int:
    """Mend damaged shards; exit 0 when nothing is lost, 2 otherwise."""
    from paintsundo.data.making.folder import Folder
    from paintsundo.data.making.repair import DAMAGED
    from paintsundo.data.making.repair import repair as mended

    found = options(arguments, ("data",), input=None, workers=None)
    workers = whole(found, "workers", 0) if "workers" in found else None
    shards_mended = lost = 0
    for shard in mended(Folder(found["data"]), found.get("input"), workers):
        shards_mended += 1
        lost += shard.lost
        how = "drawn again" if not shard.why else f"{shard.lost} samples lost, not drawn again: {shard.why}"
        print(f"{shard.file}: {how}")
    kept = f"; what was damaged lies in {Path(found['data']) / DAMAGED}" if lost else ""
    print(f"{shards_mended} shards mended, {lost} samples lost{kept}: {found['data']}")
    return 2 if lost else 0


def split(arguments: Sequence[str]) -> int:
    """Show how a data set is split by subject; with output= write it split anew."""
    from paintsundo.data.resplit import SplitTable, resplit

    found = options(arguments, ("data",), output=None, validation=None, test=None, seed=None)
    if "output" not in found:
        if set(found) != {"data"}:
            raise UserError("validation=, test= and seed= split into a new data set: say output=…")
        print(SplitTable.of(Path(found["data"])))
        return 0
    shares = {name: share(found, name) if name in found else None for name in ("validation", "test")}
    seed = whole(found, "seed", 0) if "seed" in found else None
    print(resplit(Path(found["data"]), Path(found["output"]), shares["validation"], shares["test"] or 0.0, seed))
    return 0


def fetch(arguments: Sequence[str]) -> int:
    """Gather art with the package tools present; exit 0 if anything was kept."""
    from paintsundo.data.art import fetch_art

    found = options(arguments, ("output",), downloads=None, sets=None)
    sets = [name for name in found.get("sets", "").split(",") if name]
    downloads = Path(found["downloads"]) if "downloads" in found else None
    manifest = fetch_art(Path(found["output"]), downloads, sets)
    print(f"{sum(entry['files'] for entry in manifest['sets'].values())} files: {found['output']}")
    return 0 if manifest["sets"] else 2


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "build": build,
    "check": check,
    "repair": repair,
    "split": split,
    "show": show,
    "stats": stats,
    "fetch": fetch,
}
