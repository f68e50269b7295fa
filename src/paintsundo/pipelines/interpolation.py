"""Interpolation: the multi-frame model on every pair of neighbouring keyframes (finished → blank)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paintsundo.checkpoints import MultiFrameComponents
from paintsundo.conditioning.images import crop_to, start_uint8, to_model
from paintsundo.conditioning.text import encode_prompts
from paintsundo.diffusion import Guidance
from paintsundo.models.layers import stack_ends
from paintsundo.pipelines.graphs import graphed
from paintsundo.pipelines.noise import draw, streams
from paintsundo.pipelines.offload import is_streamed
from paintsundo.pipelines.placement import Placement
from paintsundo.pipelines.sampling import OnStep, denoise


@dataclass
class InterpolationConditions:
    """What the video network and its decoder know of K keyframes, computed once for all K-1 pairs.

    Attributes:
        latents: scaled latents of the keyframes (K, z, h, w), float32.
        hidden: the encoder's states, each (K, C, H', W'), waiting on the rest device.
        image_contexts: image embeddings of each pair (K-1, T, L, C).
        grey_context: those of two grey frames (1, T, L, C), for the negative pass; None without guidance.
        text: prompt, and with guidance the negative prompt after it (1 or 2, 77, D).
    """

    latents: Tensor
    hidden: list[Tensor]
    image_contexts: Tensor
    grey_context: Tensor | None
    text: Tensor

    @property
    def pairs(self) -> int:
        return len(self.image_contexts)

    @property
    def frames(self) -> int:
        """Frames of a clip, T."""
        return self.image_contexts.shape[1]


def encode_conditions(
    parts: MultiFrameComponents,
    placement: Placement,
    pictures: Sequence[np.ndarray],
    prompt: str,
    negative_prompt: str,
    guidance: Guidance,
    on_keyframe: Callable[[], None],
    clip_skip: int = 0,
) -> InterpolationConditions:
    """Encode K keyframes, uint8 (H, W, 3) of one size, each exactly once."""
    device = placement.device
    with placement.using(parts.text_encoder):
        prompts = [prompt, negative_prompt] if guidance.active else [prompt]
        text = encode_prompts(parts.tokenizer, parts.text_encoder, prompts, clip_skip)

    latents, hidden = [], []
    with placement.using(parts.vae):
        for picture in pictures:
            frame = to_model(picture)[None, :, None].to(device=device, dtype=parts.vae.dtype)
            latent, states = parts.vae.encode(frame)
            latents.append(latent[:, :, 0].float())
            # A single frame is first and last at once; one copy of its states is enough.
            hidden.append([state[:, :, 0].to(placement.rest_device) for state in states])
            on_keyframe()

    dtype = parts.image_encoder.dtype
    with placement.using(parts.image_encoder):
        tokens = torch.cat(
            [
                parts.image_encoder(to_model(picture)[None, :, None].to(device=device, dtype=dtype))[0]
                for picture in pictures
            ]
        )
        grey = None
        if guidance.active:
            height, width = pictures[0].shape[:2]
            grey = parts.image_encoder(torch.zeros(1, 3, 1, height, width, device=device, dtype=dtype))[0]
    with placement.using(parts.image_projection):
        image_contexts = torch.cat(
            [parts.image_projection(torch.stack(pair)[None]) for pair in itertools.pairwise(tokens)]
        )
        grey_context = None if grey is None else parts.image_projection(grey[None].expand(1, 2, *grey.shape[1:]))
    return InterpolationConditions(
        latents=torch.cat(latents),
        hidden=[torch.cat(states) for states in zip(*hidden, strict=True)],
        image_contexts=image_contexts,
        grey_context=grey_context,
        text=text,
    )


def denoise_pairs(
    parts: MultiFrameComponents,
    scheduler: Any,
    device: torch.device,
    noise_device: torch.device,
    conditions: InterpolationConditions,
    pairs: Sequence[int],
    num_inference_steps: int,
    guidance: Guidance,
    seed: int,
    frame_stride: int,
    attention_window: str,
    on_step: OnStep,
    seeds: Sequence[int] | None = None,
    graphs: bool = False,
) -> Tensor:
    """Sample the latent clips of some pairs in one batch; the UNet must be on the device.

    Pair i draws all its noise from its own stream, seeded with seed + i, or with `seeds`, one a pair given: its clip
    is the same in any batch. With `graphs` the network is recorded as a CUDA graph.

    Returns:
        Scaled latents (len(pairs), z, T, h, w), float32, each clip from finished to blank.
    """
    rows = len(pairs)
    channels, height, width = conditions.latents.shape[1:]
    frames = conditions.frames
    dtype = parts.unet.dtype
    generators = streams([seed + index for index in pairs] if seeds is None else seeds, noise_device)
    noise = draw(generators, (channels, frames, height, width), device)

    concat = torch.zeros(rows, channels, frames, height, width, device=device)
    for row, index in enumerate(pairs):
        concat[row, :, 0] = conditions.latents[index]
        concat[row, :, -1] = conditions.latents[index + 1]

    def context(text_row: int, image: Tensor) -> Mapping[str, Any]:
        text = conditions.text[text_row : text_row + 1].to(dtype)
        if prepared:
            # The same for every step; the negative one for every pair as well.
            return {"context_text": parts.unet.project_context(text.expand(len(image), -1, -1), image.to(dtype))}
        return {"context_text": text.expand(rows, -1, -1), "context_img": image.to(dtype).expand(rows, -1, -1, -1)}

    # Of a network whose weights come block by block no layer is called but by the blocks themselves.
    prepared = getattr(parts.unet, "fused", False) and not is_streamed(parts.unet)
    predict = graphed(_Denoiser(parts.unet, attention_window), parts.unet, device, graphs)
    grey = conditions.grey_context
    return denoise(
        scheduler,
        noise,
        predict,
        shared={
            "fs": torch.full((rows,), frame_stride, device=device, dtype=torch.long),
            "concat_cond": concat.to(dtype),
        },
        cond=context(0, conditions.image_contexts[list(pairs)]),
        uncond=None if grey is None else context(1, grey),
        guidance=guidance,
        generators=generators,
        num_inference_steps=num_inference_steps,
        on_step=on_step,
    )


class _Denoiser:
    """The video network as the sampling loop calls it."""

    def __init__(self, unet: Any, attention_window: str) -> None:
        self.unet, self.attention_window = unet, attention_window
        # Layers before the first that sees words are then computed once for both halves of guidance.
        self.repeats_rows = getattr(unet, "fused", False)

    def __call__(self, sample: Tensor, timestep: Tensor, **inputs: Any) -> Tensor:
        return self.unet(sample.to(self.unet.dtype), timestep, attention_window=self.attention_window, **inputs)


def start_decoding(
    parts: MultiFrameComponents,
    device: torch.device,
    conditions: InterpolationConditions,
    pairs: Sequence[int],
    latents: Tensor,
) -> Callable[[], np.ndarray]:
    """Begin to decode the latents (B, z, T, h, w) of B pairs' clips, each with both its keyframes, in one pass.

    The autoencoder must be on the device.

    Returns:
        what waits for the clips: uint8 (B, T, H, W, 3), from the finished keyframe to the blank one. A GPU works
        meanwhile.
    """
    dtype = parts.vae.decoder.conv_in.weight.dtype
    hidden = [
        torch.cat([stack_ends(state[pair : pair + 1], state[pair + 1 : pair + 2]) for pair in pairs])
        for state in conditions.hidden
    ]
    hidden = [state.to(device=device, dtype=dtype) for state in hidden]
    frames = parts.vae.decode(latents.to(device=device, dtype=dtype), hidden)
    finish = start_uint8(frames.transpose(1, 2).flatten(0, 1))
    return lambda: finish().reshape(len(pairs), -1, *frames.shape[-2:], 3)


def join_clips(clips: Sequence[np.ndarray]) -> np.ndarray:
    """Join clips (T, H, W, 3), given finished → blank, to a film (N, H, W, 3), blank → finished.

    Each clip's last frame is the next clip's first and is left out, as published.
    """
    return np.concatenate([clip[:-1] for clip in clips])[::-1].copy()


def join_keyframes(keyframes: Sequence[np.ndarray]) -> np.ndarray:
    """Keyframes, given finished → blank, as a film (N, H, W, 3), blank → finished, at the size of the first.

    With keyframes at many operation steps this is one long chain of the single-frame model.
    """
    height, width = keyframes[0].shape[:2]
    fitted = [k if k.shape[:2] == (height, width) else crop_to(k, width, height) for k in keyframes]
    return np.stack(fitted[::-1])


def frame_positions(pair: int, pairs: int, frames: int) -> list[tuple[int, int]]:
    """Where the frames of a pair's clip of T frames go: (index in the clip, index in the film)."""
    total = pairs * (frames - 1)
    return [(index, total - 1 - (pair * (frames - 1) + index)) for index in range(frames - 1)]
