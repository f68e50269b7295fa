"""Which models can be chosen, and the sizes that suit them."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

from paintsundo.app.loaded_models import LoadedModels
from paintsundo.app.options import AppOptions
from paintsundo.app.record import Record
from paintsundo.app.run_settings import RunSettings
from paintsundo.app.state import ModelChoice
from paintsundo.checkpoints.layout import component_configs
from paintsundo.checkpoints.sources import REQUIRED_FILES, missing_files, resolve
from paintsundo.errors import UserError
from paintsundo.pipelines.model_set import ModelSet
from paintsundo.pipelines.options import InferOptions
from paintsundo.pipelines.sizes import keyframe_multiple, video_multiple
from paintsundo.settings import as_schema, compose, config_directory

_KINDS = ("single_frame", "multi_frame", "tagger")
_UNKNOWN_MULTIPLES = (64, 64)
_LONGEST = 3.0  # times the shorter side, of keyframes that follow the picture's shape


class Models:
    """The choices, and what each would make `infer.py` do.

    Attributes:
        loaded: those that were used.
    """

    def __init__(self, options: AppOptions) -> None:
        self.options = options
        self.loaded = LoadedModels()

    def names(self) -> list[str]:
        """Names for `RunSettings.model`, the server's own first."""
        groups = sorted(file.stem for file in (config_directory() / "models").glob("*.yaml"))
        own = self.options.models.name
        folders = [name for name in self._folders() if name not in (own, *groups)]
        return [own, *(name for name in groups if name != own), *folders]

    def _folders(self) -> dict[str, Path]:
        if self.options.choices.models is None:
            return {}
        folders = (folder for folder in sorted(Path(self.options.choices.models).iterdir()) if folder.is_dir())
        return {f.name: f for f in folders if (f / "single_frame").is_dir() and (f / "multi_frame").is_dir()}

    def loras(self) -> list[str]:
        """Names for `RunSettings.lora`."""
        if self.options.choices.loras is None:
            return []
        return sorted(file.stem for file in Path(self.options.choices.loras).glob("*.safetensors") if file.is_file())

    def base(self, name: str, lora: str | None = None) -> InferOptions:
        """What the command line of `infer.py` gives for this choice.

        Raises:
            UserError: there is no such model or adapter.
        """
        if name not in self.names():
            raise UserError(f"there is no model {name[:60]!r}: choose from {', '.join(self.names())}")
        if name == self.options.models.name:
            options = copy.deepcopy(self.options.infer())
        elif name in self._folders():
            options = copy.deepcopy(_group("official"))
            folder = self._folders()[name]
            options.models.name = name
            options.models.single_frame = options.models.multi_frame = str(folder)
            options.models.tagger = str(folder) if (folder / "tagger").is_dir() else self.options.models.tagger
        else:
            options = copy.deepcopy(_group(name))
        if name != self.options.models.name:
            options.runtime = copy.deepcopy(self.options.runtime)
        options.runtime.progress = False
        if lora is not None:
            if lora not in self.loras():
                raise UserError(f"there is no LoRA {lora[:60]!r}: choose from {', '.join(self.loras()) or 'none'}")
            options.models.lora = str(Path(str(self.options.choices.loras)) / f"{lora}.safetensors")
        return options

    def defaults(self, name: str) -> RunSettings:
        """What suits a model."""
        return RunSettings.of(self.base(name), name)

    def choices(self) -> list[ModelChoice]:
        """All models, with what hinders them."""
        return [self._choice(name) for name in self.names()]

    def _choice(self, name: str) -> ModelChoice:
        labels = {"bundled": "Bundled small models", "official": "The published models"}
        lacking = self.lacking(self.base(name))
        label = labels.get(name, name)
        if not lacking:
            return ModelChoice(name, label, available=True)
        if self.options.choices.download and all(_is_hub_id(source) for _, source in lacking):
            what = ", ".join(dict.fromkeys(source for _, source in lacking))
            return ModelChoice(name, label, available=True, message=f"{what} will be fetched from the hub at first use")
        what = ", ".join(f"{kind.replace('_', '-')} model {_shown(source)}" for kind, source in lacking)
        return ModelChoice(name, label, available=False, message=f"not on this machine: {what}")

    def lacking(self, options: InferOptions) -> list[tuple[str, str]]:
        """(kind, source) of what is not on this machine."""
        return [(kind, source) for kind in _KINDS if not _is_here(source := getattr(options.models, kind), kind)]

    def check(self, options: InferOptions) -> None:
        """Raise UserError where these models are not here, or cannot be used like this.

        What must be fetched first is checked when it is.
        """
        lacking = self.lacking(options)
        if not lacking:
            ModelSet(options)
        elif not (self.options.choices.download and all(_is_hub_id(source) for _, source in lacking)):
            kind, source = lacking[0]
            raise UserError(
                f"the {kind.replace('_', '-')} model {_shown(source)} is not on this machine: choose another model, "
                "or fetch it first"
            )

    def multiples(self, name: str) -> tuple[int, int]:
        """Sides of keyframes, and of the film, are multiples of these; (64, 64) where the models are not here."""
        options = self.base(name)
        try:
            if any(kind != "tagger" for kind, _ in self.lacking(options)):
                return _UNKNOWN_MULTIPLES
            single, multi = (
                component_configs(resolve(getattr(options.models, kind), kind), kind) for kind in _KINDS[:2]
            )
        except UserError:
            return _UNKNOWN_MULTIPLES
        return keyframe_multiple(single["vae"]), video_multiple(multi["vae"], multi["unet"])

    def resolved(self, settings: RunSettings, picture: tuple[int, int]) -> RunSettings:
        """Settings with the sizes that are left to the picture's shape; `picture`: (width, height)."""
        if settings.resolved:
            return settings
        own = self.defaults(settings.model)
        keyframe, video = self.multiples(settings.model)
        changed: dict[str, Any] = {}
        width, height = settings.width, settings.height
        if width is None or height is None:
            width, height = shaped(picture, int(own.width or 1) * int(own.height or 1), keyframe)
            changed |= {"width": width, "height": height}
        if settings.buckets is None:
            buckets = own.buckets or []
            if len(buckets) == 1:
                # A film of another shape than its keyframes would lose what is at their edges.
                film_width, film_height = shaped((width, height), buckets[0][0] * buckets[0][1], video)
                buckets = [[film_height, film_width]]
            changed["buckets"] = buckets
        return dataclasses.replace(settings, **changed)

    def resolved_film(self, record: Record) -> RunSettings:
        """A run's settings with all sizes, the film's those that suit its keyframes as they are."""
        settings, made, picture = record.settings, record.made_with, record.picture
        if made is not None:
            settings = dataclasses.replace(settings, width=made.width, height=made.height)
        return self.resolved(settings, (picture.width, picture.height))


