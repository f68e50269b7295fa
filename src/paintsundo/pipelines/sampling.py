"""The denoising loop both stages share."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from paintsundo.diffusion import Guidance

OnStep = Callable[[int, Tensor, Tensor], Tensor | None]


def denoise(
    scheduler: Any,
    noise: Tensor,
    predict: Callable[..., Tensor],
    shared: Mapping[str, Tensor],
    cond: Mapping[str, Tensor],
    uncond: Mapping[str, Tensor] | None,
    guidance: Guidance,
    generators: list[torch.Generator],
    num_inference_steps: int,
    on_step: OnStep,
) -> Tensor:
    """Run a scheduler from noise to latents.

    Args:
        scheduler: any diffusers scheduler.
        noise: standard normal noise (B, …), float32, on the computing device.
        predict: `predict(sample=, timestep=, **inputs)`, the network on a batch (B or 2B, …).
        shared, cond, uncond: further inputs of the network, as `Guidance` takes them.
        generators: one stream per row, for schedulers that draw noise in their steps.
        on_step: called after each step with (index, timestep, sample); may return a sample to go on with.

    Returns:
        Latents (B, …), float32.
    """
    # Timesteps and coefficients stay with the processor, which looks them up, so that it never waits for a GPU.
    scheduler.set_timesteps(num_inference_steps, device="cpu")
    timesteps = scheduler.timesteps.to(noise.device)
    guidance = guidance.started(scheduler)
    sample = noise * scheduler.init_noise_sigma
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    extra: dict[str, Any] = {"generator": generators} if takes_generator else {}
    for index, timestep in enumerate(scheduler.timesteps):
        inputs = {
            **shared,
            "sample": scheduler.scale_model_input(sample, timestep),
            "timestep": timesteps[index].expand(len(sample)),
        }
        output = None
        try:
            output = guidance(predict, inputs, cond, uncond)
        except torch.OutOfMemoryError:
            if not guidance.batched or not guidance.active:
                raise
        if output is None:
            # Two passes in a row give the same values and need half of the memory. Tried only here, because the
            # exception holds the failed pass's activations until it is dealt with.
            guidance = dataclasses.replace(guidance, batched=False)
            torch.cuda.empty_cache()
            output = guidance(predict, inputs, cond, uncond)
        sample = scheduler.step(output, timestep, sample, **extra, return_dict=False)[0]
        replacement = on_step(index, timestep, sample)
        sample = sample if replacement is None else replacement
    return sample
