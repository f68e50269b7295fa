"""Decoder of the temporal VAE: latents of a clip and the kept states of its two ends → frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from paintsundo.models.layers import SiLU, group_norm
from paintsundo.models.video_vae_blocks import (
    AttentionCombiner,
    ConvCombiner,
    MidBlock,
    Upsample,
    VideoConv,
    VideoResnetBlock,
)
from paintsundo.models.video_vae_slices import decode_in_slices


class Decoder(nn.Module):
    """Video blocks from the smallest level to level 0, merging the kept state of each level (ToonCrafter)."""

    def __init__(
        self,
        out_channels: int,
        channels: tuple[int, ...],
        stem_channels: int,
        num_res_blocks: int,
        z_channels: int,
        dropout: float,
        mid_attention: bool,
        norm_groups: int,
        combiner_levels: Sequence[int],
        combiner_heads: int,
        combiner_head_dim: int,
        ends: bool = False,
    ) -> None:
        super().__init__()
        self.slice_frames: int | None = None
        self.gradient_checkpointing = False
        self._gradient_checkpointing_func: Callable | None = None
        previous = channels[-1]
        self.conv_in = nn.Conv2d(z_channels, previous, 3, padding=1)
        block = partial(VideoResnetBlock, ends=ends)
        self.mid = MidBlock(block, previous, dropout, norm_groups, mid_attention)
        stages: list[nn.Module] = []
        for level, width in reversed(list(enumerate(channels))):
            stage = nn.Module()
            stage.block = nn.ModuleList(
                block(previous if i == 0 else width, width, dropout, norm_groups) for i in range(num_res_blocks + 1)
            )
            if level > 0:
                stage.upsample = Upsample(width)
            stages.insert(0, stage)
            previous = width
        self.up = nn.ModuleList(stages)  # by level: 0 is the full resolution
        self.attn_refinement = nn.ModuleList(
            AttentionCombiner(width, width, combiner_heads, combiner_head_dim, norm_groups)
            if level in combiner_levels
            else ConvCombiner(width, width)
            for level, width in enumerate(channels)
        )
        self.attn_refinement.append(ConvCombiner(stem_channels, previous))
        self.silu = SiLU()
        self.norm_out = group_norm(norm_groups, previous, eps=1e-6)
        self.conv_out = VideoConv(previous, out_channels, ends)

    def forward(self, latents: torch.Tensor, states: Sequence[torch.Tensor], num_frames: int) -> torch.Tensor:
        """(B·T, z, h, w), kept states (B, C, 2, H', W') as the encoder orders them → (B·T, 3, H, W)."""
        if self.slice_frames is not None and self.slice_frames < num_frames and not torch.is_grad_enabled():
            return decode_in_slices(self, latents, states, num_frames, self.slice_frames)
        hidden = self.conv_in(latents)
        hidden = self._run(self.mid, hidden, num_frames)
        for level in range(len(self.up) - 1, -1, -1):
            stage = self.up[level]
            for block in stage.block:
                hidden = self._run(block, hidden, num_frames)
            hidden = self._run(self.attn_refinement[level], hidden, states[level], num_frames)
            if level > 0:
                hidden = stage.upsample(hidden)
        hidden = self.silu(self.norm_out(hidden))
        hidden = self.attn_refinement[-1](hidden, states[-1], num_frames)
        return self.conv_out(hidden, num_frames)

    def _run(self, layer: nn.Module, *args: Any) -> torch.Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(layer, *args)  # type: ignore[misc]
        return layer(*args)
