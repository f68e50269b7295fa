"""The data commands: options in, one line of result out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from omegaconf import OmegaConf

from paintsundo import settings
from paintsundo.data import build as building
from paintsundo.data import shards
from paintsundo.errors import UserError


def build(arguments: Sequence[str]) -> int:
    """Exit 0 if anything was kept, 2 if nothing."""
    config = settings.compose("build", arguments, ("input", "output", "sets", "splits"))
    given = {name: config[name] for name in building.BuildSettings.__dataclass_fields__ if name in config}
    given |= {"source": config.source.name, "crops": config.source.get("crops", 1)}
    given["work_shares"] = {config.source.name: config.source.work_shares}
    manifest = building.build(settings.as_schema(OmegaConf.create(given), building.BuildSettings))
    speed = manifest["samples"] / max(manifest["seconds"], 1e-9)
    print(
        f"{manifest['samples']} processes kept, {manifest['rejected']} rejected, "
        f"in {manifest['seconds']:.0f} s ({speed:.1f} a second): {config.output}"
    )
    return 0 if manifest["samples"] else 2


def options(arguments: Sequence[str], required: Sequence[str], **defaults: int | str | None) -> dict[str, str]:
    """name=value words as a mapping, values literal. Raises UserError for unknown or missing names."""
    found = {name: str(value) for name, value in defaults.items() if value is not None}
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


def show(arguments: Sequence[str]) -> int:
    """Write a contact sheet: one row per process."""
    from paintsundo.data.sheet import contact_sheet

    found = options(arguments, ("input", "output"), count=12, states=12, side=128, first=0)
    first, count = whole(found, "first", 0), whole(found, "count")
    processes = list(islice(shards.read_processes(found["input"]), first, first + count))
    if not processes:
        raise UserError(f"{found['input']} has no process number {first}")
    sheet = contact_sheet(processes, whole(found, "states", 2), whole(found, "side", 8))
    sheet.save(found["output"])
    print(f"{len(processes)} processes: {found['output']}")
    return 0


def check(arguments: Sequence[str]) -> int:
    """Exit 0 when every sample is sound, 2 otherwise; faults are listed."""
    from paintsundo.data.inspection import faults_of

    found = options(arguments, ("input",))
    faults = 0
    for fault in faults_of(Path(found["input"])):
        faults += 1
        print(fault)
    samples = shards.read_manifest(found["input"])["samples"]
    print(f"{samples} samples, {faults} faults: {found['input']}")
    return 2 if faults else 0


def stats(arguments: Sequence[str]) -> int:
    """Print numbers about a data set as JSON."""
    from paintsundo.data.inspection import statistics

    found = options(arguments, ("input",))
    print(json.dumps(statistics(Path(found["input"])), indent=1, ensure_ascii=False))
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
    "show": show,
    "stats": stats,
    "fetch": fetch,
}