def shaped(picture: tuple[int, int], pixels: int, multiple: int) -> tuple[int, int]:
    """(width, height), multiples of `multiple`, of a picture's shape and with at most about so many pixels."""
    width, height = picture
    # A picture ten times as long as high would leave too few pixels on its shorter side.
    shape = min(max(width / height, 1 / _LONGEST), _LONGEST)
    best = (multiple, multiple)
    least = math.inf
    for columns in range(1, max(2, int(math.sqrt(pixels * _LONGEST) / multiple) + 2)):
        for rows in {max(1, round(columns / shape) + step) for step in (-1, 0, 1)}:
            area = columns * rows * multiple**2
            if area > pixels * 1.1:
                continue
            off = abs(math.log(columns / rows / shape)) + 0.5 * abs(math.log(area / pixels))
            if off < least:
                least, best = off, (columns * multiple, rows * multiple)
    return best


@functools.cache
def _group(name: str) -> InferOptions:
    return as_schema(compose("infer", [f"models={name}"]), InferOptions)


def _is_here(source: str, kind: str) -> bool:
    if source == "bundled" or Path(source).exists():
        try:
            return _has_weights(resolve(source, kind), kind)
        except UserError:
            return False
    if not _is_hub_id(source):
        return False
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(source, name) for name in REQUIRED_FILES[kind]]
    if not all(isinstance(file, str) for file in found):
        return False
    return _has_weights(Path(str(found[0])).parents[REQUIRED_FILES[kind][0].count("/")], kind)


def _has_weights(folder: Path, kind: str) -> bool:
    # An interrupted download or copy leaves the small files of a checkpoint without its weights.
    if missing_files(folder, kind):
        return False
    networks = {Path(name).parent for name in REQUIRED_FILES[kind] if name.endswith("/config.json")}
    return all(any((folder / network).glob("*.safetensors")) for network in networks)


def _shown(source: str) -> str:
    """A source for visitors: of a folder on the server its name alone."""
    return Path(source).name if Path(source).is_absolute() else source


def _is_hub_id(source: str) -> bool:
    return source.count("/") == 1 and not source.startswith((".", "/", "~")) and not Path(source).exists()
