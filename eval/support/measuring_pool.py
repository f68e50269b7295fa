"""Other processes that measure while this one makes the next films."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from types import TracebackType
from typing import Any

from support.quality_figures import begin_worker

AHEAD = 2
"""Calls that may wait for each process: films are large."""


class MeasuringPool:
    """Runs calls in so many processes, or with none of them at once in this one.

    They are started anew, not forked, for this one may hold a GPU. What a call raises is raised by a later `submit` or
    at the end.
    """

    def __init__(self, workers: int) -> None:
        self.workers, self.waiting = workers, set[Future[Any]]()
        self.pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> MeasuringPool:
        if self.workers:
            self.pool = ProcessPoolExecutor(self.workers, get_context("spawn"), begin_worker)
        return self

    def submit(self, call: Callable[..., None], *arguments: Any) -> None:
        """Have `call(*arguments)` run; waits where too many do already."""
        if self.pool is None:
            call(*arguments)
            return
        while len(self.waiting) >= AHEAD * self.workers:
            self._collect(wait(self.waiting, return_when=FIRST_COMPLETED).done)
        self.waiting.add(self.pool.submit(call, *arguments))

    def _collect(self, done: set[Future[Any]]) -> None:
        self.waiting -= done
        for future in done:
            future.result()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.pool is None:
            return
        try:
            if kind is None:
                self._collect(wait(self.waiting).done)
        finally:
            self.pool.shutdown(cancel_futures=True)
