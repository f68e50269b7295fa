"""The queue: fair, bounded, and unmoved by whatever one run does."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from studios import eventually

from paintsundo.app.faults import Crowded
from paintsundo.app.options import LimitOptions
from paintsundo.app.run import Run
from paintsundo.app.worker import Queue
from paintsundo.errors import UserError


class FakeRun(SimpleNamespace):
    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__


def run(user: str, number: int) -> Run:
    return cast(Run, FakeRun(id=f"{user}{number}", user=user, live=SimpleNamespace(cancel=threading.Event())))


class Recorder:
    def __init__(self) -> None:
        self.order: list[str] = []
        self.devices: list[str | None] = []
        self.may = threading.Semaphore(0)

    def __call__(self, run: Run, device: str | None) -> None:
        self.order.append(run.id)
        self.devices.append(device)
        while not self.may.acquire(timeout=0.01):
            if run.live.cancel.is_set():
                return


@pytest.fixture
def work() -> Recorder:
    return Recorder()


def test_visitors_are_served_in_turn(work: Recorder) -> None:
    queue = Queue(work, LimitOptions(queue_per_user=10))
    queue.submit(run("x", 0))
    eventually(lambda: work.order)
    greedy = [run("a", number) for number in range(5)]
    modest = [run("b", 0), run("c", 0)]
    for each in (*greedy, *modest):
        queue.submit(each)
    assert [queue.place(each) for each in (*greedy, *modest)] == [0, 3, 4, 5, 6, 1, 2]
    work.may.release(8)
    eventually(lambda: len(work.order) == 8)
    assert work.order == ["x0", "a0", "b0", "c0", "a1", "a2", "a3", "a4"]
    queue.close()


def test_lines_are_bounded_for_each_and_for_all(work: Recorder) -> None:
    queue = Queue(work, LimitOptions(queue_per_user=2, queue_total=3))
    queue.submit(run("x", 0))
    eventually(lambda: work.order)
    queue.submit(run("a", 0))
    queue.submit(run("a", 1))
    with pytest.raises(Crowded, match="2 of your runs wait"):
        queue.submit(run("a", 2))
    queue.submit(run("b", 0))
    with pytest.raises(Crowded, match="too many people"):
        queue.submit(run("c", 0))
    work.may.release(1)
    eventually(lambda: len(work.order) == 2)
    queue.submit(run("c", 0))
    queue.close()


def test_a_run_waits_or_works_only_once(work: Recorder) -> None:
    queue = Queue(work, LimitOptions())
    first, second = run("a", 0), run("a", 1)
    queue.submit(first)
    eventually(lambda: work.order)
    queue.submit(second)
    for each in (first, second):
        with pytest.raises(UserError, match="at work already"):
            queue.submit(each)
    queue.close()


def test_who_withdraws_is_not_served(work: Recorder) -> None:
    queue = Queue(work, LimitOptions())
    runs = [run("a", number) for number in range(3)]
    for each in runs:
        queue.submit(each)
    eventually(lambda: work.order)
    assert not queue.withdraw(runs[0])
    assert queue.withdraw(runs[1])
    assert not queue.withdraw(runs[1])
    assert queue.place(runs[1]) is None
    assert queue.place(runs[2]) == 0
    work.may.release(2)
    assert queue.wait_for(runs[2], 10)
    assert work.order == ["a0", "a2"]
    queue.close()


def test_a_run_that_breaks_everything_does_not_stop_the_next(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    def work(run: Run, device: str | None) -> None:
        if run.id == "a0":
            raise SystemExit("out")
        done.append(run.id)

    queue = Queue(work, LimitOptions())
    queue.submit(run("a", 0))
    queue.submit(run("b", 0))
    eventually(lambda: done == ["b0"])
    assert "run a0 ended badly" in caplog.text
    queue.close()


def test_each_device_has_one_worker(work: Recorder) -> None:
    queue = Queue(work, LimitOptions(), ["cuda:0", "cuda:1"])
    for number in range(3):
        queue.submit(run("a", number))
    eventually(lambda: len(work.order) == 2)
    assert sorted(map(str, work.devices)) == ["cuda:0", "cuda:1"]
    work.may.release(3)
    eventually(lambda: len(work.order) == 3)
    queue.close()


def test_closing_stops_what_works_and_gives_back_what_waits(work: Recorder) -> None:
    queue = Queue(work, LimitOptions())
    first, second = run("a", 0), run("a", 1)
    queue.submit(first)
    eventually(lambda: work.order)
    queue.submit(second)
    assert queue.close() == [second]
    assert first.live.cancel.is_set()
    assert work.order == ["a0"]
    with pytest.raises(Crowded, match="about to stop"):
        queue.submit(run("a", 2))


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    done: list[Any] = []
    queue = Queue(
        lambda run, device: done.append(run.id), LimitOptions(queue_per_user=1000, queue_total=1000), [None] * 3
    )

    def submit(user: str) -> None:
        for number in range(40):
            queue.submit(run(user, number))

    threads = [threading.Thread(target=submit, args=(user,)) for user in "abcde"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: len(done) == 200)
    assert len(set(done)) == 200
    queue.close()
