"""Choosing how attention is computed, for any network of either model."""

from __future__ import annotations

import warnings
from typing import get_args

import torch
from diffusers.models.attention_processor import Attention as DiffusersAttention
from diffusers.models.attention_processor import AttnProcessor2_0, SlicedAttnProcessor, XFormersAttnProcessor
from torch import nn

from paintsundo.models.attention import AttentionBackend

ATTENTION_BACKENDS: tuple[str, ...] = get_args(AttentionBackend)


def set_attention_backend(model: nn.Module, backend: str) -> str:
    """Choose the attention of every layer of a network.

    diffusers' own `set_attention_backend` has no effect on Stable Diffusion's UNet; this one sets the
    processors of its attention layers, and the backend of ours. Networks of transformers keep their own
    (fused) attention.

    Args:
        model: any of our networks, or diffusers' `UNet2DConditionModel` or `AutoencoderKL`.
        backend: `sdpa` (PyTorch's fused attention), `xformers`, or `sliced` (little memory, slow).

    Returns:
        the backend in use: `sdpa`, with a warning, where `xformers` cannot run.

    Raises:
        ValueError: an unknown backend.
    """
    if backend not in ATTENTION_BACKENDS:
        raise ValueError(f"unknown attention backend {backend!r}: known are {', '.join(ATTENTION_BACKENDS)}")
    if backend == "xformers" and (reason := xformers_fault(model)):
        warnings.warn(f"xformers attention cannot run here ({reason}): using sdpa", stacklevel=2)
        backend = "sdpa"
    for module in model.modules():
        if isinstance(module, DiffusersAttention):
            module.set_processor(_processor(backend))
        elif hasattr(module, "attention_backend"):
            module.attention_backend = backend
    return backend


def _processor(backend: str) -> AttnProcessor2_0 | SlicedAttnProcessor | XFormersAttnProcessor:
    if backend == "sliced":
        return SlicedAttnProcessor(slice_size=1)
    return XFormersAttnProcessor() if backend == "xformers" else AttnProcessor2_0()


def xformers_fault(model: nn.Module) -> str | None:
    """Why xformers cannot compute attention for this network where it is now; None if it can."""
    try:
        from xformers.ops import memory_efficient_attention
    except Exception as error:  # a wheel built for another torch raises whatever its loader raises
        return f"it cannot be imported: {error}"
    parameter = next(model.parameters())
    if not parameter.is_cuda:
        return f"the network is on the device {parameter.device.type!r}"
    probe = torch.zeros(1, 8, 1, 64, device=parameter.device, dtype=parameter.dtype)
    try:
        memory_efficient_attention(probe, probe, probe)
    except Exception as error:  # no kernel for this card or dtype
        return str(error).splitlines()[0]
    return None
