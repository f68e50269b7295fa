"""Convolutional blocks of the 3D UNet."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from paintsundo.models import fused
from paintsundo.models.layers import (
    SiLU,
    clip_to_frames,
    frames_to_clip,
    frames_to_timeline,
    group_norm,
    temporal_conv,
    timeline_to_frames,
    zero_initialised,
)


class TemporalConvStack(nn.Module):
    """Four convolutions over time with one residual around them; starts as the identity."""

    def __init__(self, channels: int, norm_groups: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.fused = False

        def layer(drop: bool) -> nn.Sequential:
            layers: list[nn.Module] = [group_norm(norm_groups, channels, eps=1e-5), SiLU()]
            if drop:
                layers.append(nn.Dropout(dropout))
            return nn.Sequential(*layers, temporal_conv(channels, channels))

        self.conv1 = layer(drop=False)
        self.conv2 = layer(drop=True)
        self.conv3 = layer(drop=True)
        self.conv4 = layer(drop=True)
        zero_initialised(self.conv4[-1])

    def forward(self, frames: torch.Tensor, num_frames: int) -> torch.Tensor:
        """(B·T, C, h, w) → the same; GroupNorm statistics over T, h, w."""
        if fused.fast(self, frames):
            return self._fused(frames, num_frames)
        clip = self.conv4(self.conv3(self.conv2(self.conv1(frames_to_clip(frames, num_frames)))))
        return frames + clip_to_frames(clip)

    def _fused(self, frames: torch.Tensor, num_frames: int) -> torch.Tensor:
        timeline, bias = frames_to_timeline(frames, num_frames), None
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            shift = None if bias is None else bias[None]
            timeline, bias = fused.convolve(layer[-1], fused.normalise(layer[0], timeline, shift, silu=True))
        return fused.add(frames, timeline_to_frames(timeline, *frames.shape[-2:]), bias)


class ResBlock(nn.Module):
    """Residual block on frames with the embedding added, then (`temporal_conv`) convolutions over time."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embedding_dim: int,
        dropout: float,
        temporal_conv: bool,
        norm_groups: int,
    ) -> None:
        super().__init__()
        self.fused = False
        self.in_layers = nn.Sequential(
            group_norm(norm_groups, in_channels, eps=1e-5),
            SiLU(),
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding_dim, out_channels))
        self.out_layers = nn.Sequential(
            group_norm(norm_groups, out_channels, eps=1e-5),
            SiLU(),
            nn.Dropout(dropout),
            zero_initialised(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        self.skip_connection = (
            nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, kernel_size=1)
        )
        # Blocks differ in their input channels, hardly in their convolutions over time: compiled as a unit of its own,
        # one translation of these serves all blocks of a level. Set where blocks are compiled one by one.
        self.compiled_in_two = False
        # So spelled in the published weights.
        self.temopral_conv = TemporalConvStack(out_channels, norm_groups) if temporal_conv else None

    def forward(self, frames: torch.Tensor, embedding: torch.Tensor, num_frames: int) -> torch.Tensor:
        """(B·T, C, h, w), embedding (B, E), the same for all frames of a clip → (B·T, C', h, w)."""
        if fused.fast(self, frames):
            hidden = self._fused(frames, embedding)
        else:
            shift = self.emb_layers(embedding).repeat_interleave(num_frames, dim=0)[..., None, None]
            hidden = self.out_layers(self.in_layers(frames) + shift)
            hidden = self.skip_connection(frames) + hidden
        if self.temopral_conv is None:
            return hidden
        if self.compiled_in_two:
            torch._dynamo.graph_break()
        return self.temopral_conv(hidden, num_frames)

    def _fused(self, frames: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        norm_in, _, conv_in = self.in_layers
        norm_out, _, _, conv_out = self.out_layers
        hidden, bias = fused.convolve(conv_in, fused.normalise(norm_in, frames, silu=True))
        shift = self.emb_layers(embedding)
        shift = shift if bias is None else shift + bias
        hidden, bias = fused.convolve(conv_out, fused.normalise(norm_out, hidden, shift, silu=True))
        return fused.add(fused.pointwise(self.skip_connection, frames), hidden, bias)


class Downsample(nn.Module):
    """Half the height and width by a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.op(frames)


class Upsample(nn.Module):
    """Nearest neighbour to the size of the next skip (twice its own, or one less), then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fused = False
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, frames: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        doubled = size == (2 * frames.shape[-2], 2 * frames.shape[-1])
        if doubled and fused.can_upsample(self, self.conv, frames):
            return fused.upsample_convolve(self.conv, frames)
        return self.conv(F.interpolate(frames, size=size, mode="nearest"))
