"""Settings that make training fast."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from paintsundo.models import set_attention_backend, use_channels_last
from paintsundo.models.compilation import COMPILER_OPTIONS, REGIONS, compile_in_place

__all__ = ["COMPILER_OPTIONS", "REGIONS", "compile_in_place", "prepare_for_speed"]


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
