"""Settings that make training fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch._dynamo
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import nn

from paintsundo.models import set_attention_backend, use_channels_last
from paintsundo.models.resblock_3d import ResBlock
from paintsundo.models.transformer_3d import SpatialTransformer, TemporalTransformer

# What regional compilation compiles: the repeated blocks, each shape of them once.
REGIONS = (ResnetBlock2D, Transformer2DModel, ResBlock, SpatialTransformer, TemporalTransformer)
# Element-wise results are computed again by each kernel that needs them. The limits that torch has otherwise write
# gradients of normalisation and activation to memory in float32, several times the traffic.
COMPILER_OPTIONS = {"realize_reads_threshold": 16, "realize_opcount_threshold": 200}
# A block class is compiled for each number of channels, size of picture and attention window.
_MOST_VERSIONS = 512


def prepare_for_speed(
    networks: Sequence[nn.Module],
    compile: str = "none",
    attention: str = "sdpa",
    channels_last: bool = False,
    gradient_checkpointing: bool = False,
    device: torch.device | str = "cpu",
    dynamic: bool = False,
) -> None:
    """Prepare networks for training, in place: parameters, their names and, up to rounding, results stay.

    Args:
        networks: on any device, before they are wrapped for several GPUs.
        compile: `none`; `regional`, the repeated blocks of both UNets, which takes a fraction of the time that whole
            networks take, and about as fast (a network without such blocks is compiled whole); `full`, whole
            networks. On a processor torch 2.13 gives these networks
            wrong gradients: `train.py` compiles on GPUs only.
        attention: `sdpa` (on recent GPUs cuDNN's kernels where they are the fastest), `xformers`, `sliced`.
        channels_last: convolution weights and activations channels last. Compiled networks on GPUs always are.
        gradient_checkpointing: recompute activations in the backward pass, where the network can.
        device: where they will train.
        dynamic: compile once for all sizes of pictures; else for each anew.

    Raises:
        ValueError: an unknown value of `compile` or `attention`.
    """
    if compile not in ("none", "regional", "full"):
        raise ValueError(f"compile={compile}: none, regional or full")
    device = torch.device(device)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # the fastest algorithm of each convolution, found by trying
    for network in networks:
        if channels_last or (compile != "none" and device.type == "cuda"):
            use_channels_last(network)
        set_attention_backend(network, attention, device)
        if gradient_checkpointing and hasattr(network, "enable_gradient_checkpointing"):
            network.enable_gradient_checkpointing()
        if compile != "none":
            compile_in_place(network, regional=compile == "regional", dynamic=dynamic)


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
