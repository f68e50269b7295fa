"""The image projection: tokens of two frames → a set of image embeddings for every frame of the clip."""

from __future__ import annotations

from typing import ClassVar

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from paintsundo.errors import UserError
from paintsundo.models.attention import AttentionBackend, attend
from paintsundo.models.gradient_checkpointing import GradientCheckpointingMixin
from paintsundo.models.official_layout import OfficialLayoutMixin


class PerceiverAttention(nn.Module):
    """Learned latents attend to the input and to themselves (Flamingo, Alayrac et al. 2022)."""

    def __init__(self, dim: int, heads: int, dim_head: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_backend: AttentionBackend = "sdpa"
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, heads * dim_head, bias=False)
        self.to_kv = nn.Linear(dim, 2 * heads * dim_head, bias=False)
        self.to_out = nn.Linear(heads * dim_head, dim, bias=False)

    def forward(self, x: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """(B, n, dim), (B, m, dim) → (B, m, dim)."""
        x, latents = self.norm1(x), self.norm2(latents)
        key, value = self.to_kv(torch.cat([x, latents], dim=1)).chunk(2, dim=-1)
        return self.to_out(attend(self.to_q(latents), key, value, self.heads, self.attention_backend))


class PerceiverLayer(nn.ModuleList):
    """`PerceiverAttention`, then a feed-forward network; both residual."""

    def __init__(self, dim: int, heads: int, dim_head: int, ff_mult: int) -> None:
        feed_forward = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, ff_mult * dim, bias=False),
            nn.GELU(),
            nn.Linear(ff_mult * dim, dim, bias=False),
        )
        super().__init__([PerceiverAttention(dim, heads, dim_head), feed_forward])

    def forward(self, x: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """(B, n, dim), (B, m, dim) → (B, m, dim)."""
        attention, feed_forward = self
        latents = latents + attention(x, latents)
        return latents + feed_forward(latents)


class ImageProjection(OfficialLayoutMixin, GradientCheckpointingMixin, ModelMixin, ConfigMixin):
    """Perceiver of learned queries, `num_queries` for each frame of the clip.

    Args:
        dim: width inside.
        depth: layers.
        dim_head: width of a head.
        heads: their number.
        num_queries: embeddings for each frame.
        embedding_dim: width of the tokens given.
        output_dim: width of the embeddings returned.
        ff_mult: inner width of the feed-forward networks, in `dim`.
        video_length: frames of the clip.
        input_frames_length: frames used: 2, as published, or 1, the first (finished) one alone.
    """

    config_name = "config.json"
    weights_file = "model.safetensors"
    _repeated_blocks: ClassVar[list[str]] = ["PerceiverLayer"]
    _no_split_modules: ClassVar[list[str]] = ["PerceiverLayer"]

    @register_to_config
    def __init__(
        self,
        dim: int = 1024,
        depth: int = 4,
        dim_head: int = 64,
        heads: int = 12,
        num_queries: int = 16,
        embedding_dim: int = 1280,
        output_dim: int = 1024,
        ff_mult: int = 4,
        video_length: int = 16,
        input_frames_length: int = 2,
    ) -> None:
        super().__init__()
        if input_frames_length not in (1, 2):
            raise UserError(f"input_frames_length cannot be {input_frames_length}: a clip has 1 or 2 known frames")
        self.gradient_checkpointing = False
        self.latents = nn.Parameter(torch.randn(1, num_queries * video_length, dim) * dim**-0.5)
        self.input_pos = nn.Parameter(torch.randn(1, input_frames_length, 1, embedding_dim) * embedding_dim**-0.5)
        self.proj_in = nn.Linear(embedding_dim, dim)
        self.proj_out = nn.Linear(dim, output_dim)
        self.norm_out = nn.LayerNorm(output_dim)
        self.layers = nn.ModuleList(PerceiverLayer(dim, heads, dim_head, ff_mult) for _ in range(depth))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Project.

        Args:
            tokens: of CLIP-Vision, (B, F, n, embedding_dim); of the F frames the first `input_frames_length` are used.

        Returns:
            (B, video_length, num_queries, output_dim).

        Raises:
            ValueError: there are fewer frames.
        """
        used = self.config["input_frames_length"]
        if tokens.shape[1] < used:
            raise ValueError(f"tokens of {tokens.shape[1]} frame, and {used} are projected")
        tokens = tokens[:, :used]
        x = self.proj_in((tokens + self.input_pos).flatten(1, 2))
        latents = self.latents.expand(x.shape[0], -1, -1)
        for layer in self.layers:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                latents = self._gradient_checkpointing_func(layer, x, latents)
            else:
                latents = layer(x, latents)
        embeddings = self.norm_out(self.proj_out(latents))
        return embeddings.unflatten(1, (self.config["video_length"], -1))
