import math

import pytest
import torch

from paintsundo.diffusion import DynamicTSNRScheduler, KarrasDPMSolverScheduler, NoiseSchedule
from paintsundo.diffusion.schedules import (
    betas_of_alphas_cumprod,
    dynamic_scale,
    karras_sigmas,
    linear_betas,
    sd_betas,
    trailing_timesteps,
    zero_terminal_snr,
)
from paintsundo.errors import UserError


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours.double() - theirs.double()).abs().max() / theirs.double().abs().max())


def test_keyframe_sigmas_are_the_published_ones(golden):
    scheduler = KarrasDPMSolverScheduler()
    scheduler.set_timesteps(50)
    # Each to rounding, not only relative to the largest: the small ones decide the end of a run.
    assert torch.allclose(scheduler.train_sigmas, golden["sf.schedule.sigmas"], rtol=5e-7, atol=0)
    assert torch.allclose(scheduler.sigmas, golden["sf.schedule.karras_50"], rtol=1e-6, atol=0)


def test_keyframe_timesteps_are_the_published_ones(golden):
    scheduler = KarrasDPMSolverScheduler()
    scheduler.set_timesteps(50)
    assert torch.equal(scheduler.timesteps, golden["sf.schedule.timestep_of_karras_50"])


def test_video_tables_are_the_published_ones(golden):
    scheduler = DynamicTSNRScheduler()
    assert relative(scheduler.alphas_cumprod, golden["mf.schedule.alphas_cumprod"]) < 1e-7
    assert float(scheduler.alphas_cumprod[-1]) == 0
    assert relative(scheduler.scale, golden["mf.schedule.scale_arr"]) < 1e-7


@pytest.mark.parametrize("steps", [5, 25, 50, 60])
def test_video_timesteps_are_the_published_ones(golden, steps):
    assert torch.equal(trailing_timesteps(steps), golden[f"mf.schedule.trailing_{steps}"])
    scheduler = DynamicTSNRScheduler()
    scheduler.set_timesteps(steps)
    assert torch.equal(scheduler.timesteps.flip(0), golden[f"mf.schedule.trailing_{steps}"])


def test_trailing_timesteps_of_every_count():
    for steps in range(1, 1001):  # 61, 103, 121, … are the counts where the plain formula gives one too many
        timesteps = trailing_timesteps(steps)
        assert len(timesteps) == steps
        assert timesteps[-1] == 999
        assert timesteps[0] >= 0
        assert bool((timesteps.diff() > 0).all())


@pytest.mark.parametrize("steps", [-1, 0, 1001])
def test_impossible_step_counts_are_told(steps):
    for scheduler in (KarrasDPMSolverScheduler(), DynamicTSNRScheduler()):
        with pytest.raises(UserError, match=f"1 to 1000, not {steps}"):
            scheduler.set_timesteps(steps)


def test_beta_ends():
    assert float(linear_betas()[0]) == pytest.approx(0.00085)
    assert float(linear_betas()[-1]) == pytest.approx(0.020)
    assert float(linear_betas().diff().std()) < 1e-12
    assert float(sd_betas()[-1]) == pytest.approx(0.012)
    assert float(sd_betas().sqrt().diff().std()) < 1e-12


def test_zero_terminal_snr_moves_the_end_and_keeps_the_start():
    before, after = (1 - sd_betas()).cumprod(0), (1 - zero_terminal_snr(sd_betas())).cumprod(0)
    assert float(after[-1]) == 0
    assert float(after[0]) == pytest.approx(float(before[0]), rel=1e-12)
    # Algorithm 1 is affine in sqrt(a).
    slope = after.sqrt().diff() / before.sqrt().diff()
    assert float(slope.max() - slope.min()) < 1e-9
    assert torch.allclose(zero_terminal_snr(zero_terminal_snr(sd_betas())), zero_terminal_snr(sd_betas()))


def test_betas_and_cumulative_alphas_are_inverse():
    betas = linear_betas()
    assert torch.allclose(betas_of_alphas_cumprod((1 - betas).cumprod(0)), betas, rtol=0, atol=1e-14)


def test_dynamic_scale():
    scale = dynamic_scale()
    assert float(scale[0]) == 1
    assert scale[399:].eq(0.7).all()
    assert torch.allclose(scale[:400].diff(), torch.tensor(-0.3 / 399, dtype=torch.float64))
    assert len(dynamic_scale(100)) == 100


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_karras_sigmas_fall_from_largest_to_smallest_to_zero(steps):
    sigmas = karras_sigmas(steps, 0.03, 150.0)
    assert sigmas.shape == (steps + 1,)
    assert float(sigmas[0]) == pytest.approx(150.0, rel=1e-5)
    assert float(sigmas[-1]) == 0
    assert bool((sigmas.diff() < 0).all())
    if steps > 1:
        assert float(sigmas[-2]) == pytest.approx(0.03, rel=1e-4)


def test_schedule_sigmas_are_finite_and_rise_at_zero_terminal_snr():
    schedule = NoiseSchedule.from_options(
        beta_schedule="scaled_linear", beta_end=0.012, rescale_betas_zero_snr=True, dynamic_scale_of_x0=True
    )
    assert math.isfinite(float(schedule.sigmas[-1]))
    assert bool((schedule.sigmas.diff() > 0).all())


def test_wrong_betas_are_told():
    with pytest.raises(UserError, match="trained_betas must have 1000 entries, not 3"):
        NoiseSchedule.from_options(trained_betas=[0.1, 0.2, 0.3])
    with pytest.raises(UserError, match="beta_schedule"):
        NoiseSchedule.from_options(beta_schedule="cosine")


def test_trained_betas_are_used():
    ours = NoiseSchedule.from_options(trained_betas=sd_betas().tolist())
    assert torch.equal(ours.alphas_cumprod, (1 - sd_betas()).cumprod(0))
