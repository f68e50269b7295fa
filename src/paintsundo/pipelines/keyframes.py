"""Keyframes: all operation steps of a picture as one batch of the single-frame model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paintsundo.checkpoints import SingleFrameComponents
from paintsundo.conditioning.images import to_model, to_uint8
from paintsundo.conditioning.text import encode_prompts
from paintsundo.diffusion import Guidance
from paintsundo.pipelines.graphs import graphed
from paintsundo.pipelines.noise import draw, streams
from paintsundo.pipelines.offload import is_streamed
from paintsundo.pipelines.placement import Placement
from paintsundo.pipelines.sampling import OnStep, denoise


def generate_keyframes(
    parts: SingleFrameComponents,
    scheduler: Any,
    placement: Placement,
    picture: np.ndarray,
    prompt: str,
    negative_prompt: str,
    operation_steps: Sequence[int],
    num_inference_steps: int,
    guidance: Guidance,
    seed: int,
    on_step: OnStep,
    independent_noise: bool = False,
    batch: int | None = None,
    clip_skip: int = 0,
    graphs: bool = False,
) -> list[np.ndarray]:
    """Generate the states of a drawing at the given operation steps.

    Args:
        picture: the finished picture, uint8 (H, W, 3), sides multiples of the autoencoder's factor.
        operation_steps: 0 (finished) … 999 (first stroke), K of them.
        seed: of the one stream of noise, the same for every row.
        independent_noise: row i draws from its own stream in place of that, seeded with seed + i.
        batch: rows computed together, all without it; does not change the pictures.
        clip_skip: last layers of the text encoder left out.
        graphs: the network is recorded as a CUDA graph.

    Returns:
        K pictures, uint8 (H, W, 3), in the order of `operation_steps`.
    """
    device = placement.device
    with placement.using(parts.text_encoder):
        prompts = [prompt, negative_prompt] if guidance.active else [prompt]
        text = encode_prompts(parts.tokenizer, parts.text_encoder, prompts, clip_skip)
    with placement.using(parts.vae):
        condition = encode_picture(parts.vae, picture, device)

    # Equal seeds: every row sees the same noise, in the first draw and in those of a stochastic sampler.
    seeds = [seed + row * independent_noise for row in range(len(operation_steps))]
    dtype = parts.unet.dtype
    network = _Denoiser(parts.unet)

    def words(index: int, rows: int) -> Any:
        found = text[index : index + 1].to(dtype)
        # Of a network whose weights come block by block no layer is called but by the blocks themselves.
        known = parts.unet.project_context(found) if network.repeats_rows and not is_streamed(parts.unet) else found
        # The same for every step, and for every row.
        return known.expand(rows, -1, -1) if isinstance(known, Tensor) else known

    def sample(first: int, rows: int) -> Tensor:
        generators = streams(seeds[first : first + rows], placement.noise_device)
        steps = list(operation_steps)[first : first + rows]
        return denoise(
            scheduler,
            draw(generators, condition.shape[1:], device),
            graphed(network, parts.unet, device, graphs),
            shared={
                "operation_steps": torch.as_tensor(steps, device=device),
                "concat_conds": condition.to(dtype).expand(rows, *condition.shape[1:]),
            },
            cond={"encoder_hidden_states": words(0, rows)},
            uncond={"encoder_hidden_states": words(1, rows)} if guidance.active else None,
            guidance=guidance,
            generators=generators,
            num_inference_steps=num_inference_steps,
            on_step=on_step,
        )

    total = len(operation_steps)
    together = total if batch is None else batch
    with placement.using(parts.unet):
        latents = torch.cat([sample(first, min(together, total - first)) for first in range(0, total, together)])
    with placement.using(parts.vae):
        return [decode_picture(parts.vae, row[None]) for row in latents]


def encode_picture(vae: Any, picture: np.ndarray, device: torch.device) -> Tensor:
    """Encode a picture uint8 (H, W, 3) to its scaled latent (1, C, h, w), float32: the mode, not a sample."""
    pixels = to_model(picture)[None].to(device=device, dtype=vae.dtype)
    return vae.encode(pixels).latent_dist.mode().float() * vae.config.scaling_factor


def decode_picture(vae: Any, latents: Tensor) -> np.ndarray:
    """Decode a scaled latent (1, C, h, w) to a picture uint8 (H, W, 3)."""
    pixels = vae.decode((latents / vae.config.scaling_factor).to(vae.dtype)).sample
    return to_uint8(pixels[0].float())


class _Denoiser:
    """The keyframe network as the sampling loop calls it."""

    def __init__(self, unet: Any) -> None:
        self.unet = unet
        # Layers before the first that sees words are then computed once for both halves of guidance.
        self.repeats_rows = getattr(unet, "repeats_rows", False)

    def __call__(self, sample: Tensor, timestep: Tensor, **inputs: Any) -> Tensor:
        return self.unet(sample.to(self.unet.dtype), timestep, **inputs).sample
