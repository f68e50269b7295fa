"""Blocks of the temporal VAE (those of the Stable Diffusion VAE; ToonCrafter's additions for clips)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from paintsundo.models import fused
from paintsundo.models.attention import Attention, AttentionBackend, attend
from paintsundo.models.layers import (
    SiLU,
    clip_to_frames,
    frames_to_clip,
    frames_to_timeline,
    group_norm,
    is_channels_last,
    temporal_conv,
    timeline_to_frames,
)


def layout_of(x: torch.Tensor) -> torch.memory_format:
    """How activations (N, C, h, w) lie in memory."""
    return torch.channels_last if is_channels_last(x) else torch.contiguous_format


def by_slices(
    layer: Callable[[torch.Tensor], torch.Tensor], frames: torch.Tensor, slice_frames: int | None
) -> torch.Tensor:
    """Apply a layer that sees each frame alone; without gradients, to a few of the (N, C, h, w) at a time.

    The results are the same up to rounding; only a few frames' inner activations are held at once.
    """
    if slice_frames is None or slice_frames >= frames.shape[0] or torch.is_grad_enabled():
        return layer(frames)
    first = layer(frames[:slice_frames])
    # In the layout of the parts.
    out = torch.empty_like(first[:1].expand(frames.shape[0], -1, -1, -1), memory_format=layout_of(first))
    out[:slice_frames] = first
    for start in range(slice_frames, frames.shape[0], slice_frames):
        out[start : start + slice_frames] = layer(frames[start : start + slice_frames])
    return out


class ResnetBlock(nn.Module):
    """(GroupNorm, SiLU, convolution) twice, residual."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float, norm_groups: int) -> None:
        super().__init__()
        self.norm1 = group_norm(norm_groups, in_channels, eps=1e-6)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = group_norm(norm_groups, out_channels, eps=1e-6)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.nin_shortcut = None if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)
        self.silu = SiLU()
        self.fused = False
        self.slice_frames: int | None = None

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) → (N, C', h, w)."""
        return by_slices(self._block, frames, self.slice_frames)

    def _block(self, frames: torch.Tensor) -> torch.Tensor:
        if fused.fast(self, frames):
            hidden, bias = fused.convolve(self.conv1, fused.normalise(self.norm1, frames, silu=True))
            shift = None if bias is None else bias[None]
            hidden, bias = fused.convolve(self.conv2, fused.normalise(self.norm2, hidden, shift, silu=True))
            skip = frames if self.nin_shortcut is None else fused.pointwise(self.nin_shortcut, frames)
            return fused.add(skip, hidden, bias)
        hidden = self.conv1(self.silu(self.norm1(frames)))
        hidden = self.conv2(self.dropout(self.silu(self.norm2(hidden))))
        return hidden + (frames if self.nin_shortcut is None else self.nin_shortcut(frames))


class VideoResnetBlock(ResnetBlock):
    """`ResnetBlock` on frames, then convolutions over time, mixed in by sigmoid(`mix_factor`).

    With `ends` those are `EndsConv`, and each frame is normalised alone.
    """

    def __init__(
        self, in_channels: int, out_channels: int, dropout: float, norm_groups: int, ends: bool = False
    ) -> None:
        super().__init__(in_channels, out_channels, dropout, norm_groups)
        self.ends = ends
        self.time_stack = nn.ModuleDict(
            {
                "in_layers": nn.Sequential(
                    group_norm(norm_groups, out_channels, eps=1e-5),
                    SiLU(),
                    temporal_conv(out_channels, out_channels, ends),
                ),
                "out_layers": nn.Sequential(
                    group_norm(norm_groups, out_channels, eps=1e-5),
                    SiLU(),
                    nn.Dropout(dropout),
                    temporal_conv(out_channels, out_channels, ends),
                ),
            }
        )
        self.mix_factor = nn.Parameter(torch.zeros(1))

    def forward(self, frames: torch.Tensor, num_frames: int) -> torch.Tensor:  # type: ignore[override]
        """(B·T, C, h, w) → (B·T, C', h, w)."""
        frames = super().forward(frames)
        if fused.fast(self, frames):
            return self._fused_over_time(frames, num_frames)
        hidden = frames if self.ends else frames_to_clip(frames, num_frames)
        for name in ("in_layers", "out_layers"):
            *before, conv = self.time_stack[name]
            for layer in before:
                hidden = layer(hidden)
            hidden = clip_to_frames(conv(frames_to_clip(hidden, num_frames))) if self.ends else conv(hidden)
        # a·(x + stack(x)) + (1 − a)·x
        return frames + self.mix_factor.sigmoid() * (hidden if self.ends else clip_to_frames(hidden))

    def _fused_over_time(self, frames: torch.Tensor, num_frames: int) -> torch.Tensor:
        timeline, bias = frames_to_timeline(frames, num_frames), None
        for layers in (self.time_stack["in_layers"], self.time_stack["out_layers"]):
            shift = None if bias is None else bias[None]
            if self.ends:  # statistics of each frame
                alone = timeline_to_frames(timeline, *frames.shape[-2:])
                timeline = frames_to_timeline(fused.normalise(layers[0], alone, shift, silu=True), num_frames)
            else:
                timeline = fused.normalise(layers[0], timeline, shift, silu=True)
            timeline, bias = fused.convolve(layers[-1], timeline)
        return fused.add(frames, timeline_to_frames(timeline, *frames.shape[-2:]), bias, self.mix_factor.sigmoid())


class AttnBlock(nn.Module):
    """Self-attention of one head over the positions of a frame, residual."""

    def __init__(self, channels: int, norm_groups: int) -> None:
        super().__init__()
        self.attention_backend: AttentionBackend = "sdpa"
        self.norm = group_norm(norm_groups, channels, eps=1e-6)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)
        self.slice_frames: int | None = None

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) → the same."""
        return by_slices(self._block, frames, self.slice_frames)

    def _block(self, frames: torch.Tensor) -> torch.Tensor:
        normed = self.norm(frames)
        query, key, value = (conv(normed).flatten(2).transpose(1, 2) for conv in (self.q, self.k, self.v))
        out = attend(query, key, value, heads=1, backend=self.attention_backend)
        return frames + self.proj_out(out.transpose(1, 2).unflatten(2, frames.shape[-2:]))


class Downsample(nn.Module):
    """Pad right and bottom by one, then a strided convolution without padding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.conv(F.pad(frames, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Nearest neighbour to twice the size, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.fused = False
        self.slice_frames: int | None = None

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return by_slices(self._block, frames, self.slice_frames)

    def _block(self, frames: torch.Tensor) -> torch.Tensor:
        if fused.can_upsample(self, self.conv, frames):
            return fused.upsample_convolve(self.conv, frames)
        return self.conv(F.interpolate(frames, scale_factor=2.0, mode="nearest"))


class MidBlock(nn.Module):
    """Block, attention, block at the smallest resolution."""

    def __init__(
        self, block: Callable[..., ResnetBlock], channels: int, dropout: float, norm_groups: int, attention: bool
    ) -> None:
        super().__init__()
        self.block_1 = block(channels, channels, dropout, norm_groups)
        self.attn_1 = AttnBlock(channels, norm_groups) if attention else None
        self.block_2 = block(channels, channels, dropout, norm_groups)

    def forward(self, frames: torch.Tensor, *num_frames: int) -> torch.Tensor:
        """(N, C, h, w) → the same; `num_frames` where the blocks are those for clips."""
        frames = self.block_1(frames, *num_frames)
        if self.attn_1 is not None:
            frames = self.attn_1(frames)
        return self.block_2(frames, *num_frames)


class ConvCombiner(nn.Module):
    """Add a 1×1 convolution of the kept states of the first and last frame to those frames."""

    def __init__(self, state_channels: int, channels: int) -> None:
        super().__init__()
        self.fused = False
        self.conv = nn.Conv2d(state_channels, channels, 1)

    def forward(self, frames: torch.Tensor, state: torch.Tensor, num_frames: int) -> torch.Tensor:
        """(B·T, C, h, w), kept state (B, C', 2, h, w) → (B·T, C, h, w)."""
        batch = state.shape[0]
        added = self.conv(state.transpose(1, 2).flatten(0, 1))
        if fused.fast(self, frames):
            # In place: the frames are a fresh result of the layer before. `index_add` would change their layout.
            clips = frames.unflatten(0, (batch, num_frames))
            clips[:, 0] += added[0::2]
            clips[:, -1] += added[1::2]
            return frames
        # Out of place, so that gradients flow through both.
        first = torch.arange(batch, device=frames.device) * num_frames
        ends = torch.stack([first, first + num_frames - 1], dim=1).flatten()
        return frames.index_add(0, ends, added.to(frames.dtype))  # under autocast the two may differ


class AttentionCombiner(Attention):
    """Attention of all frames' tokens to the kept states of the first and last frame, residual."""

    def __init__(self, state_channels: int, channels: int, heads: int, head_dim: int, norm_groups: int) -> None:
        super().__init__(channels, heads, head_dim, context_dim=state_channels)
        self.norm = group_norm(norm_groups, channels, eps=1e-6)

    def forward(  # type: ignore[override]
        self, frames: torch.Tensor, state: torch.Tensor, num_frames: int
    ) -> torch.Tensor:
        """(B·T, C, h, w), kept state (B, C', 2, h, w) → (B·T, C, h, w)."""
        height, width = frames.shape[-2:]
        normed = fused.normalise(self.norm, frames) if fused.fast(self, frames) else self.norm(frames)
        tokens = normed.flatten(2).transpose(1, 2)  # (B·T, h·w, C)
        # The keys are the same for all frames of a clip: its tokens are one sequence of T·h·w queries.
        clip = tokens.reshape(state.shape[0], -1, tokens.shape[-1])
        out = super().forward(clip, state.flatten(2).transpose(1, 2)).view_as(tokens)
        return frames + out.transpose(1, 2).unflatten(2, (height, width))


class VideoConv(nn.Conv2d):
    """A convolution of frames, then one over time (`time_mix_conv`)."""

    def __init__(self, in_channels: int, out_channels: int, ends: bool = False) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1)
        self.fused = False
        self.time_mix_conv = temporal_conv(out_channels, out_channels, ends)

    def forward(self, frames: torch.Tensor, num_frames: int) -> torch.Tensor:  # type: ignore[override]
        """(B·T, C, h, w) → (B·T, C', h, w)."""
        frames = super().forward(frames)
        if fused.fast(self, frames):
            timeline = self.time_mix_conv(frames_to_timeline(frames, num_frames))
            return timeline_to_frames(timeline, *frames.shape[-2:])
        clip = self.time_mix_conv(frames_to_clip(frames, num_frames))
        return clip_to_frames(clip)
