"""Floating-point operations of a film, counted on the meta device: nothing is computed and nothing allocated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from paintsundo import PaintsUndoPipeline
from paintsundo.models import SingleFrameUNet, UNet3DModel, VideoAutoencoderKL
from paintsundo.pipelines.sizes import keyframe_multiple

TOKENS = 77


def film_operations(pipe: PaintsUndoPipeline, pairs: int, frames: int) -> dict[str, float]:
    """Operations of both samplers and the decoder, of the plain algorithm: every step, both passes where guided.

    A multiplication and an addition are two. What fast mode leaves out is counted, so that a rate is one of useful work
    done; encoders, under 1 % of a film at published sizes, are not.

    Args:
        pairs: clips of the film.
        frames: of a clip.

    Returns:
        part of `film_parts.measure` → operations.
    """
    still, video = pipe.keyframe_options, pipe.video_options
    factor = keyframe_multiple(pipe.keyframe_vae.config)
    rows = len(still.steps())
    keyframe = _counted(
        lambda: SingleFrameUNet.from_config(pipe.keyframe_unet.config),
        lambda unet: _ask_single_frame(unet, rows, still.height // factor, still.width // factor),
    )
    height, width = video.buckets[0]
    small = 2 ** (len(pipe.video_vae.config["ch_mult"]) - 1)
    size = (height // small, width // small)
    tokens = pipe.image_projection.config["num_queries"]
    clip = _counted(
        lambda: UNet3DModel.from_config(pipe.video_unet.config),
        lambda unet: _ask_clips(unet, frames, *size, tokens),
    )
    decode = _counted(
        lambda: VideoAutoencoderKL.from_config(pipe.video_vae.config), lambda vae: _decode(vae, frames, height, width)
    )
    return {
        "keyframes": keyframe * still.num_inference_steps * (1 + (still.guidance_scale != 1)),
        "in-between frames": clip * pairs * video.num_inference_steps * (1 + (video.guidance_scale != 1)),
        "decoding": decode * pairs,
    }


def rates(operations: Mapping[str, float], seconds: Mapping[str, float], matrix_rate: float) -> dict[str, Any]:
    """Part → TFLOP/s, and its share of the device's rate of matrix products (both over the whole film as well)."""
    out = {name: _rate(count, seconds[name], matrix_rate) for name, count in operations.items()}
    return {**out, "whole film": _rate(sum(operations.values()), seconds["whole film"], matrix_rate)}


def _rate(operations: float, seconds: float, matrix_rate: float) -> dict[str, float]:
    return {
        "tflop": operations / 1e12,
        "tflops": operations / seconds / 1e12,
        "share_of_matrix_rate": operations / seconds / matrix_rate,
    }


def _counted(make: Callable[[], nn.Module], prepare: Callable[[Any], Callable[[], object]]) -> int:
    """Operations of what `prepare` gives for a network that `make` builds."""
    with torch.device("meta"), torch.no_grad():
        call = prepare(make().eval())
        with FlopCounterMode(display=False) as counter:
            call()
    return counter.get_total_flops()


def _ask_single_frame(unet: Any, rows: int, height: int, width: int) -> Callable[[], object]:
    latents = torch.empty(rows, unet.config["in_channels"], height, width)
    words = torch.empty(rows, TOKENS, unet.config["cross_attention_dim"])
    numbers = torch.zeros(rows, dtype=torch.long)
    return lambda: unet(latents, numbers, words, numbers, latents)


def _ask_clips(unet: Any, frames: int, height: int, width: int, tokens: int) -> Callable[[], object]:
    latents = torch.empty(1, unet.config["in_channels"] // 2, frames, height, width)
    words = torch.empty(1, TOKENS, unet.config["context_dim"])
    pictures = torch.empty(1, frames, tokens, unet.config["context_dim"])
    number = torch.zeros(1, dtype=torch.long)
    return lambda: unet(latents, number, words, pictures, number, latents)


def _decode(vae: Any, frames: int, height: int, width: int) -> Callable[[], object]:
    given, hidden = vae.encode(torch.empty(1, 3, 2, height, width))
    latents = given[:, :, :1].expand(-1, -1, frames, -1, -1)
    return lambda: vae.decode(latents, hidden)
