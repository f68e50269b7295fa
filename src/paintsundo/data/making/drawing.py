"""Drawing one job: within its time, and whatever is wrong with its input becomes a reason."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from types import FrameType

import cv2

from paintsundo.data import shards
from paintsundo.data.collage import collage
from paintsundo.data.making import outcomes
from paintsundo.data.making.folder import Folder
from paintsundo.data.making.jobs import Job, seed_of
from paintsundo.data.making.outcomes import Outcome
from paintsundo.data.making.settings import BuildSettings
from paintsundo.data.making.tagging import tags_of
from paintsundo.data.making.tally import facts_of
from paintsundo.data.process import DrawingProcess
from paintsundo.data.source import Source, Unusable
from paintsundo.data.staged import StagedProcess
from paintsundo.settings import one_line

GRACE = 10.0  # seconds at most (and no more than were allowed) in which what does not return to Python may still end


class _TooLong(BaseException):
    """Not an Exception: nobody in between may take it for a fault of one file."""


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Raises Unusable in what takes longer. A worker process that does not even return to Python is ended, with status
    `crew.GIVEN_UP`.
    """
    if not seconds or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    with ExitStack() as stack:
        if multiprocessing.parent_process() is not None:
            nowhere = stack.enter_context(open(os.devnull, "w"))
            faulthandler.dump_traceback_later(seconds + min(seconds, GRACE), exit=True, file=nowhere)
            stack.callback(faulthandler.cancel_dump_traceback_later)
        try:
            yield
        except _TooLong:
            raise Unusable(f"took more than {seconds:g} seconds") from None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def keep_small(gigabytes: float | None) -> None:
    """Let this worker process compute with one thread, and have no more than so much memory of its own where the
    system knows such limits. Does nothing to the process that all others belong to.
    """
    if multiprocessing.parent_process() is None:
        return
    cv2.setNumThreads(1)
    if gigabytes is not None:
        import resource

        most = int(gigabytes * 1e9)
        resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))


class Drawer:
    """What a process needs to draw jobs."""

    def __init__(self, settings: BuildSettings) -> None:
        self.settings, self.parts, self.canvas = settings, settings.parts, settings.drawing_canvas
        keep_small(settings.memory_gb)

    def seconds(self, part: int) -> float | None:
        """What one item of a part may take."""
        chosen = self.settings.seconds
        return self.parts[part].source.seconds if chosen is None else chosen

    def draw(self, job: Job) -> DrawingProcess:
        """The process of a job. Raises Unusable."""
        source = self.parts[job.part].source
        if not job.together:
            process = source.draw(job.items[0], self.canvas, job.variant, job.seed)
        elif source.composes:
            process = source.compose(job.items, self.canvas, job.seed)
        else:
            process = self._collage(source, job)
        options = self.settings.behaviour_options
        if options is not None and isinstance(process, StagedProcess):
            from paintsundo.data.behaviours import apply

            process = apply(process, options, seed_of(self.settings.seed, job.name, "behaviours"))
        if self.settings.tagger != "none" and not process.tags:  # of a source that knows its picture only now
            process = replace(process, tags=tuple(tags_of(self.settings.tagger, [process.finished])[0]))
        return process

    def _collage(self, source: Source, job: Job) -> DrawingProcess:
        elements = []
        for number, item in enumerate(job.items):
            with suppress(Unusable):
                elements.append(source.draw(item, self.canvas, 0, seed_of(job.seed, number)))
        if not elements:
            raise Unusable("no usable element")
        return collage(elements, self.canvas.dimensions(1, 1), job.seed)

    def outcome(self, job: Job) -> Outcome:
        """The sample of a job, or why there is none."""
        try:
            with deadline(self.seconds(job.part)):
                drawn = self.draw(job)
                faults = drawn.faults()
                if isinstance(drawn, StagedProcess) and len(drawn.stages) < 2:
                    faults.append("fewer than two stages")
                if faults:
                    return Outcome(reason="; ".join(faults))
                members = shards.encode(drawn, split=job.split, name=job.name)
            return Outcome(members, facts_of(drawn, job.split, self.parts[job.part].source.name))
        except Unusable as error:
            return Outcome(reason=one_line(error) or "unusable")
        except MemoryError:
            return Outcome(reason="needs more memory than it may take")
        except Exception as error:  # a renderer's or decoder's failure on one file must not end the build
            return Outcome(reason=one_line(f"{type(error).__name__}: {error}"))


_DRAWER: list[Drawer] = []


def prepare(settings: BuildSettings) -> None:
    """Make this process ready for `work`."""
    _DRAWER[:] = [Drawer(settings)]


def work(task: tuple[Folder, int, Job]) -> None:
    """Draw a job of a shard and keep its outcome."""
    folder, shard, job = task
    outcomes.write(folder.outcomes(shard), job.number, _DRAWER[0].outcome(job))
