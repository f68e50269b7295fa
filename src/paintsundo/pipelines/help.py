"""`--help`: every option as it is typed, with its value and what it means."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
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
}
_COLUMN = 44


def help_text(arguments: Sequence[str], literal_keys: Collection[str]) -> str:
    """All options with the values they have after `arguments`."""
    options = asdict(as_schema(compose("infer", arguments, literal_keys), InferOptions))
    meanings = _meanings()
    folder = config_directory()
    choices = {name: sorted(file.stem for file in (folder / name).glob("*.yaml")) for name in ("models", "scheduler")}
    lines = [
        _line(f"models={options['models'].pop('name')}", f"{' | '.join(choices['models'])}; sets what suits them"),
        *(_line(f"{name}={_typed(value)}", meanings.get(name, "")) for name, value in _flat(options)),
        _line("scheduler@keyframes.scheduler=NAME", ", ".join(choices["scheduler"])),
        _line("scheduler@video.scheduler=NAME", "the same"),
    ]
    return "\n".join([_USAGE, *lines])


def _line(option: str, meaning: str) -> str:
    return f"{option:{_COLUMN}}  {meaning}".rstrip()


def _flat(options: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if name == "scheduler":
            continue
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":")).replace('"', "")


def _meanings() -> dict[str, str]:
    """Option → the comment behind it in its configuration file."""
    found = {}
    for prefix, file in _EXPLAINED.items():
        for line in (config_directory() / f"{file}.yaml").read_text(encoding="utf-8").splitlines():
            commented = re.match(r"\s*(\w+): .*?# (.*)$", line)
            if commented:
                found[prefix + commented[1]] = commented[2]
    return found
