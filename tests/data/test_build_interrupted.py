"""Builds that are killed go on when the same command is given again, and give the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from tiny_source import NAME, write_texts

from paintsundo.data import shards
from paintsundo.data.__main__ import main
from paintsundo.data.build import BuildSettings, build
from paintsundo.data.index import read_index
from paintsundo.data.inspection import faults_of
from paintsundo.errors import UserError

COMMAND = """
import sys
from paintsundo.data.build import BuildSettings, build
build(BuildSettings({"name": "%s", "wait": %s}, *sys.argv[1:3], size=32, workers=2, near_duplicates=2), progress=False)
"""


def contents(dataset: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in dataset.iterdir() if path.is_file()}


def settings_of(source: Path, output: Path, wait: float = 0.0, **more: object) -> BuildSettings:
    options = {"workers": 0, "near_duplicates": 2, **more}
    return BuildSettings({"name": NAME, "wait": wait}, str(source), str(output), size=32, **options)


def start(source: Path, output: Path, wait: float) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", COMMAND % (NAME, wait), str(source), str(output)]
    return subprocess.Popen(command, env=environment, start_new_session=True)


PLACES = ("*", ".building/outcomes/*/0*", "*.tar", ".building/looks/*")  # where something new appears in time


@pytest.mark.parametrize("group", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_killed_builds_end_with_the_bytes_of_an_undisturbed_one(tmp_path: Path, group: bool) -> None:
    write_texts(tmp_path / "in", 34, spoiled="bad", wide_twice="5")
    wait = 0.04
    build(settings_of(tmp_path / "in", tmp_path / "whole", wait), progress=False)
    output, kills, between_shards = tmp_path / "set", 0, False
    for place in (PLACES[0], PLACES[3], PLACES[1], PLACES[2], PLACES[1], PLACES[2]):
        process = start(tmp_path / "in", output, wait)
        before = set(output.glob(place))
        while process.poll() is None and not set(output.glob(place)) - before:
            time.sleep(0.002)
        if process.poll() is not None:
            assert process.returncode == 0
            break
        # The whole family at once, or the parent alone: its workers must not go on for ever.
        os.killpg(process.pid, signal.SIGKILL) if group else process.kill()
        process.wait()
        kills += 1
        assert not (output / "manifest.json").exists()
        with pytest.raises(UserError, match="incomplete"):
            shards.read_manifest(output)
        between_shards |= any(output.glob("*.tar"))
    assert kills >= 4
    assert between_shards
    result = build(settings_of(tmp_path / "in", output, wait), progress=False)
    assert contents(output) == contents(tmp_path / "whole")
    assert result["reasons"] == {"is bad": 1, "near duplicate": 1}
    assert result["samples"] in (34, 35)
    assert not (output / ".building").exists()
    assert list(faults_of(output)) == []


def group_of(leader: int) -> list[int]:
    """Processes of a group, by psutil, since killpg also counts those that only wait to be collected."""
    found = []
    for process in psutil.process_iter(["pid", "status"]):
        with suppress(ProcessLookupError, psutil.Error):
            if os.getpgid(process.pid) == leader and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 4)
    process = start(tmp_path / "in", tmp_path / "set", 60.0)
    try:
        deadline = time.monotonic() + 60
        while len(group_of(process.pid)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(2)  # the workers are there by now, and wait
        assert len(group_of(process.pid)) >= 3
        deadline = time.monotonic() + 30
        process.kill()
        process.wait()
        while time.monotonic() < deadline:
            if not group_of(process.pid):
                return
            time.sleep(0.1)
        pytest.fail("a worker outlives the build")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_finished_build_is_kept_and_others_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_texts(tmp_path / "in", 12)
    output = tmp_path / "set"
    build(settings_of(tmp_path / "in", output), progress=False)
    first = {name: (output / name).stat().st_mtime_ns for name in contents(output)}
    kept = build(settings_of(tmp_path / "in", output), progress=False)
    assert kept["kept"]
    assert first == {name: (output / name).stat().st_mtime_ns for name in contents(output)}
    with pytest.raises(UserError, match="other settings"):
        build(settings_of(tmp_path / "in", output, near_duplicates=3), progress=False)
    (tmp_path / "in" / "text000.txt").write_text("other words")
    with pytest.raises(UserError, match="another input"):
        build(settings_of(tmp_path / "in", output), progress=False)
    assert contents(output).keys() == first.keys()
    (output / "notes.md").write_text("mine")
    build(settings_of(tmp_path / "in", output, overwrite=True, seed=3), progress=False)
    assert (output / "notes.md").read_text() == "mine"
    assert json.loads((output / "manifest.json").read_text())["seed"] == 3


def test_what_is_no_data_set_is_never_overwritten(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 2)
    output = tmp_path / "holidays"
    output.mkdir()
    (output / "beach.jpg").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="holds other things"):
            build(settings_of(tmp_path / "in", output, overwrite=overwrite), progress=False)
    assert [path.name for path in output.iterdir()] == ["beach.jpg"]
    with pytest.raises(UserError, match="is a file"):
        build(settings_of(tmp_path / "in", output / "beach.jpg", overwrite=True), progress=False)


def test_a_bad_input_leaves_what_was_there(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 2)
    (tmp_path / "empty").mkdir()
    build(settings_of(tmp_path / "in", tmp_path / "set"), progress=False)
    before = contents(tmp_path / "set")
    with pytest.raises(UserError, match="holds no"):
        build(settings_of(tmp_path / "empty", tmp_path / "set", overwrite=True), progress=False)
    assert contents(tmp_path / "set") == before
    with pytest.raises(UserError, match="holds no"):
        build(settings_of(tmp_path / "empty", tmp_path / "new"), progress=False)
    assert not (tmp_path / "new").exists()


def test_one_shard_at_a_time(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 12)
    build(settings_of(tmp_path / "in", tmp_path / "whole"), progress=False)
    output = tmp_path / "set"
    count = len(json.loads((tmp_path / "whole" / "manifest.json").read_text())["shards"])
    for number in reversed(range(1, count)):
        found = build(settings_of(tmp_path / "in", output, shard=number), progress=False)
        assert found["missing_shards"] == number
        assert build(settings_of(tmp_path / "in", output, shard=number), progress=False)["missing_shards"] == number
    with pytest.raises(UserError, match="incomplete"):
        read_index(output)
    with pytest.raises(UserError, match=f"there are {count}"):
        build(settings_of(tmp_path / "in", output, shard=count), progress=False)
    build(settings_of(tmp_path / "in", output), progress=False)
    assert contents(output) == contents(tmp_path / "whole")
    # of a finished one, too
    (output / "00001.tar").write_bytes(b"damaged")
    build(settings_of(tmp_path / "in", output, shard=1), progress=False)
    assert contents(output) == contents(tmp_path / "whole")
    assert not (output / ".building").exists()


def test_two_builds_do_not_meet(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 4)
    locks = tmp_path / "set" / ".building" / "locks"
    locks.mkdir(parents=True)
    with FileLock(locks / "all"), pytest.raises(UserError, match="another process"):
        build(settings_of(tmp_path / "in", tmp_path / "set"), progress=False)
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / "00000"), pytest.raises(UserError, match="another process"):
        build(settings_of(tmp_path / "in", tmp_path / "set"), progress=False)


def test_training_refuses_an_unfinished_data_set_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_texts(tmp_path / "in", 12)
    build(settings_of(tmp_path / "in", tmp_path / "set", shard=0), progress=False)
    assert main(["check", f"data={tmp_path / 'set'}"]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert "incomplete" in error[0]
