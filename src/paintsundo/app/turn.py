"""A worker's turn: a run's task is done, and how it ended is written down."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

from paintsundo.app.engine import Engine
from paintsundo.app.faults import known, sentence
from paintsundo.app.run import Run

log = logging.getLogger(__name__)


class Turn(Engine):
    """What the queue's workers call."""

    _do: Callable[[Run, str | None], None]

    def _work(self, run: Run, device: str | None) -> None:
        """A worker's turn: do the task, and write down how it ended."""
        from paintsundo.app.watch import Stopped, TooLong

        try:
            if run.live.cancel.is_set():
                raise Stopped
            self._do(run, device)
        except Stopped:
            if self.queue.closed:
                self._ended(run, "interrupted", "The server was stopped while this run was at work; it can go on.")
            else:
                self._cancelled(run, "Cancelled; what was done is kept, and it can go on.")
        except TooLong:
            minutes = self.limits.film_seconds / 60
            self._ended(run, "cancelled", f"Stopped after {minutes:g} minutes, which is as long as a run may take.")
        except BaseException as error:
            if known(error):
                log.info("run %s failed: %s", run.id, sentence(error))
            else:
                log.exception("run %s failed", run.id)
            self._ended(run, "failed", "", sentence(error))
        else:
            task = run.record.task
            film = task is not None and task.kind == "film"
            self._ended(run, "done" if film else "draft", "" if film else "The keyframes are ready.")

    def _make(self, run: Run, device: str | None) -> None:
        from paintsundo.app.making import Making

        Making(run, self.model_choices, device, self.limits.film_seconds).work()

    def _cancelled(self, run: Run, message: str) -> None:
        with run.lock:
            task = run.record.task
            if task is not None and task.kind == "keyframe":
                # What they should have replaced is back: nothing is left to go on with.
                run.give_up_unmade()
                self._ended(run, "draft", "Cancelled; the keyframes are as they were.")
            elif task is not None and task.kind == "keyframes" and run.back_to_earlier():
                self._ended(run, "draft", "Cancelled; the keyframes are those from before.")
            else:
                self._ended(run, "cancelled", message)

    def _ended(self, run: Run, stage: Any, message: str, error: str | None = None) -> None:
        with run.lock:
            run.record.stage, run.record.message, run.record.error = stage, message, error
            if stage in ("draft", "done"):
                run.record.task = run.record.earlier = None
                run.remove_unused()
            run.live.seconds_left = None
            run.live.previews.clear()
            with contextlib.suppress(OSError):  # the folder may be gone, or the disk full
                run.save()
