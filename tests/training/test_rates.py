"""Learning rates and the clock."""

import math

import pytest

from paintsundo.training.module import TrainingClock
from paintsundo.training.optimizer import warmup_constant, warmup_cosine


def test_rate_rises_then_falls() -> None:
    assert [warmup_cosine(step, 4, 0.0) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert warmup_cosine(100, 4, 0.5) == pytest.approx(0.02 + 0.98 / 2)
    assert warmup_cosine(100, 4, 1.0) == pytest.approx(0.02)
    assert warmup_cosine(100, 4, 1.7) == pytest.approx(0.02)
    assert warmup_cosine(0, 0, 0.25, floor=0.0) == pytest.approx(0.5 + math.sqrt(0.5) / 2)


def test_rate_rises_and_stays() -> None:
    assert [warmup_constant(step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_clock_adds_the_minutes_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("paintsundo.training.module.time.monotonic", lambda: now[0])
    clock = TrainingClock()
    now[0] = 500.0
    assert clock.minutes() == 0
    clock.start()
    now[0] += 90
    clock.start()
    assert clock.minutes() == 1.5
    clock.before = 2.0
    assert clock.minutes() == 3.5
