import math

import numpy as np
import pytest
import torch
from torch import nn

from paintsundo.diffusion import Guidance, guide

SHAPE = (3, 4, 5, 6)


def normal(seed: int, shape=SHAPE) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_guidance_extrapolates_from_the_negative():
    cond, uncond = normal(0), normal(1)
    assert torch.allclose(guide(cond, uncond, 0.0), uncond)
    assert torch.allclose(guide(cond, uncond, 1.0), cond, atol=1e-6)
    assert torch.allclose(guide(cond, uncond, 3.0), uncond + 3 * (cond - uncond))


def test_rescaling_is_the_published_formula():
    cond, uncond = normal(2).double(), normal(3).double()
    o = uncond + 7.5 * (cond - uncond)
    expected = np.empty(SHAPE)
    for i in range(SHAPE[0]):
        ratio = cond[i].numpy().std(ddof=1) / o[i].numpy().std(ddof=1)
        expected[i] = 0.7 * o[i].numpy() * ratio + 0.3 * o[i].numpy()
    assert np.allclose(guide(cond, uncond, 7.5, 0.7).numpy(), expected, rtol=1e-12)


def test_full_rescaling_restores_the_deviation_of_each_sample():
    cond, uncond = normal(4) * torch.tensor([1.0, 5.0, 0.1]).reshape(3, 1, 1, 1), normal(5)
    rescaled = guide(cond, uncond, 9.0, 1.0)
    assert torch.allclose(rescaled.std(dim=(1, 2, 3)), cond.std(dim=(1, 2, 3)), rtol=1e-5)


def test_a_constant_prediction_survives_rescaling():
    flat = torch.full(SHAPE, 0.5)
    assert torch.allclose(guide(flat, flat, 7.5, 0.7), flat)


def test_half_precision_predictions_are_guided_in_float32():
    cond, uncond = torch.full((1, 4), 60000.0).half(), torch.full((1, 4), -60000.0).half()
    guided = guide(cond, uncond, 7.5)
    assert guided.dtype == torch.float32
    assert float(guided[0, 0]) == pytest.approx(840000, rel=1e-3)


class SmallNetwork(nn.Module):
    """Has everything that could leak between samples of a batch, except batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(8, 4, 3, padding=1)
        self.norm = nn.GroupNorm(2, 4)
        self.text = nn.Linear(7, 4)
        self.passes: list[int] = []

    def forward(self, sample, timestep, picture, text):
        self.passes.append(len(sample))
        x = torch.cat([sample, picture.expand(len(sample), -1, -1, -1)], dim=1)
        time = torch.as_tensor(timestep, dtype=torch.float32).reshape(-1, 1, 1, 1)
        return self.norm(self.conv(x)) * (1 + time / 1000) + self.text(text).mean(1)[:, :, None, None]


@pytest.fixture
def network() -> SmallNetwork:
    return SmallNetwork().eval()


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("negatives", [1, 3])
@pytest.mark.parametrize("per_sample_timesteps", [False, True])
@torch.no_grad()
def test_one_batched_pass_equals_two(network, rows, negatives, per_sample_timesteps):
    timestep = torch.arange(rows) * 100.0 if per_sample_timesteps else torch.tensor(500.0)
    shared = {
        "sample": normal(0, (rows, 4, 5, 6)),
        "timestep": timestep,
        "picture": normal(1, (1, 4, 5, 6)),
    }
    cond = {"text": normal(2, (rows, 9, 7))}
    uncond = {"text": normal(3, (min(rows, negatives), 9, 7))}
    batched = Guidance(3.0, 0.7)(network, shared, cond, uncond)
    assert network.passes == [2 * rows]
    two = Guidance(3.0, 0.7, batched=False)(network, shared, cond, uncond)
    assert network.passes == [2 * rows, rows, rows]
    assert batched.shape == (rows, 4, 5, 6)
    assert torch.allclose(batched, two, rtol=0, atol=2e-6)
    by_hand = guide(network(**shared, **cond), network(**shared, text=uncond["text"].expand(rows, 9, 7)), 3.0, 0.7)
    assert torch.allclose(two, by_hand, rtol=0, atol=1e-7)


@torch.no_grad()
def test_scale_1_is_a_single_pass_without_the_negative(network):
    shared = {"sample": normal(0, (2, 4, 5, 6)), "timestep": 7, "picture": normal(1, (2, 4, 5, 6))}
    cond, uncond = {"text": normal(2, (2, 9, 7))}, {"text": torch.full((2, 9, 7), math.nan)}
    for guidance, negative in ((Guidance(1.0, 0.7), uncond), (Guidance(7.5), None)):
        network.passes.clear()
        assert torch.equal(guidance(network, shared, cond, negative), network(**shared, **cond))
        assert network.passes == [2, 2]


def test_conditions_must_have_the_same_names(network):
    shared = {"sample": normal(0, (2, 4, 5, 6))}
    with pytest.raises(ValueError, match="differ in name"):
        Guidance(3.0)(network, shared, {"text": normal(1)}, {"words": normal(1)})
