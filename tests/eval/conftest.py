"""Evaluations are scripts, not part of the package: their folder is put on the path as `python eval/…`
does."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EVAL = Path(__file__).resolve().parents[2] / "eval"
sys.path.insert(0, str(EVAL))


@pytest.fixture(scope="session")
def evaluate() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `python eval/NAME.py ARGUMENTS…` and returns what came of it."""

    def call(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(EVAL / f"{name}.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)

    return call
