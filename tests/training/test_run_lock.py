import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paintsundo.errors import UserError
from paintsundo.training.run_lock import run_lock

# Holds the lock with a forked child beside it, as a loader's worker would be.
HOLDER = """
import os, sys, time
from pathlib import Path
from paintsundo.training.run_lock import run_lock

with run_lock(Path(sys.argv[1])):
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    time.sleep(60)
"""


def test_second_run_is_told_the_first_ones_process_until_that_dies(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        with (
            pytest.raises(UserError, match=rf"in use by another run \(process {holder.pid} on .*\)"),
            run_lock(tmp_path),
        ):
            raise AssertionError
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        os.kill(child, 0)  # is alive, and holds nothing
        with run_lock(tmp_path):
            assert (tmp_path / ".lock").read_text().startswith(f"{os.getpid()} on ")
    finally:
        holder.kill()
        os.kill(child, signal.SIGKILL)


def test_lock_is_held_once_and_given_back(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    for _ in range(2):
        with (
            run_lock(folder),
            pytest.raises(UserError, match=f"another run of this process \\({os.getpid()}\\)"),
            run_lock(folder / ".." / "run"),
        ):
            raise AssertionError
    assert (folder / ".lock").read_text() == ""


def test_lock_ends_with_an_error_inside(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_lock(tmp_path):
        _ = 1 / 0
    started = time.monotonic()
    script = "import sys; from pathlib import Path; from paintsundo.training.run_lock import run_lock\n"
    script += "with run_lock(Path(sys.argv[1])): pass"
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == 0
    assert time.monotonic() - started < 30
