import math

import lightning
import pytest
import torch
from torch import nn

from paintsundo.training.ema import ExponentialMovingAverage
from paintsundo.training.module import TrainingClock, warmup_cosine


class Line(lightning.LightningModule):
    """One trained and one frozen parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.trained = nn.Parameter(torch.tensor([0.0, 10.0]))
        self.frozen = nn.Parameter(torch.tensor([3.0]), requires_grad=False)


def averaged(decay: float, values: list[float]) -> tuple[ExponentialMovingAverage, Line]:
    module, average = Line(), ExponentialMovingAverage(decay)
    average.on_fit_start(None, module)  # type: ignore[arg-type]
    for value in values:
        module.trained.data.fill_(value)
        average.on_train_batch_end(None, module)  # type: ignore[arg-type]
    return average, module


def test_averages_follow_the_formula() -> None:
    values = [1.0, -2.0, 5.0, 4.0]
    average, _ = averaged(0.3, values)
    expected = torch.tensor([0.0, 10.0])
    for n, value in enumerate(values):
        decay = min(0.3, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
    assert torch.allclose(average.averages["trained"], expected)
    assert set(average.averages) == {"trained"}


def test_averages_are_lent_and_given_back() -> None:
    average, module = averaged(0.9, [1.0, 2.0])
    with average.swapped(module):
        assert torch.equal(module.trained.data, average.averages["trained"])
        assert (module.trained != 2.0).all()
    assert (module.trained == 2.0).all()
    with pytest.raises(RuntimeError, match="inside"), average.swapped(module):
        raise RuntimeError("inside")
    assert (module.trained == 2.0).all()


def test_averages_go_on_after_a_checkpoint() -> None:
    whole, _ = averaged(0.9, [1.0, 2.0, 3.0, 4.0])
    first, module = averaged(0.9, [1.0, 2.0])
    again = ExponentialMovingAverage(0.9)
    again.load_state_dict(first.state_dict())
    again.on_fit_start(None, module)  # type: ignore[arg-type]
    for value in (3.0, 4.0):
        module.trained.data.fill_(value)
        again.on_train_batch_end(None, module)  # type: ignore[arg-type]
    assert torch.equal(again.averages["trained"], whole.averages["trained"])


def test_rate_rises_then_falls() -> None:
    assert [warmup_cosine(step, 4, 0.0) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert warmup_cosine(100, 4, 0.5) == pytest.approx(0.02 + 0.98 / 2)
    assert warmup_cosine(100, 4, 1.0) == pytest.approx(0.02)
    assert warmup_cosine(100, 4, 1.7) == pytest.approx(0.02)
    assert warmup_cosine(0, 0, 0.25, floor=0.0) == pytest.approx(0.5 + math.sqrt(0.5) / 2)


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
