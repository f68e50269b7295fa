"""Engines that are closed after the test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from studios import Gate, gated, options

from paintsundo.app.studio import Studio


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    """On the smallest models."""
    made = Studio(options(tmp_path / "runs"))
    yield made
    made.close()


@pytest.fixture
def gated_studio(tmp_path: Path) -> Iterator[Callable[..., tuple[Studio, Gate]]]:
    """Makes an engine whose work waits to be let through."""
    made: list[Studio] = []

    def make(*arguments: str) -> tuple[Studio, Gate]:
        engine, gate = gated(tmp_path / "runs", *arguments)
        made.append(engine)
        return engine, gate

    yield make
    for engine in made:
        engine.close()
