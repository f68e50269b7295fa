import pytest
import torch

from paintsundo.diffusion import (
    DynamicTSNRScheduler,
    KarrasDPMSolverScheduler,
    MinSNRWeight,
    TimestepWeight,
    UniformWeight,
    noisy_and_target,
)
from paintsundo.diffusion.loss_weights import snr
from paintsundo.errors import UserError

T = torch.tensor([0, 100, 500, 900, 999])


def test_uniform_weights_are_one():
    assert torch.equal(UniformWeight()(KarrasDPMSolverScheduler(), T, "epsilon"), torch.ones(5))


def test_snr_is_that_of_the_schedule():
    alphas = KarrasDPMSolverScheduler().schedule.alphas_cumprod[T]
    assert torch.allclose(snr(KarrasDPMSolverScheduler(), T).double(), alphas / (1 - alphas), rtol=1e-6)
    assert float(snr(DynamicTSNRScheduler(), T)[-1]) == 0


def test_min_snr_weighs_the_error_in_x0_alike_for_every_prediction():
    """weight * |target error|² = min(SNR, gamma) * |x0 error|², by the definition of Hang et al."""
    scheduler = KarrasDPMSolverScheduler()
    x0 = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    noisy, _ = noisy_and_target(scheduler, x0, noise, T)
    error = 0.01
    alphas = scheduler.schedule.alphas_cumprod[T].reshape(5, 1)
    implied_noise = (noisy - alphas.sqrt() * (x0 + error)) / (1 - alphas).sqrt()
    expected = snr(scheduler, T).clamp(max=5.0) * error**2 * 4
    for kind in ("epsilon", "v_prediction", "sample"):
        _, right = noisy_and_target(scheduler, x0, noise, T, kind)
        wrong = {
            "epsilon": implied_noise,
            "v_prediction": alphas.sqrt() * implied_noise - (1 - alphas).sqrt() * (x0 + error),
            "sample": x0 + error,
        }[kind]
        loss = MinSNRWeight(5.0)(scheduler, T, kind) * (wrong - right).square().sum(1)
        assert torch.allclose(loss.float(), expected.float(), rtol=1e-4)


def test_min_snr_at_zero_terminal_snr_is_finite_and_has_a_floor():
    for kind in ("epsilon", "v_prediction", "sample"):
        assert bool(MinSNRWeight()(DynamicTSNRScheduler(), T, kind).isfinite().all())
    assert float(MinSNRWeight()(DynamicTSNRScheduler(), T, "v_prediction")[-1]) == 0
    assert float(MinSNRWeight(floor=0.05)(DynamicTSNRScheduler(), T, "v_prediction")[-1]) == pytest.approx(0.05)
    with pytest.raises(UserError, match="prediction_type"):
        MinSNRWeight()(DynamicTSNRScheduler(), T, "flow")


def test_weights_by_timestep_are_linear_between_points():
    weight = TimestepWeight([100, 300], [1.0, 3.0])
    values = weight(KarrasDPMSolverScheduler(), torch.tensor([0, 100, 200, 300, 999]), "epsilon")
    assert torch.allclose(values, torch.tensor([1.0, 1.0, 2.0, 3.0, 3.0]))


@pytest.mark.parametrize(
    ("timesteps", "weights", "said"),
    [([0, 1], [1.0], "2 timesteps for 1"), ([5, 5], [1.0, 1.0], "must rise"), ([0], [-1.0], "negative")],
)
def test_impossible_weights_are_told(timesteps, weights, said):
    with pytest.raises(UserError, match=said):
        TimestepWeight(timesteps, weights)
