"""Decoding a clip a few frames, or a few rows, at a time: the same sums, in a fraction of the memory.

A layer of the decoder sees either each frame alone or, over time, each position alone; only the normalisation of its
temporal part has statistics of the whole clip. So the former layers go by frames, the latter by rows of all frames
after a pass that gathers the statistics, results take the place of what they are computed from, and a picture twice
as large is made and used a few frames at a time. At most two tensors of the clip's full size exist at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from paintsundo.models.layers import clip_to_frames, frames_to_clip
from paintsundo.models.video_vae_blocks import (
    AttentionCombiner,
    AttnBlock,
    ConvCombiner,
    Upsample,
    VideoResnetBlock,
    by_slices,
)

if TYPE_CHECKING:
    from paintsundo.models.video_vae_decoder import Decoder

_Layer = Callable[[torch.Tensor], torch.Tensor]


def decode_in_slices(
    decoder: Decoder, latents: torch.Tensor, states: Sequence[torch.Tensor], num_frames: int, slice_frames: int
) -> torch.Tensor:
    """What `decoder(latents, states, num_frames)` computes, up to rounding; for use without gradients.

    Args:
        decoder: that of a `VideoAutoencoderKL`.
        latents: (B·T, z, h, w).
        states: kept states of the ends, each (B, C, 2, H', W').
        num_frames: T.
        slice_frames: frames computed at a time.

    Returns:
        (B·T, 3, H, W).
    """
    frames = by_slices(decoder.conv_in, latents, slice_frames)
    mid, upsample = decoder.mid, None
    blocks: list[VideoResnetBlock | AttnBlock]
    for level in range(len(decoder.up), -1, -1):
        if level == len(decoder.up):
            blocks = [layer for layer in (mid.block_1, mid.attn_1, mid.block_2) if layer is not None]
        else:
            blocks = list(decoder.up[level].block)
        for block in blocks:
            # The old frames are let go before the temporal part begins.
            frames = _spatial(block, frames, slice_frames, upsample)
            upsample = None
            if isinstance(block, VideoResnetBlock):
                for clip in frames.split(num_frames):
                    _add_over_time(block, clip, slice_frames)
        if level < len(decoder.up):
            _merge(decoder.attn_refinement[level], frames, states[level], num_frames, slice_frames)
            upsample = decoder.up[level].upsample if level > 0 else None
    frames = _by_frames(lambda some: decoder.silu(decoder.norm_out(some)), frames, slice_frames)
    _merge(decoder.attn_refinement[-1], frames, states[-1], num_frames, slice_frames)
    conv_out = decoder.conv_out
    pictures = by_slices(lambda some: nn.Conv2d.forward(conv_out, some), frames, slice_frames)
    return _over_time(conv_out.time_mix_conv, pictures, num_frames)


def _spatial(
    block: VideoResnetBlock | AttnBlock, frames: torch.Tensor, slice_frames: int, upsample: Upsample | None
) -> torch.Tensor:
    """The part of a block that sees each frame alone, after `upsample`; in place where the shape stays."""

    def layer(some: torch.Tensor) -> torch.Tensor:
        return block._block(some if upsample is None else upsample._block(some))

    changes = upsample is not None or getattr(block, "nin_shortcut", None) is not None
    return by_slices(layer, frames, slice_frames) if changes else _by_frames(layer, frames, slice_frames)


def _add_over_time(block: VideoResnetBlock, clip: torch.Tensor, slice_frames: int) -> None:
    """The temporal part of a block on one clip (T, C, h, w), in place."""
    norm, _, conv = block.time_stack["in_layers"]
    norm_out, _, _, conv_out = block.time_stack["out_layers"]
    pieces = list(_rows(clip, slice_frames))
    normalise = _normalisation(norm, clip, slice_frames, block.ends)
    hidden = torch.empty_like(clip)
    for rows in pieces:
        hidden[:, :, rows] = _over_time(conv, F.silu(normalise(clip[:, :, rows]), inplace=True), len(clip))
    normalise = _normalisation(norm_out, hidden, slice_frames, block.ends)
    mix = block.mix_factor.sigmoid()
    for rows in pieces:
        clip[:, :, rows] += mix * _over_time(conv_out, F.silu(normalise(hidden[:, :, rows]), inplace=True), len(clip))


def _merge(
    combiner: ConvCombiner | AttentionCombiner,
    frames: torch.Tensor,
    state: torch.Tensor,
    num_frames: int,
    slice_frames: int,
) -> None:
    """Merge the kept state of the ends (B, C, 2, h, w) into the frames (B·T, C, h, w), in place."""
    for index, clip in enumerate(frames.split(num_frames)):
        own = state[index : index + 1].to(clip)  # kept states may wait elsewhere
        if isinstance(combiner, AttentionCombiner):
            # The keys are those of the ends for every frame.
            for some in clip.split(slice_frames):
                some.copy_(combiner(some, own, len(some)))
        else:
            first, last = combiner.conv(own[0].transpose(0, 1))
            clip[0] += first
            clip[-1] += last


def _normalisation(norm: nn.GroupNorm, clip: torch.Tensor, slice_frames: int, alone: bool) -> _Layer:
    """A GroupNorm with the statistics of a whole clip (T, C, h, w), or of each frame `alone`; it takes parts of one."""
    statistics = _statistics_of_frames if alone else _statistics_of_clip
    variance, mean = statistics(clip, norm.num_groups, slice_frames)
    width = norm.num_channels // norm.num_groups
    scale = (variance + norm.eps).rsqrt().repeat_interleave(width, dim=1) * norm.weight.float()
    offset = norm.bias.float() - mean.repeat_interleave(width, dim=1) * scale

    def apply(part: torch.Tensor) -> torch.Tensor:
        values = part * scale[..., None, None]
        return values.add_(offset[..., None, None]).to(part.dtype)

    return apply


def _statistics_of_frames(clip: torch.Tensor, groups: int, slice_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Variance and mean (T, groups)."""
    parts = [
        torch.var_mean(some.float().unflatten(1, (groups, -1)), dim=(2, 3, 4), correction=0)
        for some in clip.split(slice_frames)
    ]
    return torch.cat([variance for variance, _ in parts]), torch.cat([mean for _, mean in parts])


