"""Runs begun, set, and their keyframes made, chosen and changed one by one."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from paintsundo.app.choosing import Choosing
from paintsundo.app.engine import Picture
from paintsundo.app.record import Keyframe, Task
from paintsundo.app.run import Run
from paintsundo.app.run_settings import RunSettings
from paintsundo.errors import UserError
from paintsundo.pipelines.options import LAST_OPERATION_STEP


class Editing(Choosing):
    """Everything that changes a run, its film apart."""

    def create(
        self, user: str, picture: Picture, settings: RunSettings | None = None, title: str = "", original: bytes = b""
    ) -> str:
        """A new draft; returns its id. `original`: the uploaded file, where `picture` was decoded from it."""
        settings = settings or self.defaults()
        upload = self._read(original or picture)
        self.check(settings, upload.image.size)
        return self.store.create(user, upload, settings, title).id

    def update(self, user: str, run_id: str, settings: RunSettings) -> None:
        """Other settings, for what is made from now on."""
        run = self.store.open(user, run_id)
        self.check(settings, (run.record.picture.width, run.record.picture.height))
        with self._editing(run):
            run.record.settings = copy.deepcopy(settings)

    def change(self, user: str, run_id: str, given: Mapping[str, Any]) -> None:
        """Some other settings; those not given stay, also where they are being changed at the same time."""
        run = self.store.open(user, run_id)
        with self._editing(run):
            settings = RunSettings.from_mapping(given, run.record.settings)
            self.check(settings, (run.record.picture.width, run.record.picture.height))
            run.record.settings = settings

    def rename(self, user: str, run_id: str, title: str) -> None:
        """Another title."""
        run = self.store.open(user, run_id)
        with run.lock:
            run.record.title = " ".join(title.split())[:200] or run.record.picture.name
            run.save()

    def start_keyframes(self, user: str, run_id: str, seeds: Sequence[int] | None = None) -> None:
        """Make the keyframes, or with several seeds candidates to choose from; earlier ones are replaced."""
        run = self.store.open(user, run_id)
        with self._editing(run):
            self._begin_keyframes(run, seeds)
            self._submit(run)

    def _begin_keyframes(self, run: Run, seeds: Sequence[int] | None) -> None:
        picture = run.record.picture
        settings = self.resolved(run.record.settings, picture.width, picture.height)
        wanted = list(dict.fromkeys(seeds or [settings.seed]))
        if len(wanted) > self.limits.seeds:
            raise UserError(f"{len(wanted)} seeds are too many side by side: at most {self.limits.seeds}")
        for seed in wanted:
            self.check(dataclasses.replace(settings, seed=seed), (picture.width, picture.height))
        made_with = dataclasses.replace(settings, seed=wanted[0])
        if len(wanted) == 1:
            run.record.settings = dataclasses.replace(run.record.settings, seed=wanted[0])
        self.store.check_space(run.user)
        run.begin_keyframes(made_with, wanted)
        run.record.prompt = settings.prompt
        run.remove_previews()

    def choose(self, user: str, run_id: str, candidate: int) -> None:
        """Take the keyframes of one candidate, numbered from 0, as the run's; the others stay to be chosen."""
        run = self.store.open(user, run_id)
        with self._editing(run):
            run.choose(candidate)

    def regenerate(self, user: str, run_id: str, index: int, seed: int) -> None:
        """Make one keyframe anew with another seed."""
        run = self.store.open(user, run_id)
        with self._editing(run, single=True):
            old = run.inner(index)
            if old.operation_step is None:
                raise UserError("this keyframe has no operation step to be made at: add one at the step you want")
            self._check_single(run, old.operation_step, seed)
            before = old if old.done else old.before
            run.record.keyframes[index] = Keyframe.new("generated", old.operation_step, seed, before)
            self._start_single(run)

    def add(self, user: str, run_id: str, operation_step: int, seed: int | None = None) -> None:
        """Make one more keyframe, in the place that its operation step has among the others."""
        run = self.store.open(user, run_id)
        with self._editing(run, single=True):
            keyframes = run.record.keyframes
            if len(keyframes) < 2 or run.record.made_with is None:
                raise UserError("there are no keyframes yet: make them first")
            if len(keyframes) - 2 >= self.limits.keyframes_count:
                raise UserError(f"there are {len(keyframes) - 2} keyframes, which is as many as there may be")
            seed = run.record.made_with.seed if seed is None else seed
            self._check_single(run, operation_step, seed)
            later = [
                index
                for index, keyframe in enumerate(keyframes[1:-1], start=1)
                if keyframe.operation_step is not None and keyframe.operation_step > operation_step
            ]
            place = min(later, default=len(keyframes) - 1)
            keyframes.insert(place, Keyframe.new("generated", operation_step, seed))
            self._start_single(run)

    def _check_single(self, run: Run, operation_step: int, seed: int) -> None:
        if not 0 <= operation_step <= LAST_OPERATION_STEP:
            raise UserError(f"operation step {operation_step} does not exist: they go from 0 to {LAST_OPERATION_STEP}")
        made_with = run.record.made_with
        if made_with is not None:
            self.check(dataclasses.replace(made_with, seed=seed))
        self.store.check_space(run.user)

    def _start_single(self, run: Run) -> None:
        if not run.busy:
            run.record.task = Task("keyframe")
            self._submit(run)

    def replace(self, user: str, run_id: str, index: int, picture: Picture) -> None:
        """Put an uploaded picture, fitted to the keyframes' size, in the place of a keyframe."""
        from paintsundo.app.cropping import fitted

        upload = self._read(picture)
        run = self.store.open(user, run_id)
        with self._editing(run):
            old = run.keyframe(index)
            made_with = run.record.made_with
            if made_with is None:
                raise UserError("there are no keyframes yet: make them first")
            self.store.check_space(user)
            new = Keyframe.new("upload", old.operation_step)
            new.source = hashlib.sha256(upload.data).hexdigest()
            image = fitted(upload.image, int(made_with.width or 1), int(made_with.height or 1), made_with.fit)
            image.save(run.file(new))
            (run.folder / "replacements").mkdir(exist_ok=True)
            (run.folder / "replacements" / new.source).write_bytes(upload.data)
            new.done = True
            run.record.keyframes[index] = new

    def remove(self, user: str, run_id: str, index: int) -> None:
        """Take a keyframe out; the finished picture and the blank canvas stay."""
        run = self.store.open(user, run_id)
        with self._editing(run):
            run.inner(index)
            del run.record.keyframes[index]

    def move(self, user: str, run_id: str, index: int, to: int) -> None:
        """Put keyframe `index` in place `to`, counted after it was taken out."""
        run = self.store.open(user, run_id)
        with self._editing(run):
            keyframe = run.inner(index)
            run.inner(to)
            run.record.keyframes.remove(keyframe)
            run.record.keyframes.insert(to, keyframe)
