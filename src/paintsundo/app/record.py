"""What `page.json` in a run's folder says: the part of a run that outlives the server."""

from __future__ import annotations

import dataclasses
import json
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paintsundo.app.run_settings import RunSettings
from paintsundo.app.state import Origin, Stage
from paintsundo.errors import UserError
from paintsundo.pipelines.writers import write_text

FILE = "page.json"
VERSION = 1


@dataclass
class Keyframe:
    """One keyframe of a run; its file is `states/<id>.png`.

    Attributes:
        source: SHA-256 of an uploaded file.
        before: what it takes the place of once it is made.
    """

    id: str
    operation_step: int | None
    seed: int | None
    origin: Origin
    done: bool = True
    source: str | None = None
    before: Keyframe | None = None

    @classmethod
    def new(
        cls,
        origin: Origin,
        operation_step: int | None = None,
        seed: int | None = None,
        before: Keyframe | None = None,
    ) -> Keyframe:
        """One that is still to be made."""
        return cls(secrets.token_hex(8), operation_step, seed, origin, done=False, before=before)

    @classmethod
    def from_mapping(cls, content: dict[str, Any]) -> Keyframe:
        """As `dataclasses.asdict` gives it."""
        before = content["before"]
        return cls(**{**content, "before": None if before is None else cls.from_mapping(before)})


@dataclass
class Attempt:
    """Keyframes of one seed."""

    seed: int
    keyframes: list[Keyframe]

    @property
    def done(self) -> bool:
        return all(keyframe.done for keyframe in self.keyframes)


@dataclass
class Task:
    """What a worker is to do for a run: "keyframes" (of `seeds`), "keyframe" (those not done yet) or "film"."""

    kind: str
    seeds: list[int] = field(default_factory=list)


@dataclass
class Earlier:
    """Keyframes that others were to take the place of, until these are made: fields as in `Record`."""

    made_with: RunSettings
    original: list[str]
    keyframes: list[Keyframe]
    candidates: list[Attempt]
    chosen: int | None
    prompt: str | None

    @classmethod
    def from_mapping(cls, content: dict[str, Any]) -> Earlier:
        """As `dataclasses.asdict` gives it."""
        return cls(**{**content, **_keyframe_sets(content), "made_with": RunSettings(**content["made_with"])})


@dataclass
class PictureFile:
    """The upload: its file in the run's folder, what the visitor called it, what it is."""

    file: str
    name: str
    sha256: str
    width: int
    height: int


@dataclass
class Record:
    """A run as it lies on disk.

    Attributes:
        settings: what the visitor set last; width, height and buckets may be None, which follow the picture.
        made_with: settings that `keyframes` were made with, sizes resolved; None before.
        original: ids of the keyframes as they were made; where `keyframes` differ, they were edited.
        earlier: keyframes to go back to where the making of others is cancelled.
        film_of: what the film on disk is of (`Run.film_key`).
        pairs_done, frames_total: of the film in the making, as in `state.Status`.
    """

    picture: PictureFile
    settings: RunSettings
    title: str = ""
    created: float = field(default_factory=time.time)
    used: float = field(default_factory=time.time)
    stage: Stage = "draft"
    kept: bool = False
    prompt: str | None = None
    made_with: RunSettings | None = None
    original: list[str] = field(default_factory=list)
    keyframes: list[Keyframe] = field(default_factory=list)
    candidates: list[Attempt] = field(default_factory=list)
    chosen: int | None = None
    earlier: Earlier | None = None
    task: Task | None = None
    film_of: str | None = None
    pairs_done: list[bool] = field(default_factory=list)
    frames_total: int = 0
    message: str = ""
    error: str | None = None
    notices: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write it, as a whole."""
        text = json.dumps({"version": VERSION, **dataclasses.asdict(self)}, ensure_ascii=False, indent=1)
        write_text(folder / FILE, text)

    @classmethod
    def read(cls, folder: Path) -> Record:
        """Read it.

        Raises:
            UserError: it is not there, or no longer what was written.
        """
        try:
            content = json.loads((folder / FILE).read_text(encoding="utf-8"))
            if content.pop("version") != VERSION:
                raise ValueError("written by another version")
            return cls.from_mapping(content)
        except FileNotFoundError:
            raise UserError("this run does not exist, or not any more") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise UserError("what is known of this run is damaged: it cannot be opened") from None

    @classmethod
    def from_mapping(cls, content: dict[str, Any]) -> Record:
        """As `dataclasses.asdict` gives it."""
        made_with, task, earlier = content["made_with"], content["task"], content["earlier"]
        converted = {
            "picture": PictureFile(**content["picture"]),
            "settings": RunSettings(**content["settings"]),
            "made_with": None if made_with is None else RunSettings(**made_with),
            "earlier": None if earlier is None else Earlier.from_mapping(earlier),
            "task": None if task is None else Task(**task),
        }
        return cls(**{**content, **_keyframe_sets(content), **converted})


def _keyframe_sets(content: dict[str, Any]) -> dict[str, Any]:
    return {
        "keyframes": [Keyframe.from_mapping(each) for each in content["keyframes"]],
        "candidates": [
            Attempt(each["seed"], [Keyframe.from_mapping(keyframe) for keyframe in each["keyframes"]])
            for each in content["candidates"]
        ],
    }
