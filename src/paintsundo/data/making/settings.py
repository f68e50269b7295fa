"""What to build: the schema of `configs/build.yaml`, and the parts of a mix."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from paintsundo import settings as configurations
from paintsundo.data import process
from paintsundo.data.source import Canvas, Source
from paintsundo.data.sources import source_class
from paintsundo.data.splits import SPLITS
from paintsundo.errors import UserError

MIX = "open"
ENGINES = ("local", "submitit", "ray")
MOST_BITS = 16
_OWN = {"source", "input", "limit", "compositions", "sets"}  # of a part of a mix; everything else are source options


@dataclass(frozen=True)
class Part:
    """One source of a data set, with what it reads.

    Attributes:
        name: by which the source is found.
        pattern: of paths below the input; None: all.
        limit: at most so many files.
        compositions: further processes of several items.
        sets: names of sets; empty: all.
    """

    name: str
    source: Source
    pattern: str | None = None
    limit: int | None = None
    compositions: int = 0
    sets: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For files: what decides what is drawn."""
        return {
            "source": self.name,
            "version": self.source.version,
            "options": asdict(self.source.options),
            "input": self.pattern,
            "limit": self.limit,
            "compositions": self.compositions,
            "sets": list(self.sets),
        }


@dataclass
class BuildSettings:
    """What to build; see `configs/build.yaml`.

    `source`: the name of a source, or a mapping with its "name" and options; of the mix "open" its "parts".
    """

    source: Any
    input: str
    output: str
    size: int = 256
    canvas: str = "square"
    workers: int | None = None
    limit: int | None = None
    compositions: int = 0
    sets: str | None = None
    licences: str | None = None
    splits: str = "train,validation"
    seed: int = 0
    per_shard: int | None = None
    tagger: str = "none"
    near_duplicates: int | None = None
    licence: str | None = None
    author: str | None = None
    seconds: float | None = None
    memory_gb: float | None = None
    links: bool = False
    shard: int | None = None
    overwrite: bool = False
    behaviours: dict[str, Any] | None = None
    engine: dict[str, Any] = field(default_factory=lambda: {"name": "local"})

    def check(self) -> None:
        """Raises UserError for values that cannot work."""
        if not 32 <= self.size <= 2048:
            raise UserError(f"size={self.size}: choose 32 to 2048 pixels")
        if self.canvas not in ("square", "source"):
            raise UserError(f"canvas={self.canvas}: choose square or source")
        for name, least in (("workers", 0), ("limit", 1), ("per_shard", 1), ("shard", 0), ("seconds", 0), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"{name}={value}: choose at least {least}")
        if self.memory_gb is not None and self.memory_gb < 0.5:
            raise UserError(f"memory_gb={self.memory_gb}: choose at least 0.5")
        if self.near_duplicates is not None and not 0 <= self.near_duplicates <= MOST_BITS:
            raise UserError(f"near_duplicates={self.near_duplicates}: choose 0 to {MOST_BITS} bits of 64, or null")
        if not self.wanted_splits or set(self.wanted_splits) - set(SPLITS):
            raise UserError(f"splits={self.splits}: choose among {', '.join(SPLITS)}")
        if self.engine.get("name") not in ENGINES:
            raise UserError(f"engine={self.engine.get('name')}: choose one of {', '.join(ENGINES)}")
        for part in self.parts:
            part.source.check()
            if part.compositions < 0:
                raise UserError("compositions must be at least 0")
        if self.behaviour_options is not None:
            self.behaviour_options.check()

    @property
    def wanted_splits(self) -> list[str]:
        return _words(self.splits)

    def takes(self, licence: str) -> bool:
        """Whether inputs of this licence are wanted: it matches a pattern of `licences`, and none after "!"."""
        patterns = _words((self.licences or "").lower())
        wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
        without = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
        name = licence.lower()
        return (not wanted or any(fnmatchcase(name, pattern) for pattern in wanted)) and not any(
            fnmatchcase(name, pattern) for pattern in without
        )

    @property
    def drawing_canvas(self) -> Canvas:
        return Canvas(self.size, self.canvas)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The sources. Raises UserError for unknown ones and their unknown options."""
        chosen = {"name": self.source} if isinstance(self.source, str) else dict(self.source)
        name = chosen.pop("name", None)
        if name != MIX:
            return (
                Part(str(name), made(str(name), chosen), None, self.limit, self.compositions, tuple(_words(self.sets))),
            )
        parts = chosen.pop("parts", None)
        if chosen or not isinstance(parts, list) or not parts:
            raise UserError(f"source={MIX} needs a list of parts, each with its source, and nothing else")
        return tuple(self._part(part, f"source.parts[{number}]") for number, part in enumerate(parts))

    def _part(self, given: Any, place: str) -> Part:
        if not isinstance(given, Mapping) or "source" not in given:
            raise UserError(f"{place} needs a source")
        own = {name: given.get(name) for name in _OWN}
        numbers = {name: own[name] for name in ("limit", "compositions") if own[name] is not None}
        for name, value in numbers.items():
            if not isinstance(value, int) or value < (name == "limit"):
                raise UserError(f"{place}.{name}={value}: choose a whole number of at least {int(name == 'limit')}")
        limits = [limit for limit in (own["limit"], self.limit) if limit is not None]
        source = made(str(own["source"]), {name: value for name, value in given.items() if name not in _OWN}, place)
        sets = own["sets"] if own["sets"] is not None else self.sets
        words = _words(sets) if sets is None or isinstance(sets, str) else [str(each) for each in sets]
        return Part(
            str(own["source"]), source, own["input"], min(limits, default=None), own["compositions"] or 0, tuple(words)
        )

    @cached_property
    def behaviour_options(self) -> Any:
        """`BehaviourOptions`, or None."""
        if self.behaviours is None:
            return None
        from paintsundo.data.behaviours.options import BehaviourOptions

        return _typed(self.behaviours, BehaviourOptions, "behaviours")

    def decisive(self) -> dict[str, Any]:
        """Everything that decides what is drawn, for files: not where it lies, nor who draws it."""
        names = ("size", "canvas", "splits", "seed", "per_shard", "near_duplicates", "licence", "author", "seconds")
        return {
            **{name: getattr(self, name) for name in names},
            **({} if self.licences is None else {"licences": self.licences}),
            "memory_gb": self.memory_gb,
            "links": self.links,
            "tagger": _tagger_identity(self.tagger),
            "behaviours": None if self.behaviour_options is None else asdict(self.behaviour_options),
            "parts": [part.as_dict() for part in self.parts],
        }

    def identity(self) -> str:
        """A digest of what is decisive."""
        content = [process.VERSION, self.decisive()]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def of_manifest(manifest: Mapping[str, Any], source: str, output: str, tagger: str | None) -> BuildSettings:
    """The settings by which a data set was built, to build it again from `source` with the tagger of this name.

    Raises UserError where this program cannot do the same any more.
    """
    said = dict(manifest["settings"])
    parts, known = said.pop("parts"), said.pop("tagger")
    mixed = [{**part["options"], **{name: part[name] for name in sorted(_OWN)}} for part in parts]
    one = {"name": parts[0]["source"], **parts[0]["options"]} if len(parts) == 1 else {"name": MIX, "parts": mixed}
    settings = BuildSettings(one, source, output, tagger="none" if known == "none" else tagger or "bundled", **said)
    if len(parts) == 1:
        settings.limit, settings.compositions = parts[0]["limit"], parts[0]["compositions"]
        settings.sets = ",".join(parts[0]["sets"])
    settings.check()
    if settings.decisive() != manifest["settings"] or manifest["process_version"] != process.VERSION:
        raise UserError("it was built by another version of this program, or with another tagger")
    return settings


def made(name: str, options: Mapping[str, Any], place: str = "source") -> Source:
    """A source with options. Raises UserError naming `place` for options it has not."""
    found = source_class(name)
    return found(_typed(options, found.Options, place))


def _typed(options: Mapping[str, Any], schema: type, place: str) -> Any:
    try:
        return configurations.as_schema(OmegaConf.create(dict(options)), schema)
    except UserError as error:
        raise UserError(f"{place}.{error}") from error


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def _tagger_identity(tagger: str) -> str:
    if tagger == "none":
        return tagger
    folder = tagger_folder(tagger)
    digest = hashlib.sha256()
    for name in ("model.onnx", "selected_tags.csv"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def tagger_folder(tagger: str) -> Path:
    """The folder of a tagger named as in `models.tagger=`. Raises UserError when it is none."""
    from paintsundo.checkpoints.sources import resolve

    return resolve(tagger, "tagger")
