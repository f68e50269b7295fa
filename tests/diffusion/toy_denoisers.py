"""Denoisers whose right answer is known, and one that behaves badly."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from paintsundo.diffusion import ForeignScheduler, KarrasDPMSolverScheduler


def signal_at(scheduler, timestep) -> tuple[float, float, float]:
    """(root_alpha, root_beta, scale) of the network input at the scheduler's current step, in float64.

    A sampler over sigmas passes through sigmas between those of the integer timesteps; only an answer for the
    actual sigma is exact.
    """
    if isinstance(scheduler, KarrasDPMSolverScheduler):
        index = scheduler.step_index
        sigma = float(scheduler.sigmas[0 if index is None else index])
        scale = float(scheduler.schedule.scale[int(timestep)])
    elif isinstance(scheduler, ForeignScheduler):
        tables, t = scheduler.schedule, float(timestep)
        low = min(int(t), len(tables) - 2)
        between = t - low
        log_sigmas = tables.sigmas.log()
        sigma = math.exp((1 - between) * log_sigmas[low] + between * log_sigmas[low + 1])
        scale = float((1 - between) * tables.scale[low] + between * tables.scale[low + 1])
    else:
        alpha = float(scheduler.schedule.alphas_cumprod[int(timestep)])
        return math.sqrt(alpha), math.sqrt(1 - alpha), float(scheduler.schedule.scale[int(timestep)])
    # sigma = root_beta / (root_alpha * scale) and root_alpha^2 + root_beta^2 = 1
    root_alpha = 1 / math.sqrt(1 + (sigma * scale) ** 2)
    return root_alpha, sigma * scale * root_alpha, scale


def prediction(x: Tensor, x0: Tensor, root_alpha: float, root_beta: float, scale: float, kind: str) -> Tensor:
    """The network output that says x = root_alpha * scale * x0 + root_beta * noise comes from x0."""
    noise = (x - root_alpha * scale * x0) / root_beta
    if kind == "epsilon":
        return noise
    if kind == "sample":
        return scale * x0
    return root_alpha * noise - root_beta * scale * x0


def gaussian_mean(x: Tensor, mean: float, deviation: float, signal: float, root_beta: float) -> Tensor:
    """E[x0 | x = signal * x0 + root_beta * noise] for x0 ~ N(mean, deviation^2)."""
    variance = (signal * deviation) ** 2 + root_beta**2
    return mean + signal * deviation**2 * (x - signal * mean) / variance


def run(
    scheduler,
    sample: Tensor,
    denoise: Callable[[Tensor, Tensor], Tensor],
    **options,
) -> Tensor:
    """The usual sampling loop. denoise(network input, timestep) -> network output."""
    for t in scheduler.timesteps:
        output = denoise(scheduler.scale_model_input(sample, t), t)
        sample = scheduler.step(output, t, sample, **options).prev_sample
    return sample


def exact(scheduler, x0: Tensor, kind: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The denoiser of a data set that is the one sample x0."""

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return prediction(x, x0, *signal_at(scheduler, t), kind)

    return denoise


def bad(x: Tensor, t: Tensor) -> Tensor:
    """Network outputs that make weak samplers overflow, one kind for each row of x, in the dtype of x.

    Row 0: nothing. Row 1: noise. Row 2: the input amplified, so that errors grow from step to step.
    Row 3: the largest number of the dtype, with a sign that changes.
    """
    noise = torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(int(t)))
    largest = torch.finfo(x.dtype).max
    amplified = (x[2:3].float() * -300).clamp(-largest, largest)
    rows = [
        torch.zeros_like(noise),
        noise,
        amplified[0],
        torch.full_like(noise, largest if int(t) % 2 else -largest),
    ]
    return torch.stack(rows[: len(x)]).to(x.dtype)
