"""`--help`: every option as it is typed, with its value and what it means."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from paintsundo.pipelines.options import InferOptions
from paintsundo.settings import as_schema, compose, config_directory

_USAGE = """python infer.py input=PICTURE|FOLDER|GLOB output=DIR [option=value …]

Makes the film of a picture's making: DIR/<stem>/film.mp4, its frames and keyframes.
Values of input, output, prompts and folders are taken as they stand. Options and their defaults:
"""

# Prefix of options → the configuration file whose comments explain them.
_EXPLAINED = {
    "": "infer",
    "models.": "models/official",
    "tags.": "models/official",
    "keyframes.": "keyframes/published",
    "video.": "video/published",
    "runtime.": "runtime/default",
    "fast.": "fast/off",
}
_COLUMN = 44


def help_text(arguments: Sequence[str], literal_keys: Collection[str]) -> str:
    """All options with the values they have after `arguments`."""
    options = asdict(as_schema(compose("infer", arguments, literal_keys), InferOptions))
    folder = config_directory()
    groups = ("models", "scheduler", "fast")
    choices = {name: sorted(file.stem for file in (folder / name).glob("*.yaml")) for name in groups}
    chosen, fast = options["models"].pop("name"), options["fast"].pop("name")
    lines = [
        option_line(f"models={chosen}", f"{' | '.join(choices['models'])}; sets what suits them"),
        option_line(f"fast={fast}", f"{' | '.join(choices['fast'])}; several times faster, a little different"),
        *explained_options(options, _EXPLAINED, without=("scheduler",)),
        option_line("scheduler@keyframes.scheduler=NAME", ", ".join(choices["scheduler"])),
        option_line("scheduler@video.scheduler=NAME", "the same"),
    ]
    return "\n".join([_USAGE, *lines])


def explained_options(
    options: Mapping[str, Any], explained: Mapping[str, str], without: Collection[str] = ()
) -> list[str]:
    """One line for each option: as it is typed, and what it means.

    Args:
        options: names and values, groups nested.
        explained: prefix of options ("" or "group.") → the configuration file whose comments explain them.
        without: options and groups to leave out.
    """
    meanings = _meanings(explained)
    return [option_line(f"{name}={_typed(value)}", meanings.get(name, "")) for name, value in _flat(options, without)]


def option_line(option: str, meaning: str) -> str:
    """An option and its meaning, in columns."""
    return f"{option:{_COLUMN}}  {meaning}".rstrip()


def _flat(options: Mapping[str, Any], without: Collection[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if name in without:
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, without, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":")).replace('"', "")


def _meanings(explained: Mapping[str, str]) -> dict[str, str]:
    """Option → the comment behind it in its configuration file; without a prefix, groups as they are in the file."""
    found = {}
    for prefix, file in explained.items():
        group = ""
        for line in (config_directory() / f"{file}.yaml").read_text(encoding="utf-8").splitlines():
            if opened := re.match(r"(\w+):\s*(?:#.*)?$", line):
                group = opened[1] + "."
            commented = re.match(r"(\s*)(\w+): .*?# (.*)$", line)
            if commented:
                inner = group if commented[1] and group != prefix else ""
                found[prefix + inner + commented[2]] = commented[3]
    return found
