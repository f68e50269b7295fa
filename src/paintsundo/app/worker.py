"""The queue: one worker a device, visitors served in turn, bounded for each and for all."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import zip_longest

from paintsundo.app.faults import Crowded
from paintsundo.app.options import LimitOptions
from paintsundo.app.run import Run
from paintsundo.errors import UserError

log = logging.getLogger(__name__)

Work = Callable[[Run, str | None], None]


class Queue:
    """Runs that wait for a worker.

    Each visitor has a line of their own, and the lines are served in turn: who asks for much waits behind who asks
    for little.

    Args:
        work: does what a run's task says, on a device.
        devices: one worker is started for each; None is the server's own choice.
    """

    def __init__(self, work: Work, limits: LimitOptions, devices: Sequence[str | None] = (None,)) -> None:
        self._work = work
        self._limits = limits
        self._lines: dict[str, deque[Run]] = {}  # in the order of their next turns
        self._running: dict[str, Run] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._workers = [
            threading.Thread(target=self._serve, args=(device,), name=f"worker-{device or 'auto'}", daemon=True)
            for device in devices
        ]
        for worker in self._workers:
            worker.start()

    def submit(self, run: Run) -> None:
        """Put a run into its visitor's line.

        Raises:
            UserError: it is there already, or the line or the whole queue is full.
        """
        with self._changed:
            if self._closed:
                raise Crowded("the server is about to stop: try again in a moment")
            if run.id in self._running or any(run in line for line in self._lines.values()):
                raise UserError("this run is at work already")
            own = self._lines.get(run.user, ())
            if len(own) >= self._limits.queue_per_user:
                raise Crowded(f"{len(own)} of your runs wait already, which is as many as may: wait for one of them")
            if sum(map(len, self._lines.values())) >= self._limits.queue_total:
                raise Crowded("too many people are waiting just now: try again in a few minutes")
            self._lines.setdefault(run.user, deque()).append(run)
            self._changed.notify_all()

    def withdraw(self, run: Run) -> bool:
        """Take a run that still waits out of its line; False where it does not wait."""
        with self._changed:
            line = self._lines.get(run.user)
            if line is None or run not in line:
                return False
            line.remove(run)
            if not line:
                del self._lines[run.user]
            return True

    def place(self, run: Run) -> int | None:
        """How many are served before it; None where it does not wait."""
        with self._changed:
            order = [waiting for turn in zip_longest(*self._lines.values()) for waiting in turn if waiting is not None]
        return order.index(run) if run in order else None

    def wait_for(self, run: Run, timeout: float | None = None) -> bool:
        """Wait until a run is neither waiting nor at work; whether it is so."""
        with self._changed:
            return self._changed.wait_for(
                lambda: run.id not in self._running and not any(run in line for line in self._lines.values()), timeout
            )

    def close(self, timeout: float = 30.0) -> list[Run]:
        """Take no more, stop what is at work, and return what waited."""
        with self._changed:
            self._closed = True
            waiting = [run for line in self._lines.values() for run in line]
            self._lines.clear()
            for run in self._running.values():
                run.live.cancel.set()
            self._changed.notify_all()
        for worker in self._workers:
            worker.join(timeout)
        return waiting

    @property
    def closed(self) -> bool:
        return self._closed

    def _next(self) -> Run | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._lines))
            if self._closed:
                return None
            user = next(iter(self._lines))
            line = self._lines.pop(user)
            run = line.popleft()
            if line:
                self._lines[user] = line  # behind all others
            self._running[run.id] = run
            return run

    def _serve(self, device: str | None) -> None:
        while (run := self._next()) is not None:
            try:
                self._work(run, device)
            except BaseException:  # whatever one run does, the next is served
                log.exception("run %s ended badly", run.id)
            finally:
                with self._changed:
                    self._running.pop(run.id, None)
                    self._changed.notify_all()
