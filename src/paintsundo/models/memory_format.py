"""Channels-last memory layout for networks of frames and clips."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from paintsundo.models.compiled_forms import use_compiled_forms

Module = TypeVar("Module", bound=nn.Module)


def use_channels_last(network: Module) -> Module:
    """Lay out the weights of convolutions channels last, in place; activations follow them.

    The results are the same up to rounding. Attention sees the tokens of such activations without a copy, and
    convolutions over time those of the frames; the network's layers keep to that layout (`compiled_forms`).
    (`Module.to(memory_format=…)` refuses networks with weights of both four and five dimensions.)
    """
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in network.parameters():
        if parameter.dim() in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.dim()])
    use_compiled_forms(network)
    return network
