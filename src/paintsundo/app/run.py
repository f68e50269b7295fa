"""One run: its folder, its record, and what is known of it while it works.

The folder is laid out as `infer.py` lays it out (`prompt.txt keyframes/ frames/ film.mp4 run.json`); beside these

    page.json         the record (`record.py`)
    original.<kind>   the upload, byte for byte
    picture.png       the same for a browser; thumbnail.jpg
    states/<id>.png   every keyframe there is, lossless: the run's and its candidates'
    own/              edited keyframes in their order, as `keyframes.folder=` takes them
    previews/         of what is being made
    exports/          downloads made so far
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from paintsundo.app.faults import as_sentence
from paintsundo.app.keyframe_set import KeyframeSet
from paintsundo.app.record import Keyframe, Record
from paintsundo.app.run_settings import RunSettings
from paintsundo.app.state import BUSY, Candidate, KeyframeState, RunSummary, Status

_FRAME_FILE = re.compile(r"(\d+)\.(?:png|jpg)")


@dataclass
class Live:
    """What is known of a run while it works; nothing of it outlives the server."""

    progress: float = 0.0
    seconds_left: float | None = None
    revision: int = field(default_factory=lambda: int(time.time() * 1000))  # grows over restarts too
    previews: dict[str, Path] = field(default_factory=dict)
    cancel: threading.Event = field(default_factory=threading.Event)
    deleted: bool = False


class Run(KeyframeSet):
    """A run of one visitor.

    Every change is made while `lock` is held, and ends with `save` or `touch`.
    """

    def __init__(self, folder: Path, record: Record) -> None:
        self.folder = folder
        self.record = record
        self.live = Live()
        self.lock = threading.RLock()
        self.exporting = threading.Lock()

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def user(self) -> str:
        return self.folder.parent.name

    @property
    def original(self) -> Path:
        return self.folder / self.record.picture.file

    @property
    def picture(self) -> Path:
        return self.folder / "picture.png"

    @property
    def thumbnail(self) -> Path:
        return self.folder / "thumbnail.jpg"

    @property
    def frames(self) -> Path:
        return self.folder / "frames"

    @property
    def previews(self) -> Path:
        return self.folder / "previews"

    @property
    def preview_frames(self) -> Path:
        return self.previews / "frames"

    @property
    def busy(self) -> bool:
        return self.record.stage in BUSY

    def file(self, keyframe: Keyframe) -> Path:
        """Where a keyframe's picture lies."""
        return self.folder / "states" / f"{keyframe.id}.png"

    def save(self) -> None:
        """Write the record and tell those who look that something changed."""
        with self.lock:
            if not self.live.deleted:
                self.record.write(self.folder)
            self.touch()

    def restore(self, content: str) -> None:
        """Take back changes of the record: `content` is its JSON."""
        self.record = Record.from_mapping(json.loads(content))

    def touch(self) -> None:
        """Tell those who look that something changed."""
        self.live.revision += 1

    # What it is made with

    @property
    def edited(self) -> bool:
        """Whether the keyframes are no longer those that the command line would make with `made_with`."""
        record = self.record
        made = record.made_with
        if made is None or [keyframe.id for keyframe in record.keyframes] != record.original:
            return True
        return any(getattr(made, name) != getattr(record.settings, name) for name in ("model", "lora", "lora_scale"))

    @property
    def dirty(self) -> bool:
        """Whether the settings are other ones than the keyframes were made with."""
        made, settings = self.record.made_with, self.record.settings
        if made is None:
            return False
        ours, theirs = settings.keyframe_part(), made.keyframe_part()
        return any(ours[name] not in (None, theirs[name]) for name in ours)

    def film_settings(self, resolved: RunSettings) -> RunSettings:
        """What the film is made with: the keyframes' own settings where they are as made, and the film's newest."""
        made = self.record.made_with
        return resolved if made is None or self.edited else made.with_video_of(resolved)

    def film_key(self) -> str:
        """Changes with all that decides the film."""
        ids = [keyframe.id for keyframe in self.record.keyframes]
        told = json.dumps([ids, self.record.settings.video_part()], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def has_film(self) -> bool:
        """Whether the film on disk is of the keyframes and settings as they are."""
        return self.record.film_of is not None and self.record.film_of == self.film_key()

    # What is seen of it

    def frame_files(self) -> dict[int, Path]:
        """Frames that can be looked at now, by number: the film's, or previews while it is made."""
        folder = self.frames if self.has_film else self.preview_frames
        try:
            files = list(folder.iterdir())
        except FileNotFoundError:  # not made yet, or deleted at this moment
            return {}
        found = ((_FRAME_FILE.fullmatch(file.name), file) for file in files)
        return dict(sorted((int(match[1]), file) for match, file in found if match))

    def status(self, place: int | None = None) -> Status:
        """The run at this moment; `place`: how many are before it in the queue."""
        with self.lock:
            record, live = self.record, self.live
            stage = record.stage
            if stage in ("draft", "done"):
                stage = "done" if self.has_film else "draft"
            frames = len(self.frame_files())
            pairs = max(0, len(record.keyframes) - 1)
            done = [True] * pairs if self.has_film else record.pairs_done[:pairs]
            return Status(
                run_id=self.id,
                stage=stage,
                settings=record.settings,
                place_in_queue=place,
                progress=1.0 if stage == "done" else live.progress,
                seconds_left=live.seconds_left if stage in ("keyframes", "film") else None,
                message=record.message,
                error=record.error,
                notices=[as_sentence(notice) for notice in record.notices],
                title=record.title,
                prompt=record.prompt,
                keyframes=[self.state(keyframe) for keyframe in record.keyframes],
                candidates=[
                    Candidate(attempt.seed, [self.state(keyframe) for keyframe in attempt.keyframes], attempt.done)
                    for attempt in record.candidates
                ],
                chosen=record.chosen,
                pairs_done=done + [False] * (pairs - len(done)),
                frames=frames,
                frames_total=frames if self.has_film else record.frames_total,
                has_film=self.has_film,
                kept=record.kept,
                edited=bool(record.keyframes) and self.edited,
                settings_dirty=self.dirty,
                revision=live.revision,
            )

    def state(self, keyframe: Keyframe) -> KeyframeState:
        """A keyframe as it stands."""
        return KeyframeState(
            id=keyframe.id,
            operation_step=keyframe.operation_step,
            seed=keyframe.seed,
            origin=keyframe.origin,
            path=self.file(keyframe) if keyframe.done else None,
            preview_path=None if keyframe.done else self.live.previews.get(keyframe.id),
            done=keyframe.done,
        )

    def summary(self) -> RunSummary:
        """One line of a list of runs."""
        status = self.status()
        return RunSummary(
            run_id=self.id,
            title=self.record.title,
            stage=status.stage,
            created=self.record.created,
            kept=self.record.kept,
            keyframes=len(self.record.keyframes),
            frames=status.frames,
            thumbnail=self.thumbnail,
            prompt=self.record.prompt,
            settings=self.record.settings,
        )

    def frame_steps(self, count: int) -> list[float]:
        """The operation step, 999 … 0, that each of `count` frames, blank … finished, stands at.

        Linear between keyframes; uploads without a step are put evenly between their neighbours.
        """
        keyframes = self.record.keyframes
        last = len(keyframes) - 1
        if last < 1 or count < 1:
            return []
        known = {0: 0.0, last: 999.0}
        for index, keyframe in enumerate(keyframes[1:-1], start=1):
            if keyframe.operation_step is not None:
                known[index] = float(keyframe.operation_step)
        steps = []
        for frame in range(count):
            place = last * (count - 1 - frame) / count  # the last frame is the finished keyframe; the blank is left out
            left = max(index for index in known if index <= place)
            right = min((index for index in known if index > place), default=left)
            share = 0.0 if right == left else (place - left) / (right - left)
            steps.append(round(known[left] + share * (known[right] - known[left]), 2))
        return steps

    def remove_previews(self) -> None:
        """Remove what was shown while it was made."""
        self.live.previews.clear()
        self.record.pairs_done, self.record.frames_total = [], 0
        shutil.rmtree(self.previews, ignore_errors=True)
