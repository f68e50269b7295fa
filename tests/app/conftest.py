"""Engines that are closed after the test, and visitors of them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from studios import Gate, gated, options

from paintsundo.app.studio import Studio

# Imported where they are used: clients need the extra `app`, which not all that is tested here does.
pytest.register_assert_rewrite("clients", "films")


@pytest.fixture(scope="session")
def loaded() -> dict[str, Any]:
    """Models that the engines of all tests share: loading takes longer than most of what is done with them."""
    return {}


@pytest.fixture
def make_studio(tmp_path: Path, loaded: dict[str, Any]) -> Iterator[Callable[..., Studio]]:
    """Makes engines on the smallest models, in the same folder one after the other."""
    made: list[Studio] = []

    def make(*arguments: str) -> Studio:
        engine = Studio(options(tmp_path / "runs", *arguments))
        engine.model_choices.loaded.pipelines = loaded
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def studio(make_studio: Callable[..., Studio]) -> Studio:
    """On the smallest models."""
    return make_studio()


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


@pytest.fixture
def anna(studio: Studio) -> Iterator[Any]:
    """The client of a visitor, on the smallest models."""
    from clients import client_of

    with client_of(studio) as client:
        yield client


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory, loaded: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """The client of a visitor who is answered as often as asked, and the id of a finished run of theirs."""
    from clients import client_of, filmed

    limits = ("limits.requests_per_minute=100000", "limits.runs_per_user=10000")
    engine = Studio(options(tmp_path_factory.mktemp("settled"), *limits))
    engine.model_choices.loaded.pipelines = loaded
    with client_of(engine) as client:
        yield client, filmed(client)["id"]
