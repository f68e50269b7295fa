"""Processes that work side by side and may die: what killed one is found out, and the others' work goes on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from typing import Any, Generic, TypeVar

from paintsundo.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")
_AHEAD = 2  # tasks handed out, for each process
READY = "ready"  # said by a process that can begin
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
GIVEN_UP = 1  # exit status of a process that took too long: what faulthandler ends it with


@dataclass(frozen=True)
class Death:
    """A task that ended its process, and again when it was tried alone."""

    status: int

    @property
    def reason(self) -> str:
        """For the list of rejected inputs."""
        if self.status == GIVEN_UP:
            return "took too long and could not be stopped"
        if self.status >= 0:
            return f"ended its process with status {self.status}"
        try:
            name = signal.Signals(-self.status).name
        except ValueError:
            name = f"signal {-self.status}"
        more = ": perhaps for want of memory" if name == "SIGKILL" else ""
        return f"ended its process ({name}){more}"


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes begun meanwhile compute with one thread each: libraries look at this when they are loaded."""
    absent = [name for name in THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(absent, "1"))
    try:
        yield
    finally:
        for name in absent:
            os.environ.pop(name, None)


def _begin(prepare: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        assert parent is not None
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    prepare(*arguments)


def _alone(
    pipe: Connection,
    function: Callable[[Any], Any],
    task: Any,
    prepare: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    try:
        _begin(prepare, arguments)
        pipe.send(READY)
        pipe.send((function(task), None))
    except Exception as error:
        pipe.send((None, error))


class Crew(Generic[Task, Result]):
    """Applies a function to tasks in `workers` processes; 0: in this one, which nothing then protects.

    Args:
        function: of one task, importable by name.
        prepare: called with `arguments` once in each process.
    """

    def __init__(
        self,
        workers: int,
        function: Callable[[Task], Result],
        prepare: Callable[..., None],
        arguments: tuple[Any, ...] = (),
    ) -> None:
        self.workers, self.function, self.prepare, self.arguments = workers, function, prepare, arguments
        self._context = multiprocessing.get_context("spawn")

    def run(self, next_task: Callable[[], Task | None]) -> Iterator[tuple[Task, Result | Death]]:
        """(task, result) of each, as they are done.

        `next_task` is asked whenever there is room, and may have more after it had none: the end is when it has none
        and none is under way.
        """
        if self.workers == 0:
            self.prepare(*self.arguments)
            while (task := next_task()) is not None:
                yield task, self.function(task)
            return
        with _one_thread_each():
            while (suspects := (yield from self._together(next_task))) is not None:
                yield from self._apart(suspects)

    def _together(
        self, next_task: Callable[[], Task | None]
    ) -> Generator[tuple[Task, Result | Death], None, list[Task] | None]:
        """All tasks in one pool; gives those that were under way when it broke, None at the end."""
        pool = ProcessPoolExecutor(self.workers, self._context, _begin, (self.prepare, self.arguments))
        running: dict[Future[Result], Task] = {}
        try:
            while True:
                while len(running) < _AHEAD * self.workers and (task := next_task()) is not None:
                    try:
                        running[pool.submit(self.function, task)] = task
                    except BrokenProcessPool:
                        return [task, *running.values()]
                if not running:
                    return None
                broken = []
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    task = running.pop(future)
                    try:
                        result = future.result()
                    except BrokenProcessPool:
                        broken.append(task)
                        continue
                    yield task, result
                if broken:
                    return [*broken, *running.values()]
        finally:
            if running:  # nobody waits for what is under way
                for process in list((pool._processes or {}).values()):
                    process.kill()
            pool.shutdown(wait=not running, cancel_futures=True)

    def _apart(self, suspects: list[Task]) -> Iterator[tuple[Task, Result | Death]]:
        """Each in a process of its own; those that end it, once more with nobody beside them to take the memory."""
        with ThreadPoolExecutor(self.workers) as threads:
            results = list(threads.map(self._try_alone, suspects))
        for task, result in zip(suspects, results, strict=True):
            if isinstance(result, Death) and result.status != GIVEN_UP and len(suspects) > 1:
                yield task, self._try_alone(task)
            else:
                yield task, result

    def _try_alone(self, task: Task) -> Result | Death:
        ours, theirs = self._context.Pipe(duplex=False)
        arguments = (theirs, self.function, task, self.prepare, self.arguments)
        process = self._context.Process(target=_alone, args=arguments, daemon=True)
        process.start()
        theirs.close()
        begun = False
        try:
            while (answer := ours.recv()) == READY:
                begun = True
        except EOFError:
            process.join()
            if not begun:
                raise UserError(
                    f"processes to draw with cannot be started (exit status {process.exitcode}): a script that builds "
                    'needs `if __name__ == "__main__":` around it, or workers=0'
                ) from None
            return Death(process.exitcode or 0)
        finally:
            ours.close()
        process.join()
        result, error = answer
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]
