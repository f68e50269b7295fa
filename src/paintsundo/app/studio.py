"""The page's engine: everything the interface and the REST service can ask for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from paintsundo.app.models import Models
from paintsundo.app.options import AppOptions
from paintsundo.app.record import Task
from paintsundo.app.repeating import Repeating
from paintsundo.app.results import ExportKind, Results
from paintsundo.app.run import Run
from paintsundo.app.run_settings import RunSettings
from paintsundo.app.state import Candidate, KeyframeState, ModelChoice, RunSummary, Status
from paintsundo.app.store import RunStore
from paintsundo.app.turn import Turn
from paintsundo.app.worker import Queue
from paintsundo.errors import UserError

__all__ = ["Candidate", "ExportKind", "KeyframeState", "ModelChoice", "RunSettings", "RunSummary", "Status", "Studio"]

log = logging.getLogger(__name__)

_CLEANING = 3600.0  # seconds between two cleanings


class Studio(Repeating, Results, Turn):
    """All runs of all visitors; every method takes the visitor (`request.state.user`) and sees only that one's.

    Methods can be called from any thread and return at once; work is done by workers of the queue. They raise
    `UserError`, whose text is one sentence for the visitor, for whatever cannot be done.

    Args:
        options: of the page.
        work: does a run's task on a device; by default `making.Making`.
    """

    def __init__(self, options: AppOptions, work: Callable[[Run, str | None], None] | None = None) -> None:
        self.options = options
        self.limits = options.limits
        self.store = RunStore(options.runs, options.limits)
        self.model_choices = Models(options)
        self._do = work or self._make
        self.queue = Queue(self._work, options.limits, options.server.devices or [None])
        self._closing = threading.Event()
        self._cleaner = threading.Thread(target=self._clean_now_and_then, name="cleaner", daemon=True)
        self._cleaner.start()

    def close(self) -> None:
        """Stop the workers, what is done kept: running work becomes "interrupted"."""
        if self._closing.is_set():
            return
        self._closing.set()
        for run in self.queue.close():
            with run.lock:
                run.record.stage = "interrupted"
                run.record.message = "The server was stopped while this run waited; it can go on."
                run.save()
        self._cleaner.join(10)
        self.store.close()

    def start_film(self, user: str, run_id: str) -> None:
        """Make the film between the keyframes; makes these first where there are none."""
        run = self.store.open(user, run_id)
        with self._editing(run):
            record = run.record
            if run.has_film:
                raise UserError("the film is finished already: change something to make another one")
            picture = record.picture
            self.check(record.settings, (picture.width, picture.height))
            self.store.check_space(user)
            if record.candidates and not record.keyframes:
                raise UserError("choose one of the candidates first")
            if not record.keyframes:
                self._begin_keyframes(run, None)
            record.task = Task("film")
            self._submit(run)

    def cancel(self, user: str, run_id: str) -> None:
        """Stop waiting or working; what is done stays. Asking twice does no harm."""
        run = self.store.open(user, run_id)
        if self.queue.withdraw(run):
            self._cancelled(run, "Cancelled while it waited; it can go on.")
        elif run.busy:
            with run.lock:
                run.live.cancel.set()
                run.record.message = "Stopping …"
                run.touch()

    def resume(self, user: str, run_id: str) -> None:
        """Go on with what was cancelled, interrupted or failed."""
        run = self.store.open(user, run_id)
        with run.lock:
            if run.busy:
                raise UserError("this run is at work already")
            if run.record.stage not in ("cancelled", "interrupted", "failed") or run.record.task is None:
                raise UserError("there is nothing to go on with: start the keyframes or the film")
            self._submit(run)

    def delete(self, user: str, run_id: str) -> None:
        """Remove a run and its files for good; a working one is stopped first."""
        run = self.store.open(user, run_id)
        self.queue.withdraw(run)
        run.live.cancel.set()
        if not self.queue.wait_for(run, 60):
            raise UserError("this run is being stopped: delete it in a moment")
        self.store.remove(run)

    def keep(self, user: str, run_id: str, kept: bool = True) -> None:
        """Mark a run so that it is never cleaned away (or no longer)."""
        run = self.store.open(user, run_id)
        with run.lock:
            run.record.kept = bool(kept)
            run.save()

    def _clean_now_and_then(self) -> None:
        while not self._closing.is_set():
            try:
                self.store.clean()
            except OSError:
                log.exception("old runs could not be cleaned away")
            self._closing.wait(_CLEANING)
