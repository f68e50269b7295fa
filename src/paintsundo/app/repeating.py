"""`run.json` → a new run like the one it tells of. Nothing in it is trusted: names of models only, never paths."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from paintsundo.app.editing import Editing
from paintsundo.app.engine import Picture
from paintsundo.app.models import Models
from paintsundo.app.record import Keyframe
from paintsundo.app.run import Run
from paintsundo.app.run_settings import FIELDS, OWN_SCHEDULER, RunSettings, scheduler_named, scheduler_names
from paintsundo.app.uploads import display_name
from paintsundo.errors import UserError

MOST_BYTES = 4 * 2**20
_HASH = re.compile(r"[0-9a-f]{64}")
_UNKNOWN = "this is not a run.json that can be repeated"


@dataclass
class Repeated:
    """What a `run.json` asks for.

    Attributes:
        sha256, name: of the picture.
        settings: of the run.
        made_with, keyframes: where keyframes were edited: what they were made with, and which there are, all but
            uploads still to be made.
    """

    sha256: str
    name: str
    settings: RunSettings
    made_with: RunSettings | None = None
    keyframes: list[Keyframe] | None = None


class Repeating(Editing):
    """Runs made once more, edited keyframes included."""

    def repeat(self, user: str, run_json: bytes, picture: Picture | None = None) -> str:
        """A new draft with the settings of a `run.json`, the page's or the command line's.

        The picture, and uploads that replaced keyframes, are found among the visitor's own runs by their hashes
        where none is given. Keyframes that were edited are made, and edited, again by `start_film`.
        """
        wanted = read_run_json(run_json, self.model_choices)
        if picture is None:
            known = [run for run in self.store.runs(user) if run.record.picture.sha256 == wanted.sha256]
            if not known:
                raise UserError(
                    f"the picture of this run ({wanted.name}) is not among your runs: upload it together with run.json"
                )
            picture = known[0].original.read_bytes()
        run_id = self.create(user, picture, wanted.settings, wanted.name)
        if wanted.keyframes is not None and wanted.made_with is not None:
            run = self.store.open(user, run_id)
            try:
                with run.lock:
                    self._plan_edited(run, wanted.made_with, wanted.keyframes)
                    run.save()
            except BaseException:
                self.store.remove(run)
                raise
        return run_id

    def _plan_edited(self, run: Run, made_with: RunSettings, keyframes: Sequence[Keyframe]) -> None:
        from paintsundo.app.cropping import fitted

        size = int(made_with.width or 1), int(made_with.height or 1), made_with.fit
        self.check(made_with, (run.record.picture.width, run.record.picture.height))
        if len(keyframes) - 2 > self.limits.keyframes_count:
            raise UserError(f"{len(keyframes)} keyframes are too many: at most {self.limits.keyframes_count}")
        run.record.made_with, run.record.prompt = made_with, made_with.prompt
        for keyframe in keyframes:
            if keyframe.origin == "generated":
                continue
            if keyframe.origin == "upload":
                data = self._replacement(run.user, str(keyframe.source))
                image = fitted(self._read(data).image, *size)
                (run.folder / "replacements").mkdir(exist_ok=True)
                (run.folder / "replacements" / str(keyframe.source)).write_bytes(data)
            elif keyframe.origin == "picture":
                image = fitted(self._read(run.original.read_bytes()).image, *size)
            else:
                image = Image.new("RGB", size[:2], "white")
            image.save(run.file(keyframe))
            keyframe.done = True
        run.record.keyframes = list(keyframes)

    def _replacement(self, user: str, digest: str) -> bytes:
        for run in self.store.runs(user):
            for file in (run.folder / "replacements").glob("*"):
                if file.name == digest:
                    return file.read_bytes()
        raise UserError("a picture that replaced a keyframe of this run is not among your runs")


def read_run_json(data: bytes, models: Models) -> Repeated:
    """Read a `run.json` of the page or of `infer.py`.

    Raises:
        UserError: it is something else, or asks for models that are not offered here.
    """
    if len(data) > MOST_BYTES:
        raise UserError(f"{_UNKNOWN}: it is too large")
    try:
        content = json.loads(data)
        page = content.get("page")
        return _of_page(page, models) if page is not None else _of_command(content, models)
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, IndexError):
        raise UserError(_UNKNOWN) from None


def _of_page(page: Mapping[str, Any], models: Models) -> Repeated:
    settings = _settings(page["settings"], models)
    found = Repeated(_digest(page["picture"]["sha256"]), _name(page["picture"]["name"]), settings)
    if not page["edited"]:
        if page["made_with"] is not None:
            # The keyframes' own settings, and the film's.
            found.settings = _settings(page["made_with"], models).with_video_of(settings)
        return found
    found.made_with = _settings(page["made_with"], models)
    found.keyframes = []
    for each in page["keyframes"]:
        origin = each["origin"]
        if origin not in ("picture", "generated", "upload", "blank"):
            raise UserError(_UNKNOWN)
        step, seed = each["operation_step"], each["seed"]
        numbers = [number for number in (step, seed) if number is not None]
        if any(isinstance(number, bool) or not isinstance(number, int) for number in numbers):
            raise UserError(_UNKNOWN)
        if origin == "generated" and not (0 <= step <= 999 and 0 <= seed < 2**63):
            raise UserError(_UNKNOWN)
        keyframe = Keyframe.new(origin, step, seed)
        keyframe.source = _digest(each["sha256"]) if origin == "upload" else None
        found.keyframes.append(keyframe)
    if len(found.keyframes) < 2:
        raise UserError(_UNKNOWN)
    return found


def _settings(given: Mapping[str, Any], models: Models) -> RunSettings:
    name = given["model"]
    if not isinstance(name, str):
        raise UserError(_UNKNOWN)
    return RunSettings.from_mapping(given, models.defaults(name))


def _of_command(content: Mapping[str, Any], models: Models) -> Repeated:
    configuration = content["configuration"]
    if configuration["keyframes"]["folder"] is not None:
        raise UserError("this run was made with keyframes of its own: upload them one by one")
    sources = configuration["models"]
    parts = ("single_frame", "multi_frame", "tagger")
    name = next(
        (
            name
            for name in models.names()
            if all(getattr(models.base(name).models, part) == sources[part] for part in parts)
        ),
        None,
    )
    if name is None:
        raise UserError("this run was made with models that are not offered here")
    given = {ours: configuration[group][theirs] for ours, (group, theirs) in FIELDS.items()}
    given["operation_steps"] = content["settings"]["keyframes"]["operation_steps"]
    given |= {"model": name, "prompt": configuration["prompt"], "lora_scale": sources["lora_scale"]}
    if sources["lora"] is not None:
        given["lora"] = re.split(r"[/\\]", str(sources["lora"]))[-1].removesuffix(".safetensors")
    base = models.base(name)
    for ours, stage in (("scheduler", "keyframes"), ("video_scheduler", "video")):
        wanted = configuration[stage]["scheduler"]
        given[ours] = OWN_SCHEDULER if wanted == getattr(base, stage).scheduler else _scheduler_called(wanted)
    settings = RunSettings.from_mapping(given, models.defaults(name))
    return Repeated(_digest(content["input"]["sha256"][0]), _name(content["input"]["file"]), settings)


def _scheduler_called(wanted: Mapping[str, Any]) -> str:
    for name in scheduler_names()[1:]:
        if scheduler_named(name) == wanted:
            return name
    raise UserError("this run was made with a scheduler that is not offered here")


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise UserError(_UNKNOWN)
    return value


def _name(value: Any) -> str:
    return display_name(str(value))
