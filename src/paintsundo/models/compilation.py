"""`torch.compile` of whole networks, or of the blocks that are most of them."""

from __future__ import annotations

from typing import Any

import torch
import torch._dynamo
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import nn

from paintsundo.models.resblock_3d import ResBlock
from paintsundo.models.transformer_3d import SpatialTransformer, TemporalTransformer

# What regional compilation compiles: the repeated blocks, each shape of them once.
REGIONS = (ResnetBlock2D, Transformer2DModel, ResBlock, SpatialTransformer, TemporalTransformer)
# Element-wise results are computed again by each kernel that needs them. The limits that torch has otherwise write
# gradients of normalisation and activation to memory in float32, several times the traffic.
COMPILER_OPTIONS = {"realize_reads_threshold": 16, "realize_opcount_threshold": 200}
# A block class is compiled for each number of channels, size of picture and attention window.
_MOST_VERSIONS = 512


def compile_in_place(network: nn.Module, regional: bool = True, dynamic: bool = False) -> int:
    """Let `torch.compile` translate a network, or its blocks, when they are first called.

    Sizes are constants in what it makes: each new size of batch or picture is compiled anew, unless they are to be
    variables. Attributes, and names in the state dict, stay.

    Args:
        network: any.
        regional: the `REGIONS` in it; all of it where there are none.
        dynamic: sizes are variables from the beginning.

    Returns:
        number of compiled modules.
    """
    limits: Any = torch._dynamo.config
    for name in ("recompile_limit", "cache_size_limit", "accumulated_recompile_limit", "accumulated_cache_size_limit"):
        if hasattr(limits, name):
            setattr(limits, name, max(getattr(limits, name), _MOST_VERSIONS))
    blocks = [module for module in network.modules() if isinstance(module, REGIONS)] if regional else []
    for module in blocks or [network]:
        if isinstance(module, ResBlock):
            module.compiled_in_two = bool(blocks)
        module.compile(dynamic=dynamic, options=dict(COMPILER_OPTIONS))
    return len(blocks) or 1
