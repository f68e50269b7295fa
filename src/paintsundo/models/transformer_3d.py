"""Spatial and temporal transformers of the 3D UNet."""

from __future__ import annotations

import torch
from diffusers.models.attention import FeedForward
from torch import nn

from paintsundo.models import fused
from paintsundo.models.attention import Attention, TextImageAttention
from paintsundo.models.attention_window import AttentionWindow
from paintsundo.models.context_keys import ContextKeys
from paintsundo.models.layers import (
    clip_to_frames,
    frames_to_clip,
    frames_to_timeline,
    group_norm,
    repeated,
    timeline_to_frames,
    zero_initialised,
)


class SpatialTransformerBlock(nn.Module):
    """Self-attention in a frame (and its window), attention to text and image, feed-forward; all residual."""

    def __init__(
        self,
        dim: int,
        heads: int,
        head_dim: int,
        context_dim: int,
        image_context: bool,
        learnable_image_scale: bool,
    ) -> None:
        super().__init__()
        self.fused = False
        self.attn1 = Attention(dim, heads, head_dim)
        self.attn2 = TextImageAttention(dim, heads, head_dim, context_dim, image_context, learnable_image_scale)
        self.ff = FeedForward(dim, activation_fn="geglu")
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)

    def forward(
        self,
        tokens: torch.Tensor,
        text: torch.Tensor | ContextKeys,
        image: torch.Tensor | None,
        window: AttentionWindow,
        num_frames: int,
    ) -> torch.Tensor:
        """(B·T, h·w, dim), text (B, 77, C), image (B·T, L, C) → (B·T, h·w, dim).

        Where there are k times as many rows of text (and image) as of clips, all clips are repeated k times.
        """
        tokens, normed = fused.add_norm(self, self.norm1, tokens)
        tokens, normed = fused.add_norm(
            self, self.norm2, tokens, self.attn1(normed, window=window, num_frames=num_frames)
        )
        # From here on clips differ that are the same but for their words.
        rows = len(text) * num_frames
        tokens, normed = repeated(tokens, rows), repeated(normed, rows)
        tokens, normed = fused.add_norm(self, self.norm3, tokens, self.attn2(normed, text, image))
        return tokens + self.ff(normed)


class TemporalTransformerBlock(nn.Module):
    """Twice self-attention over time, then feed-forward; each residual."""

    def __init__(self, dim: int, heads: int, head_dim: int, causal: bool) -> None:
        super().__init__()
        self.fused = False
        self.attn1 = Attention(dim, heads, head_dim, causal=causal)
        self.attn2 = Attention(dim, heads, head_dim, causal=causal)
        self.ff = FeedForward(dim, activation_fn="geglu")
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B·h·w, T, dim), or (B, T, h·w, dim) without moving anything → the same."""
        attend1, attend2 = (x.over_time if tokens.dim() == 4 else x for x in (self.attn1, self.attn2))
        tokens, normed = fused.add_norm(self, self.norm1, tokens)
        tokens, normed = fused.add_norm(self, self.norm2, tokens, attend1(normed))
        tokens, normed = fused.add_norm(self, self.norm3, tokens, attend2(normed))
        return tokens + self.ff(normed)


class SpatialTransformer(nn.Module):
    """Transformer over the positions of each frame, residual; starts as the identity."""

    def __init__(
        self,
        channels: int,
        heads: int,
        head_dim: int,
        depth: int,
        context_dim: int,
        image_context: bool,
        learnable_image_scale: bool,
        norm_groups: int,
    ) -> None:
        super().__init__()
        inner_dim = heads * head_dim
        self.fused = False
        self.norm = group_norm(norm_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, inner_dim)
        self.transformer_blocks = nn.ModuleList(
            SpatialTransformerBlock(inner_dim, heads, head_dim, context_dim, image_context, learnable_image_scale)
            for _ in range(depth)
        )
        self.proj_out = zero_initialised(nn.Linear(inner_dim, channels))

    def forward(
        self,
        frames: torch.Tensor,
        text: torch.Tensor | ContextKeys,
        image: torch.Tensor | None,
        window: AttentionWindow,
        num_frames: int,
    ) -> torch.Tensor:
        """(B·T, C, h, w), text (B, 77, D), image (B·T, L, D) → (B·T, C, h, w)."""
        height, width = frames.shape[-2:]
        normed = fused.normalise(self.norm, frames) if fused.fast(self, frames) else self.norm(frames)
        tokens = self.proj_in(normed.flatten(2).transpose(1, 2))
        for block in self.transformer_blocks:
            tokens = block(tokens, text, image, window, num_frames)
        added = self.proj_out(tokens).transpose(1, 2).unflatten(2, (height, width))
        return repeated(frames, len(added)) + added


class PointwiseConv1d(nn.Conv1d):
    """A linear map of tokens whose weight is stored as that of a `Conv1d` of kernel 1."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, n, C) → (B, n, C')."""
        return nn.functional.linear(tokens, self.weight.squeeze(-1), self.bias)


class TemporalTransformer(nn.Module):
    """Transformer over time at each position, residual."""

    def __init__(
        self,
        channels: int,
        heads: int,
        head_dim: int,
        depth: int,
        norm_groups: int,
        causal: bool = False,
        pointwise_conv: bool = False,
    ) -> None:
        super().__init__()
        inner_dim = heads * head_dim

        def projection(in_dim: int, out_dim: int) -> nn.Module:
            return PointwiseConv1d(in_dim, out_dim, kernel_size=1) if pointwise_conv else nn.Linear(in_dim, out_dim)

        self.fused = False
        self.norm = group_norm(norm_groups, channels, eps=1e-6)
        self.proj_in = projection(channels, inner_dim)
        self.transformer_blocks = nn.ModuleList(
            TemporalTransformerBlock(inner_dim, heads, head_dim, causal) for _ in range(depth)
        )
        self.proj_out = projection(inner_dim, channels)

    def forward(self, frames: torch.Tensor, num_frames: int) -> torch.Tensor:
        """(B·T, C, h, w) → the same."""
        if fused.fast(self, frames):
            return self._fused(frames, num_frames)
        clip = self.norm(frames_to_clip(frames, num_frames))  # statistics over T, h, w
        batch, channels, _, height, width = clip.shape
        tokens = self.proj_in(clip.permute(0, 3, 4, 2, 1).reshape(-1, num_frames, channels))
        for block in self.transformer_blocks:
            tokens = block(tokens)
        clip = self.proj_out(tokens).view(batch, height, width, num_frames, channels).permute(0, 4, 3, 1, 2)
        return frames + clip_to_frames(clip)

    def _fused(self, frames: torch.Tensor, num_frames: int) -> torch.Tensor:
        timeline = fused.normalise(self.norm, frames_to_timeline(frames, num_frames))  # statistics over T, h, w
        tokens = self.proj_in(timeline.permute(0, 2, 3, 1))
        for block in self.transformer_blocks:
            tokens = block(tokens)
        timeline = self.proj_out(tokens).permute(0, 3, 1, 2)
        return frames + timeline_to_frames(timeline, *frames.shape[-2:])
