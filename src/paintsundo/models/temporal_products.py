"""A convolution over time as three matrix products that accumulate, which GPUs compute faster than cuDNN does."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from paintsundo.models.layers import TemporalConv, is_channels_last

# Of narrower ones memory is what counts, and products read it three times.
_NARROWEST = 320
_HALVES = (torch.float16, torch.bfloat16)


def suits_products(conv: TemporalConv, x: Tensor) -> bool:
    """Whether `three_products` computes this convolution of x (B, C, T, n), and was the faster one where measured."""
    return (
        conv.kernel_size == (3, 1, 1)
        and conv.padding == (1, 0, 0)
        and conv.dilation == (1, 1, 1)
        and conv.groups == 1
        and min(conv.in_channels, conv.out_channels) >= _NARROWEST
        and x.dtype == conv.weight.dtype
        and x.dtype in _HALVES
        and is_channels_last(x)
        and not torch.compiler.is_compiling()
    )


def three_products(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A convolution over time, padded by one, of x (B, C, T, n) in channels-last memory.

    The own frame's product is written, the neighbours' are added to it, each sum rounded to x's type.

    Args:
        weight: (C', C, 3, 1), the taps of the frame before, the own and the next; laid out channels last it is read
            where it lies.
        bias: (C',).

    Returns:
        (B, C', T, n), channels last.
    """
    batch, _, frames, places = x.shape
    rows = x.permute(0, 2, 3, 1).flatten(1, 2)  # (B, T·n, C), time slowest: a neighbour is n rows away
    before, own, after = weight.squeeze(-1).unbind(2)
    out = F.linear(rows, own, bias)
    if frames > 1:
        out[:, places:].baddbmm_(rows[:, :-places], before.mT.expand(batch, -1, -1))
        out[:, :-places].baddbmm_(rows[:, places:], after.mT.expand(batch, -1, -1))
    return out.unflatten(1, (frames, places)).permute(0, 3, 1, 2)
