"""Layers of diffusers' UNet of pictures for guided sampling; the same results, up to rounding, with less work.

Both halves of guidance differ by their words alone. A network whose layers have these forms may be given more rows of
words than of pictures, k for each: what lies before the first cross-attention is computed once for all k. Instead of
words it takes their keys and values (`ContextKeys`), which are the same at every step; queries, keys and values of
self-attention are one product.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.unets.unet_2d_blocks import CrossAttnUpBlock2D, UpBlock2D
from torch import nn
from torch.nn import functional as F

from paintsundo.models import fused
from paintsundo.models.attention import attend
from paintsundo.models.context_keys import ContextKeys
from paintsundo.models.layers import repeated


def use_picture_forms(network: nn.Module) -> None:
    """Let the layers of a network that have a form here use it, in place; weights and names stay.

    Layers of other classes, derived ones included, are left alone. To be called after `use_channels_last`, whose forms
    of diffusers' other blocks know of repeated rows.
    """
    for module in network.modules():
        for form in (SharedAttention, RepeatingTransformerBlock, RepeatingCrossAttnUpBlock2D, RepeatingUpBlock2D):
            if type(module) is form.__bases__[0]:
                module.__class__ = form


class SharedAttention(Attention):
    """diffusers' attention that takes keys and values known beforehand."""

    fused = False

    def takes_keys(self) -> bool:
        """Whether this is cross-attention that adds nothing to projections and PyTorch's fused attention."""
        return self.is_cross_attention and self._plain()

    def project_context(self, words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values (B, n, C) of words (B, n, D)."""
        return self.to_k(words), self.to_v(words)

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | ContextKeys | None = None,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Tokens (B, n, C), words (B, m, D) or what is known of them, or None for self-attention → (B, n, C)."""
        if isinstance(encoder_hidden_states, ContextKeys):
            query = self.to_q(hidden_states)
            key, value = encoder_hidden_states.of(self)
        else:
            weight = None
            alone = encoder_hidden_states is None and attention_mask is None and hidden_states.dim() == 3
            if self.fused and alone and not torch.is_grad_enabled() and self._plain():
                weight = fused.joined_weight([self.to_q, self.to_k, self.to_v])
            if weight is None:
                return super().forward(hidden_states, encoder_hidden_states, attention_mask, **kwargs)
            query, key, value = F.linear(hidden_states, weight).chunk(3, dim=-1)
        return self.to_out[1](self.to_out[0](attend(query, key, value, self.heads)))

    def _plain(self) -> bool:
        norms = (self.group_norm, self.spatial_norm, self.norm_cross, self.norm_q, self.norm_k)
        return (
            type(self.processor) is AttnProcessor2_0
            and all(norm is None or norm is False for norm in norms)
            and not self.residual_connection
            and self.rescale_output_factor == 1
            and not torch.compiler.is_compiling()
        )


class RepeatingTransformerBlock(BasicTransformerBlock):
    """diffusers' transformer block; tokens with k times as many rows of words are repeated before they see them."""

    fused = False

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        encoder_hidden_states: torch.Tensor | ContextKeys | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Tokens (B, n, C), words (B or k·B, m, D) → (B or k·B, n, C)."""
        rows = len(hidden_states) if encoder_hidden_states is None else len(encoder_hidden_states)
        other = self.only_cross_attention or self.norm_type != "layer_norm"
        if other or (rows == len(hidden_states) and not self._plain(hidden_states, attention_mask, *args, **kwargs)):
            tokens = repeated(hidden_states, rows)
            return super().forward(tokens, attention_mask, encoder_hidden_states, *args, **kwargs)
        tokens, normed = fused.add_norm(self, self.norm1, hidden_states)
        tokens, normed = fused.add_norm(self, self.norm2, tokens, self.attn1(normed))
        tokens, normed = repeated(tokens, rows), repeated(normed, rows)
        branch = self.attn2(normed, encoder_hidden_states=encoder_hidden_states)
        tokens, normed = fused.add_norm(self, self.norm3, tokens, branch)
        del branch
        return tokens + self.ff(normed)

    def _plain(self, tokens: torch.Tensor, *masks: Any, **options: Any) -> bool:
        """Whether norms may go through `fused.add_norm`: two attentions and a feed-forward, nothing else asked for."""
        return (
            self.attn2 is not None
            and self.pos_embed is None
            and self._chunk_size is None
            and tokens.dim() == 3
            and all(mask is None for mask in masks)
            and options.get("encoder_attention_mask") is None
            and not options.get("cross_attention_kwargs")
            and fused.norms_tokens(self, self.norm1, tokens)
        )


class RepeatingCrossAttnUpBlock2D(CrossAttnUpBlock2D):
    """diffusers' block, some of whose skips may have fewer rows: those from before the first cross-attention."""

    def forward(
        self, hidden_states: torch.Tensor, res_hidden_states_tuple: tuple[torch.Tensor, ...], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """(k·B, C, h, w), skips (B or k·B, …) → (k·B, C', …)."""
        skips = tuple(repeated(skip, len(hidden_states)) for skip in res_hidden_states_tuple)
        return super().forward(hidden_states, skips, *args, **kwargs)


class RepeatingUpBlock2D(UpBlock2D):
    """The same without attention."""

    def forward(
        self, hidden_states: torch.Tensor, res_hidden_states_tuple: tuple[torch.Tensor, ...], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """(k·B, C, h, w), skips (B or k·B, …) → (k·B, C', …)."""
        skips = tuple(repeated(skip, len(hidden_states)) for skip in res_hidden_states_tuple)
        return super().forward(hidden_states, skips, *args, **kwargs)
