"""Inputs that end, block or fill the process that draws them cost their own sample only."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_source import NAME, write_texts

from paintsundo.data import shards
from paintsundo.data.build import BuildSettings, build
from paintsundo.data.making import crew, drawing
from paintsundo.data.making.crew import Crew, Death
from paintsundo.data.source import Unusable


def square(number: int) -> int:
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 14:
        raise OSError("no room")
    return number * number


def nothing() -> None:
    pass


def run(numbers: list[int], workers: int) -> dict[int, int | Death]:
    waiting = iter(numbers)
    return dict(Crew(workers, square, nothing).run(lambda: next(waiting, None)))


def test_a_task_that_kills_its_process_is_named_and_all_others_are_done() -> None:
    results = run([*range(8, 14), *range(15, 20)], workers=2)
    death = results.pop(13)
    assert isinstance(death, Death)
    assert death.reason == "ended its process (SIGKILL): perhaps for want of memory"
    assert results == {number: number**2 for number in (*range(8, 13), *range(15, 20))}


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_the_machine_are_not_swallowed(workers: int) -> None:
    with pytest.raises(OSError, match="no room"):
        run([1, 14, 2], workers)


def test_scripts_that_cannot_start_processes_are_told(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 3)
    script = tmp_path / "script.py"
    lines = ["from paintsundo.data.build import BuildSettings, build"]
    lines += [f"build(BuildSettings({NAME!r}, {str(tmp_path / 'in')!r}, {str(tmp_path / 'set')!r}, workers=1))"]
    script.write_text("\n".join(lines))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "cannot be started" in ran.stderr.splitlines()[-1]
    assert not (tmp_path / "set" / "manifest.json").exists()


def test_tasks_may_come_while_others_are_under_way() -> None:
    waiting = [3]
    found = []
    for task, result in Crew(1, square, nothing).run(lambda: waiting.pop() if waiting else None):
        found.append(result)
        if task < 6:
            waiting.append(task + 1)
    assert found == [9, 16, 25, 36]


def test_threads_are_limited_in_workers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    waiting = iter(["OMP_NUM_THREADS"])
    assert dict(Crew(1, os.getenv, nothing).run(lambda: next(waiting, None))) == {"OMP_NUM_THREADS": "1"}
    assert "OMP_NUM_THREADS" not in os.environ


def test_deadline() -> None:
    before = signal.getsignal(signal.SIGALRM)
    start = time.monotonic()
    with pytest.raises(Unusable, match=r"more than 0\.2 seconds"), drawing.deadline(0.2):
        time.sleep(100)
    assert time.monotonic() - start < 5
    assert signal.getsignal(signal.SIGALRM) is before
    with drawing.deadline(0.2):
        pass
    time.sleep(0.3)  # no alarm comes after its block
    with drawing.deadline(0):
        pass


def test_a_build_survives_crashes_hangs_and_hunger(tmp_path: Path) -> None:
    write_texts(
        tmp_path / "in",
        12,
        wicked="crash",
        endless="hang",
        frozen="freeze",
        hungry="eat",
        spoiled="bad",
        pair_twice="7",
    )
    settings = BuildSettings(NAME, str(tmp_path / "in"), str(tmp_path / "set"), size=32, workers=2, seconds=1.0)
    manifest = build(settings, progress=False)
    lines = (tmp_path / "set" / "rejected.jsonl").read_text().splitlines()
    reasons = {record["name"]: record["reason"] for record in map(json.loads, lines)}
    assert reasons == {
        "wicked.txt": "ended its process (SIGSEGV)",
        "endless.txt": "took more than 1 seconds",
        "frozen.txt": "took too long and could not be stopped",
        "hungry.txt": "needs more memory than it may take",
        "spoiled.txt": "is bad",
    }
    assert manifest["samples"] == 14
    names = {process.extra["name"] for process in shards.read_processes(tmp_path / "set")}
    assert {"pair_twice.txt", "pair_twice.txt#1", "text000.txt"} <= names
    assert crew.GIVEN_UP == 1


def test_memory_limit_of_workers(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 2, hungry="eat a lot")
    settings = BuildSettings(NAME, str(tmp_path / "in"), str(tmp_path / "set"), size=32, workers=1, memory_gb=2.0)
    build(settings, progress=False)
    assert "needs more memory" in (tmp_path / "set" / "rejected.jsonl").read_text()