def _statistics_of_clip(clip: torch.Tensor, groups: int, slice_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Variance and mean (1, groups): those of the parts joined as Chan, Golub and LeVeque (1979) do."""
    count = 0
    mean = spread = torch.zeros(groups, device=clip.device)
    for some in clip.split(slice_frames):
        values = some.float().unflatten(1, (groups, -1))
        own_variance, own_mean = torch.var_mean(values, dim=(0, 2, 3, 4), correction=0)
        own_count = values.numel() // groups
        total = count + own_count
        difference = own_mean - mean
        spread = spread + own_variance * own_count + difference.square() * (count * own_count / total)
        mean = mean + difference * (own_count / total)
        count = total
    return (spread / count)[None], mean[None]


def _over_time(conv: nn.Module, frames: torch.Tensor, num_frames: int) -> torch.Tensor:
    return clip_to_frames(conv(frames_to_clip(frames, num_frames)))


def _by_frames(layer: _Layer, frames: torch.Tensor, slice_frames: int) -> torch.Tensor:
    """Put what a layer makes of some of the frames in their place; it keeps their shape."""
    for some in frames.split(slice_frames):
        some.copy_(layer(some))
    return frames


def _rows(clip: torch.Tensor, slice_frames: int) -> Iterator[slice]:
    """Slices of rows with about as many elements of all frames as `slice_frames` frames have."""
    height = clip.shape[2]
    step = max(1, height * slice_frames // len(clip))
    for start in range(0, height, step):
        yield slice(start, start + step)
