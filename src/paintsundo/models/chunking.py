"""Feed-forward layers on some of the tokens at a time: their inner activations are the widest of a transformer."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.attention import FeedForward
from torch import nn


def set_feed_forward_chunks(network: nn.Module, elements: int | None) -> None:
    """Have the feed-forward layers of a network compute no more than some inner elements at once, in place.

    Each token goes through these layers alone: the results are the same up to rounding.

    Args:
        network: any network with diffusers' `FeedForward` layers; layers of derived classes are left alone.
        elements: most inner activations of a layer at once (tokens × inner width); None for all tokens at once.
    """
    for module in network.modules():
        if type(module) in (FeedForward, ChunkedFeedForward):
            module.__class__ = FeedForward if elements is None else ChunkedFeedForward
            module.chunk_elements = elements


class ChunkedFeedForward(FeedForward):
    """`FeedForward` that computes at most `chunk_elements` inner activations at once where no gradient is wanted."""

    chunk_elements: int

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(…, C) → (…, C)."""
        tokens = hidden_states.flatten(0, -2)
        rows = max(1, self.chunk_elements // self._inner_width())
        if rows >= len(tokens) or torch.is_grad_enabled():
            return super().forward(hidden_states, *args, **kwargs)
        out = torch.empty_like(tokens)
        for start in range(0, len(tokens), rows):
            out[start : start + rows] = super().forward(tokens[start : start + rows], *args, **kwargs)
        return out.view_as(hidden_states)

    def _inner_width(self) -> int:
        first = self.net[0]
        return first.proj.out_features if hasattr(first, "proj") else self.net[-1].in_features
