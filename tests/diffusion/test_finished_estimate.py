"""Predictions as estimates of the finished latent, and back."""

import pytest
import torch

from paintsundo.diffusion import Stage, build_scheduler
from paintsundo.diffusion.finished_estimate import FinishedEstimate
from paintsundo.diffusion.targets import noisy_and_target

OWN = {"keyframes": "KarrasDPMSolverScheduler", "video": "DynamicTSNRScheduler"}


def scheduler(stage: str, name: str | None = None, steps: int = 10) -> object:
    target = f"paintsundo.diffusion.{OWN[stage]}" if name is None else f"diffusers.{name}"
    built = build_scheduler({"_target_": target}, stage)
    built.set_timesteps(steps)
    return built


def noise(seed: int) -> torch.Tensor:
    return torch.randn(2, 4, 6, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("stage", ["keyframes", "video"])
@pytest.mark.parametrize("name", ["DDIMScheduler", None])
def test_a_perfect_prediction_says_what_the_clean_latent_is(stage: str, name: str | None) -> None:
    built = scheduler(stage, name)
    estimate = FinishedEstimate(built)
    clean, schedule = noise(1), Stage.named(stage).schedule()
    for step, timestep in enumerate(built.timesteps):
        if name is None and stage == "keyframes":
            continue  # its noise lies between timesteps: the test below
        at = torch.full((2,), int(timestep))
        noisy, target = noisy_and_target(schedule, clean, noise(2), at, Stage.named(stage).prediction_type, None)
        # At zero terminal SNR the noisy latent says nothing, and coefficients end at a sigma of 4096.
        torch.testing.assert_close(estimate.of(target, noisy, step), clean, atol=2e-3, rtol=0)
        torch.testing.assert_close(estimate.prediction(clean, noisy, step), target, atol=2e-3, rtol=0)


def test_sigmas_between_timesteps_count() -> None:
    built = scheduler("keyframes")
    estimate, clean = FinishedEstimate(built), noise(1)
    for step, sigma in enumerate(built.sigmas[:-1].double()):
        seen = (clean + sigma * noise(2)) / (1 + sigma**2).sqrt()
        torch.testing.assert_close(estimate.of(noise(2), seen, step), clean)


@pytest.mark.parametrize("stage", ["keyframes", "video"])
@pytest.mark.parametrize("name", [None, "UniPCMultistepScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler"])
def test_back_and_forth(stage: str, name: str | None) -> None:
    estimate = FinishedEstimate(scheduler(stage, name))
    assert len(estimate) >= 10
    assert (estimate.log_snr[1:] >= estimate.log_snr[:-1]).all()
    for step in range(len(estimate)):
        prediction = estimate.prediction(noise(3), noise(4), step)
        torch.testing.assert_close(estimate.of(prediction, noise(4), step), noise(3))


def test_half_precision_is_widened() -> None:
    estimate = FinishedEstimate(scheduler("video"))
    assert estimate.of(noise(1).half(), noise(2).half(), 3).dtype == torch.float32
