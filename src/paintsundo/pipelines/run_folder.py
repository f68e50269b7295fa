"""The output folder of one picture: what is finished in it, and what a run may reuse.

Finished parts appear under their names at once and whole (`keyframes/`, `frames/`, `film.mp4`); `run.json` is
written last. What is being worked on lies in `.unfinished/`: an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load, save

from paintsundo.errors import UserError
from paintsundo.pipelines.writers import WRITERS, whole, write_text

# Stages in order: a change of one makes it and all later ones invalid.
STAGES = ("keyframes", "video", "film")
Settings = dict[str, dict[str, Any]]


class RunFolder:
    """Outputs and progress of one picture's run.

    Args:
        path: DIR/<stem>.
        settings: stage → everything that decides its result.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self.settings: Settings = json.loads(json.dumps(settings))
        self.times: dict[str, float] = {}

    @property
    def keyframes(self) -> Path:
        return self.path / "keyframes"

    @property
    def frames(self) -> Path:
        return self.path / "frames"

    @property
    def prompt(self) -> Path:
        return self.path / "prompt.txt"

    @property
    def record(self) -> Path:
        return self.path / "run.json"

    @property
    def unfinished(self) -> Path:
        return self.path / ".unfinished"

    def film(self, format: str) -> Path:
        return self.path / WRITERS[format][0]

    def finished(self, formats: Sequence[str]) -> bool:
        """Whether a run with the same settings is complete, the wanted formats included."""
        record = _json(self.record)
        return (
            record.get("settings") == self.settings
            and _count(self.keyframes) == record.get("keyframes")
            and _count(self.frames) == record.get("frames")
            and all(self.film(name).is_file() for name in formats)
        )

    def begin(self, overwrite: bool, formats: Sequence[str]) -> None:
        """Make the folder ready: keep what this run can reuse, remove what it may overwrite.

        Raises:
            UserError: a film with other settings lies there, or the folder cannot be made.
        """
        previous = self._previous()
        first_changed = self._first_changed(previous)
        if overwrite and first_changed is None and self.finished(formats):
            first_changed = STAGES[0]
        if first_changed is not None and previous is not None and not overwrite:
            raise UserError(
                f"{self.path} holds a film made with other settings ({self._differences(previous)}): "
                "choose another output, or overwrite=true"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise UserError(f"{self.path} cannot be made a folder: {error.strerror}") from error
        record = _json(self.record)
        if record and first_changed is None:
            # Somebody has taken pictures away: make those stages again.
            if _count(self.keyframes) != record.get("keyframes"):
                first_changed = "keyframes"
            elif _count(self.frames) != record.get("frames"):
                first_changed = "video"
        noted = _json(self.unfinished / "run.json") or record
        self.record.unlink(missing_ok=True)
        if first_changed is None:
            self.times = noted.get("times", {})
        else:
            self._discard(STAGES.index(first_changed))
        self.unfinished.mkdir(exist_ok=True)
        self._note()

    def saved_clips(self) -> dict[int, torch.Tensor]:
        """Latent clips of pairs that an interrupted run has finished."""
        clips = {}
        for file in sorted((self.unfinished / "clips").glob("*.safetensors")):
            try:
                clips[int(file.stem)] = load(file.read_bytes())["latents"]
            except (SafetensorError, KeyError, ValueError):
                file.unlink()
        return clips

    def save_clip(self, pair: int, latents: torch.Tensor) -> None:
        """Keep the latent clip of a finished pair."""
        folder = self.unfinished / "clips"
        folder.mkdir(exist_ok=True)
        with whole(folder / f"{pair:04d}.safetensors") as temporary:
            temporary.write_bytes(save({"latents": latents.contiguous()}))

    @contextmanager
    def making(self, folder: Path) -> Iterator[Path]:
        """Give a temporary folder to fill; it becomes `folder` only if the block ends well."""
        temporary = self.unfinished / folder.name
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        if folder.is_dir():
            shutil.rmtree(folder)
        temporary.rename(folder)

    def saved_keyframes(self) -> list[Image.Image]:
        """The finished keyframes, in order."""
        return [Image.open(file).convert("RGB") for file in sorted(self.keyframes.glob("*.png"))]

    def took(self, part: str, seconds: float) -> None:
        """Add to the time of a part, over interruptions."""
        self.times[part] = round(self.times.get(part, 0.0) + seconds, 3)
        self._note()

    def end(self, record: Mapping[str, Any]) -> None:
        """Write `run.json`: from now on the run is complete."""
        entries = {"complete": True, **record, "times": self.times, "settings": self.settings}
        write_text(self.record, json.dumps(entries, ensure_ascii=False, indent=2) + "\n")
        shutil.rmtree(self.unfinished, ignore_errors=True)

    def _note(self) -> None:
        write_text(
            self.unfinished / "run.json",
            json.dumps({"settings": self.settings, "times": self.times}, indent=2),
        )

    def _previous(self) -> Settings | None:
        """Settings of the run whose outputs lie here; None if the place is free, {} if they are unknown."""
        for file in (self.unfinished / "run.json", self.record):
            settings = _json(file).get("settings")
            if settings is not None:
                return settings
        outputs = (self.record, self.keyframes, self.frames, *(self.film(name) for name in WRITERS))
        return {} if any(output.exists() for output in outputs) else None

    def _first_changed(self, previous: Settings | None) -> str | None:
        for stage in STAGES:
            if (previous or {}).get(stage) != self.settings[stage]:
                return stage
        return None

    def _differences(self, previous: Settings) -> str:
        if not previous:
            return "unknown ones"
        changes = []
        for stage in STAGES:
            old, new = previous.get(stage, {}), self.settings[stage]
            for key in sorted({*old, *new}):
                if old.get(key) != new.get(key):
                    changes.append(f"{stage}.{key}: {_short(old.get(key))} then, {_short(new.get(key))} now")
        return "; ".join(changes[:3]) + (f" and {len(changes) - 3} more" if len(changes) > 3 else "")

    def _discard(self, stage: int) -> None:
        if stage <= STAGES.index("keyframes"):
            self.prompt.unlink(missing_ok=True)
            shutil.rmtree(self.keyframes, ignore_errors=True)
            shutil.rmtree(self.unfinished, ignore_errors=True)
        if stage <= STAGES.index("video"):
            shutil.rmtree(self.frames, ignore_errors=True)
            shutil.rmtree(self.unfinished / "clips", ignore_errors=True)
        for name in WRITERS:
            self.film(name).unlink(missing_ok=True)


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _count(folder: Path) -> int:
    return len(list(folder.glob("*.png")))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."
