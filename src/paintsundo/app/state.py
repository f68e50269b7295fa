"""What a run is at a moment: what the page shows of it, and what of that lies on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from paintsundo.app.run_settings import RunSettings

Stage = Literal["draft", "queued", "keyframes", "film", "done", "cancelled", "failed", "interrupted"]
BUSY: tuple[Stage, ...] = ("queued", "keyframes", "film")
Origin = Literal["picture", "generated", "upload", "blank"]


@dataclass(frozen=True)
class ModelChoice:
    """A pair of models that can be chosen.

    Attributes:
        name: for `RunSettings.model`.
        label: for people.
        available: whether a run with it can begin at once.
        message: where it is not, why not and what helps; else what it is, or "".
    """

    name: str
    label: str
    available: bool
    message: str = ""


@dataclass(frozen=True)
class KeyframeState:
    """One keyframe as it stands.

    Attributes:
        id: stays the same while the keyframe is moved; another after it was made anew.
        operation_step: 0 (finished) … 999 (first stroke); None at both ends; an upload keeps that of its place.
        seed: of its noise; None where none was drawn.
        path: its PNG file, lossless; None while it is being made.
        preview_path: a JPEG of what it is becoming, newest; None before the first and after the last.
        done: whether `path` is there.
    """

    id: str
    operation_step: int | None
    seed: int | None
    origin: Origin
    path: Path | None = None
    preview_path: Path | None = None
    done: bool = False


@dataclass(frozen=True)
class Candidate:
    """Keyframes of one seed, beside others to choose from; `keyframes` as in `Status`."""

    seed: int
    keyframes: list[KeyframeState]
    done: bool


@dataclass(frozen=True)
class Status:
    """One run at one moment.

    Attributes:
        place_in_queue: 0 is the next one; None where it does not wait.
        progress: 0…1 of the work under way, or of the last.
        seconds_left: estimate; None where none can be made.
        message: one sentence for people.
        error: one sentence where the run failed.
        notices: sentences about what is cut off or not read.
        keyframes: finished … blank, both ends included; empty before the first were made.
        chosen: the seed whose candidate was taken; None before.
        pairs_done: for each pair of neighbouring keyframes, finished … blank, whether its frames are there.
        frames: of the film, those that can be looked at now; `Studio.frame` gives them.
        frames_total: of the whole film; 0 where that is not known yet.
        edited: whether the keyframes are no longer as the command line would make them with these settings.
        settings_dirty: whether the settings are other ones than the keyframes were made with.
        size: (width, height) of the keyframes, as it is or would be.
        film_size: (width, height) of the film's frames, as it would be with these settings.
        revision: grows with every change; equal revisions, equal status but for time.
    """

    run_id: str
    stage: Stage
    settings: RunSettings
    place_in_queue: int | None = None
    progress: float = 0.0
    seconds_left: float | None = None
    message: str = ""
    error: str | None = None
    notices: list[str] = field(default_factory=list)
    title: str = ""
    prompt: str | None = None
    keyframes: list[KeyframeState] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    chosen: int | None = None
    pairs_done: list[bool] = field(default_factory=list)
    frames: int = 0
    frames_total: int = 0
    has_film: bool = False
    kept: bool = False
    edited: bool = False
    settings_dirty: bool = False
    size: tuple[int, int] | None = None
    film_size: tuple[int, int] | None = None
    revision: int = 0

    @property
    def busy(self) -> bool:
        """Whether the run waits or works."""
        return self.stage in BUSY


@dataclass(frozen=True)
class RunSummary:
    """One line of a visitor's list of runs, newest first.

    Attributes:
        created: seconds since 1970.
        thumbnail: a small JPEG of the picture.
    """

    run_id: str
    title: str
    stage: Stage
    created: float
    kept: bool
    keyframes: int
    frames: int
    thumbnail: Path
    prompt: str | None
    settings: RunSettings
