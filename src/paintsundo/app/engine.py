"""What all parts of the engine share: its stores, checks, and how a run is changed or put into the queue."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator

from PIL import Image

from paintsundo.app.faults import NotThere
from paintsundo.app.models import Models
from paintsundo.app.options import AppOptions, LimitOptions
from paintsundo.app.run import Run
from paintsundo.app.run_settings import RunSettings
from paintsundo.app.store import RunStore
from paintsundo.app.uploads import Upload, read_upload
from paintsundo.app.worker import Queue
from paintsundo.errors import UserError

Picture = bytes | Image.Image


class Engine:
    """The ground that the parts of `Studio` stand on.

    Attributes:
        options, limits: of the page.
        store: all runs.
        model_choices: what a run can be made with.
        queue: runs that wait for a worker.
    """

    options: AppOptions
    limits: LimitOptions
    store: RunStore
    model_choices: Models
    queue: Queue

    def resolved(self, settings: RunSettings, width: int, height: int) -> RunSettings:
        """Settings for a picture of this size, in pixels, where its shape decides the sizes."""
        return self.model_choices.resolved(settings, (width, height))

    def check(self, settings: RunSettings, picture: tuple[int, int] = (512, 512)) -> None:
        """Raise UserError for settings that `infer.py` or the limits would refuse."""
        settings.check(self.limits)
        resolved = self.resolved(settings, *picture)
        resolved.check(self.limits)
        options = resolved.options(self.model_choices.base(settings.model, settings.lora))
        options.input = options.output = "."
        options.check()
        self.model_choices.check(options)

    def _read(self, upload: Picture) -> Upload:
        return read_upload(upload, self.limits, self.store.uploads)

    @contextlib.contextmanager
    def _editing(self, run: Run, single: bool = False) -> Iterator[None]:
        """Change a run that is not at work; what the change makes invalid is no longer told of.

        single: keyframes may be added to those being made one by one.
        """
        with run.lock:
            making_single = run.record.task is not None and run.record.task.kind == "keyframe"
            if run.live.deleted:
                raise NotThere("this run does not exist, or not any more")
            if run.busy and not (single and making_single and not run.live.cancel.is_set()):
                raise UserError("this run is at work: wait for it, or cancel it first")
            if not run.busy:
                run.record.error = None
            kept = None if run.busy else json.dumps(dataclasses.asdict(run.record))
            film = run.film_key()
            try:
                yield
            except BaseException:
                if kept is not None:
                    run.restore(kept)  # all or nothing
                raise
            run.record.used = time.time()
            if run.film_key() != film:
                run.remove_previews()  # of a film that will not be
            if not run.busy and run.record.stage != "draft":
                run.record.stage, run.record.message, run.record.task = "draft", "", None
            run.save()
            if not run.busy:
                run.remove_unused()

    def _submit(self, run: Run) -> None:
        before = run.record.stage
        run.live.cancel.clear()
        run.live.progress, run.live.seconds_left = 0.0, None
        run.record.stage, run.record.error, run.record.message = "queued", None, "Waiting for its turn …"
        run.record.used = time.time()
        try:
            self.queue.submit(run)
        except UserError:
            run.record.stage, run.record.message = before, ""
            raise
        run.save()
