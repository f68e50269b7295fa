"""What a network is trained on: the noisy sample and the epsilon, v or x0 target."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from paintsundo.diffusion.precision import widen
from paintsundo.diffusion.schedules import NoiseSchedule
from paintsundo.diffusion.schedules import dynamic_scale as dynamic_scale_table
from paintsundo.errors import UserError


def schedule_of(schedule: Any, dynamic_scale: bool | None = None) -> NoiseSchedule:
    """The tables of a scheduler, a NoiseSchedule or a plain (T,) tensor of cumulative alphas.

    dynamic_scale: None keeps what the scheduler says (a tensor: off); True and False override it, True with
        the published scale if the scheduler has none of its own.
    """
    if isinstance(schedule, Tensor):
        schedule = NoiseSchedule(schedule.double(), torch.ones(len(schedule), dtype=torch.float64))
    elif not isinstance(schedule, NoiseSchedule):
        own = getattr(schedule, "schedule", None)
        schedule = own if isinstance(own, NoiseSchedule) else schedule_of(schedule.alphas_cumprod)
    if dynamic_scale is None:
        return schedule
    scale = torch.ones(len(schedule), dtype=torch.float64)
    if dynamic_scale:
        has_own = bool((schedule.scale != 1).any())
        scale = schedule.scale if has_own else dynamic_scale_table(len(schedule))
    return NoiseSchedule(schedule.alphas_cumprod, scale)


def noise_to(schedule: NoiseSchedule, x0: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """x_t = sqrt(a) s x0 + sqrt(1 - a) noise. x0, noise (B, …), timesteps (B,) integer; float32 or better."""
    x0, noise = widen(x0), widen(noise)
    scaled = schedule.at("scale", timesteps, x0) * x0
    return schedule.at("root_alpha", timesteps, x0) * scaled + schedule.at("root_beta", timesteps, x0) * noise


def velocity_of(schedule: NoiseSchedule, x0: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """v = sqrt(a) noise - sqrt(1 - a) s x0 (Salimans and Ho 2022). x0, noise (B, …), timesteps (B,)."""
    x0, noise = widen(x0), widen(noise)
    scaled = schedule.at("scale", timesteps, x0) * x0
    return schedule.at("root_alpha", timesteps, x0) * noise - schedule.at("root_beta", timesteps, x0) * scaled


def noisy_and_target(
    schedule: Any,
    x0: Tensor,
    noise: Tensor,
    t: Tensor,
    prediction_type: str | None = None,
    dynamic_scale: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """The pair a denoiser is trained on, both (B, …) in float32 or better.

    Args:
        schedule: a scheduler, a NoiseSchedule, or cumulative alphas (T,).
        x0, noise: (B, …) clean latents and standard normal noise. t: (B,) integer timesteps 0 … T-1.
        prediction_type: "epsilon" (target: noise), "v_prediction" or "sample" (target: s x0);
            None takes the scheduler's own.
        dynamic_scale: multiply x0 by the scale of its timestep first; None takes the scheduler's own.

    Raises:
        UserError: unknown prediction type.
    """
    if prediction_type is None:
        prediction_type = getattr(getattr(schedule, "config", None), "prediction_type", "epsilon")
    tables = schedule_of(schedule, dynamic_scale)
    noisy = noise_to(tables, x0, noise, t)
    if prediction_type == "epsilon":
        return noisy, widen(noise)
    if prediction_type == "v_prediction":
        return noisy, velocity_of(tables, x0, noise, t)
    if prediction_type == "sample":
        return noisy, tables.at("scale", t, noisy) * widen(x0)
    raise UserError(f"prediction_type must be epsilon, v_prediction or sample, not {prediction_type!r}")
