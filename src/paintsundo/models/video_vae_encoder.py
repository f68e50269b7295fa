"""Encoder of the temporal VAE: frame by frame, keeping the states that the decoder refers to."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from paintsundo.models.layers import SiLU, group_norm, stack_ends
from paintsundo.models.video_vae_blocks import Downsample, MidBlock, ResnetBlock


class Encoder(nn.Module):
    """Frames → moments (2·z channels) and the states of every level."""

    def __init__(
        self,
        in_channels: int,
        channels: tuple[int, ...],
        stem_channels: int,
        num_res_blocks: int,
        z_channels: int,
        dropout: float,
        mid_attention: bool,
        norm_groups: int,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = False
        self._gradient_checkpointing_func: Callable | None = None
        self.conv_in = nn.Conv2d(in_channels, stem_channels, 3, padding=1)
        self.down = nn.ModuleList()
        previous = stem_channels
        for level, width in enumerate(channels):
            stage = nn.Module()
            stage.block = nn.ModuleList(
                ResnetBlock(previous if i == 0 else width, width, dropout, norm_groups) for i in range(num_res_blocks)
            )
            if level < len(channels) - 1:
                stage.downsample = Downsample(width)
            self.down.append(stage)
            previous = width
        self.mid = MidBlock(ResnetBlock, previous, dropout, norm_groups, mid_attention)
        self.silu = SiLU()
        self.norm_out = group_norm(norm_groups, previous, eps=1e-6)
        self.conv_out = nn.Conv2d(previous, 2 * z_channels, 3, padding=1)

    def forward(self, frames: torch.Tensor, num_frames: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """(B·T, 3, H, W) → moments (B·T, 2·z, h, w); states (B, C, 2, H', W') of the first and last frame.

        The states are the output of each level before its downsampling, level 0 first, then `conv_in`'s.
        """
        hidden = self.conv_in(frames)
        stem = _ends(hidden, num_frames)
        states = []
        for stage in self.down:
            for block in stage.block:
                hidden = self._run(block, hidden)
            states.append(_ends(hidden, num_frames))
            if hasattr(stage, "downsample"):
                hidden = stage.downsample(hidden)
        hidden = self._run(self.mid, hidden)
        return self.conv_out(self.silu(self.norm_out(hidden))), [*states, stem]

    def _run(self, layer: nn.Module, *args: torch.Tensor) -> torch.Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(layer, *args)  # type: ignore[misc]
        return layer(*args)


def _ends(frames: torch.Tensor, num_frames: int) -> torch.Tensor:
    """(B·T, C, h, w) → first and last frame (B, C, 2, h, w), a copy that does not hold the other frames."""
    clip = frames.unflatten(0, (-1, num_frames))
    return stack_ends(clip[:, 0], clip[:, -1])
