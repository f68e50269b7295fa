"""Spatial self-attention over fewer tokens: the most alike are merged before it and get the same result after it.

Token merging for diffusion models (Bolya and Hoffman 2023): one token of each 2 × 2 is a destination; each of the
others finds the destination that is most like it, and those with the best matches go into theirs, which becomes the
mean. Here the destination is the same corner every time, nothing is drawn at random, and all frames of a clip merge the
same places, those that are most alike in all of them: otherwise what stands still in a film would not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from paintsundo.models.resblock_3d import Downsample, Upsample
from paintsundo.models.transformer_3d import SpatialTransformer
from paintsundo.models.unet_3d import UNet3DModel

# Likenesses held at once, 32 MiB in float16: what the memory planner's reserve covers.
_MOST_SCORES = 2**24


class Merge:
    """Which tokens of pictures go into which.

    Args:
        tokens: (B·T, h·w, C), T fastest.
        size: (h, w).
        share: of all tokens, how many are merged into others; at most all that are no destinations.
        frames: T.
    """

    def __init__(self, tokens: Tensor, size: tuple[int, int], share: float, frames: int = 1) -> None:
        height, width = size
        place = torch.arange(height * width, device=tokens.device).view(height, width)
        self.destinations = place[::2, ::2].flatten()
        corners = [place[::2, 1::2], place[1::2, ::2], place[1::2, 1::2]]
        self.others = torch.cat([corner.flatten() for corner in corners])
        self.count = min(int(share * height * width), len(self.others))
        # One row a clip: products of all its frames are summed.
        unit = F.normalize(tokens, dim=-1).unflatten(0, (-1, frames)).transpose(1, 2).flatten(2)
        rows = max(1, _MOST_SCORES // max(1, len(self.others) * len(self.destinations)))
        found = [self._likest(some) for some in unit.split(rows)]
        likeness, target = (torch.cat(parts) for parts in zip(*found, strict=True))
        order = likeness.argsort(dim=1, descending=True, stable=True)
        target = target.gather(1, order[:, : self.count]).repeat_interleave(frames, dim=0)
        order = order.repeat_interleave(frames, dim=0)
        self.gone, self.staying = order[:, : self.count], order[:, self.count :]  # of the others
        self.target = target  # of the destinations

    def merge(self, tokens: Tensor) -> Tensor:
        """(B, h·w, C) → (B, h·w − count, C): destinations with what went into them, then the others that stay."""
        kept, others = tokens[:, self.destinations], tokens[:, self.others]
        target = _wide(self.target, tokens)
        # Sums of differences: tokens that are equal stay as they are, whatever number type this is.
        added = others.gather(1, _wide(self.gone, tokens)) - kept.gather(1, target)
        sums = torch.zeros_like(kept).scatter_add(1, target, added)
        counts = torch.ones_like(kept[..., :1]).scatter_add(1, target[..., :1], torch.ones_like(added[..., :1]))
        return torch.cat([kept + sums / counts, others.gather(1, _wide(self.staying, tokens))], dim=1)

    def unmerge(self, merged: Tensor) -> Tensor:
        """(B, h·w − count, C) → (B, h·w, C): merged tokens get what their destination got."""
        first = len(self.destinations)
        source = torch.empty(len(merged), first + len(self.others), dtype=torch.long, device=merged.device)
        source[:, self.destinations] = torch.arange(first, device=merged.device)
        after = torch.arange(first, merged.shape[1], device=merged.device).expand_as(self.staying)
        source.scatter_(1, self.others[self.staying], after)
        source.scatter_(1, self.others[self.gone], self.target)
        return merged.gather(1, _wide(source, merged))

    def _likest(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        likeness, target = (unit[:, self.others] @ unit[:, self.destinations].transpose(1, 2)).max(dim=-1)
        return likeness, target


def _wide(index: Tensor, tokens: Tensor) -> Tensor:
    return index[..., None].expand(-1, -1, tokens.shape[-1])


class _MergedAttention:
    """Hooks around the self-attentions of one transformer, which is where the grid of their tokens is known."""

    def __init__(self, transformer: nn.Module, share: float) -> None:
        self.share = share
        self.size = (0, 0)
        self.merge: Merge | None = None
        self.handles = [transformer.register_forward_pre_hook(self._see, with_kwargs=True)]
        for block in transformer.transformer_blocks:  # type: ignore[union-attr]
            self.handles.append(block.attn1.register_forward_pre_hook(self._before, with_kwargs=True))
            self.handles.append(block.attn1.register_forward_hook(self._after))

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()

    def _see(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        frames = args[0] if args else kwargs["hidden_states"]
        self.size = (frames.shape[-2], frames.shape[-1])

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tokens, *others = args
        self.merge = Merge(tokens, self.size, self.share, kwargs.get("num_frames", 1))
        return (self.merge.merge(tokens), *others), kwargs

    def _after(self, module: nn.Module, args: tuple[Any, ...], result: Tensor) -> Tensor:
        merge, self.merge = self.merge, None
        return result if merge is None else merge.unmerge(result)


def set_token_merging(network: nn.Module, share: float) -> None:
    """Choose the share of tokens that spatial self-attention does without, in place.

    Only on the finest level with attention, whose tokens are most; a network of another class is left alone.

    Args:
        network: `SingleFrameUNet` or `UNet3DModel`.
        share: 0 (exact, as if this did not exist) to 0.75: one of 2 × 2 has to stay.
    """
    known: list[_MergedAttention] = vars(network).get("token_merging", [])
    if {merged.share for merged in known} == ({share} if share else set()):
        return
    for merged in known:
        merged.remove()
    levels = list(_levels(network)) if share else []
    finest = min((factor for factor, _ in levels), default=1)
    network.token_merging = [  # type: ignore[assignment]
        _MergedAttention(transformer, share) for factor, transformer in levels if factor == finest
    ]


def _levels(network: Any) -> Iterator[tuple[int, nn.Module]]:
    """(how many times smaller than the latents, spatial transformer), in the order of the network's blocks."""
    factor = 1
    if isinstance(network, UNet3DModel):
        for block in (*network.input_blocks, network.middle_block, *network.output_blocks):
            for layer in block:
                if isinstance(layer, SpatialTransformer):
                    yield factor, layer
                elif isinstance(layer, Downsample):
                    factor *= 2
                elif isinstance(layer, Upsample):
                    factor //= 2
        return
    for block in (*network.down_blocks, network.mid_block, *network.up_blocks):
        for layer in getattr(block, "attentions", ()):
            if isinstance(layer, Transformer2DModel):
                yield factor, layer
        if getattr(block, "downsamplers", None) is not None:
            factor *= 2
        elif getattr(block, "upsamplers", None) is not None:
            factor //= 2
