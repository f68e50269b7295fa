"""What making keyframes and making films have in common: a run's models, its state, and the end of its time."""

from __future__ import annotations

import time
from typing import Any

from paintsundo.app.loaded_models import SharedModelSet
from paintsundo.app.models import Models
from paintsundo.app.run import Run
from paintsundo.app.run_settings import RunSettings
from paintsundo.app.watch import Clock, Stopped, TooLong
from paintsundo.pipelines.options import InferOptions


class MakingParts:
    """One run on one device, for so many seconds."""

    def __init__(self, run: Run, models: Models, device: str | None, seconds: float) -> None:
        self.run = run
        self.models = models
        self.device = device
        self._until = time.monotonic() + seconds

    def _options(self, settings: RunSettings) -> InferOptions:
        options = settings.options(self.models.base(settings.model, settings.lora))
        if self.device is not None:
            options.runtime.device = self.device
        return options

    def _set(self, options: InferOptions) -> SharedModelSet:
        return self.models.loaded.model_set(options)

    def _stage(self, stage: Any, message: str) -> None:
        with self.run.lock:
            self.run.record.stage = stage
            self.run.record.message = message
            self.run.save()

    def _progress(self, clock: Clock) -> None:
        with self.run.lock:
            self.run.live.progress = clock.progress
            self.run.live.seconds_left = clock.seconds_left
            self.run.touch()

    def _check(self) -> None:
        if self.run.live.cancel.is_set():
            raise Stopped
        if time.monotonic() > self._until:
            raise TooLong
