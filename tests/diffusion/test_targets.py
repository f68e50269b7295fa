import pytest
import torch

from paintsundo.diffusion import DynamicTSNRScheduler, KarrasDPMSolverScheduler, noisy_and_target
from paintsundo.errors import UserError

SHAPE = (3, 4, 5, 6)
T = torch.tensor([0, 250, 999])


def normal(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(scheduler) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    tables = scheduler.schedule
    alpha, scale = (table[T].reshape(3, 1, 1, 1) for table in (tables.alphas_cumprod, tables.scale))
    return alpha.sqrt(), (1 - alpha).sqrt(), scale


def test_video_targets_are_the_published_ones(golden):
    x0, noise, t = golden["mf.train.x0"], golden["mf.train.noise"], golden["mf.train.t"]
    for schedule, options in (
        (DynamicTSNRScheduler(), {}),
        (DynamicTSNRScheduler(dynamic_scale=False), {"dynamic_scale": True}),
        (
            golden["mf.schedule.alphas_cumprod"],
            {"prediction_type": "v_prediction", "dynamic_scale": True},
        ),
    ):
        noisy, target = noisy_and_target(schedule, x0, noise, t, **options)
        for ours, theirs in ((noisy, golden["mf.train.xt"]), (target, golden["mf.train.target"])):
            assert float((ours - theirs).abs().max()) < 1e-6 * float(theirs.abs().max())


def test_dynamic_scale_can_be_turned_off(golden):
    x0, noise, t = golden["mf.train.x0"], golden["mf.train.noise"], golden["mf.train.t"]
    scaled, _ = noisy_and_target(DynamicTSNRScheduler(), x0, noise, t)
    plain, _ = noisy_and_target(DynamicTSNRScheduler(), x0, noise, t, dynamic_scale=False)
    expected, _ = noisy_and_target(DynamicTSNRScheduler(dynamic_scale=False), x0, noise, t)
    assert torch.equal(plain, expected)
    assert not torch.allclose(scaled, plain)


def test_epsilon_target_is_the_noise():
    x0, noise = normal(0), normal(1)
    scheduler = KarrasDPMSolverScheduler()
    noisy, target = noisy_and_target(scheduler, x0, noise, T)
    root_alpha, root_beta, _ = weights(scheduler)
    assert torch.equal(target, noise)
    assert torch.allclose(noisy, root_alpha * x0 + root_beta * noise, rtol=0, atol=1e-12)


def test_v_and_noisy_sample_give_back_clean_sample_and_noise():
    """x0 s = sqrt(a) x - sqrt(1 - a) v and noise = sqrt(a) v + sqrt(1 - a) x, also at zero terminal SNR."""
    x0, noise = normal(2), normal(3)
    scheduler = DynamicTSNRScheduler()
    noisy, v = noisy_and_target(scheduler, x0, noise, T)
    root_alpha, root_beta, scale = weights(scheduler)
    assert torch.allclose(root_alpha * noisy - root_beta * v, scale * x0, rtol=0, atol=1e-12)
    assert torch.allclose(root_alpha * v + root_beta * noisy, noise, rtol=0, atol=1e-12)


def test_sample_target_is_the_scaled_clean_sample():
    x0, noise = normal(4), normal(5)
    scheduler = DynamicTSNRScheduler()
    _, target = noisy_and_target(scheduler, x0, noise, T, prediction_type="sample")
    assert torch.allclose(target, weights(scheduler)[2] * x0, rtol=0, atol=1e-12)


def test_the_terminal_timestep_of_the_video_schedule_is_pure_noise():
    x0, noise = normal(6), normal(7)
    noisy, target = noisy_and_target(DynamicTSNRScheduler(), x0, noise, torch.full((3,), 999))
    assert torch.equal(noisy, noise)
    assert torch.allclose(target, -0.7 * x0, rtol=0, atol=1e-12)


def test_half_precision_inputs_give_float32():
    noisy, target = noisy_and_target(DynamicTSNRScheduler(), normal(0).half(), normal(1).half(), T)
    assert noisy.dtype == target.dtype == torch.float32


def test_unknown_prediction_type_is_told():
    with pytest.raises(UserError, match="'flow'"):
        noisy_and_target(DynamicTSNRScheduler(), normal(0), normal(1), T, prediction_type="flow")
