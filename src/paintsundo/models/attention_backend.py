"""Choosing how attention is computed, for any network of either model."""

from __future__ import annotations

import warnings
from typing import get_args

import torch
from diffusers.models.attention_processor import Attention as DiffusersAttention
from diffusers.models.attention_processor import AttnProcessor2_0, SlicedAttnProcessor, XFormersAttnProcessor
from torch import nn

from paintsundo.models.attention import MAX_XFORMERS_WIDTH, AttentionBackend

ATTENTION_BACKENDS: tuple[str, ...] = get_args(AttentionBackend)


def set_attention_backend(model: nn.Module, backend: str, device: torch.device | None = None) -> str:
    """Choose the attention of every layer of a network.

    diffusers' own `set_attention_backend` has no effect on Stable Diffusion's UNet; this one sets the
    processors of its attention layers, and the backend of ours. Networks of transformers keep their own
    (fused) attention.

    Args:
        model: any of our networks, or diffusers' `UNet2DConditionModel` or `AutoencoderKL`.
        backend: `sdpa` (PyTorch's fused attention), `xformers`, or `sliced` (little memory, slow).
        device: where the network will compute; where it is now without it.

    Returns:
        the backend in use: `sdpa`, with a warning, where `xformers` cannot run.

    Raises:
        ValueError: an unknown backend.
    """
    if backend not in ATTENTION_BACKENDS:
        raise ValueError(f"unknown attention backend {backend!r}: known are {', '.join(ATTENTION_BACKENDS)}")
    if backend == "xformers" and (reason := xformers_fault(model, device)):
        warnings.warn(f"xformers attention cannot run here ({reason}): using sdpa", stacklevel=2)
        backend = "sdpa"
    for module in model.modules():
        if isinstance(module, DiffusersAttention):
            too_wide = backend == "xformers" and module.inner_dim // module.heads > MAX_XFORMERS_WIDTH
            module.set_processor(_processor("sdpa" if too_wide else backend))
        elif hasattr(module, "attention_backend"):
            module.attention_backend = backend
    return backend


def _processor(backend: str) -> AttnProcessor2_0 | SlicedAttnProcessor | XFormersAttnProcessor:
    if backend == "sliced":
        return SlicedAttnProcessor(slice_size=1)
    return XFormersAttnProcessor() if backend == "xformers" else AttnProcessor2_0()


def xformers_fault(model: nn.Module, device: torch.device | None = None) -> str | None:
    """Why xformers cannot compute attention for this network on a device (where it is now, without); None if it can."""
    try:
        from xformers.ops import memory_efficient_attention
    except Exception as error:  # a wheel built for another torch raises whatever its loader raises
        return f"it cannot be imported: {error}"
    parameter = next(model.parameters())
    device = parameter.device if device is None else device
    if device.type != "cuda":
        return f"the network computes on the device {device.type!r}"
    try:
        probe = torch.zeros(1, 8, 1, 64, device=device, dtype=parameter.dtype)
        memory_efficient_attention(probe, probe, probe)
    except Exception as error:  # no kernel for this card or dtype
        return str(error).splitlines()[0]
    return None
