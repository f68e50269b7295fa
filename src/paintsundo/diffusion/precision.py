"""Half precision belongs to the network; what a sampler computes stays in float32 or better."""

from __future__ import annotations

import torch
from torch import Tensor

# Far beyond any latent, and small enough that a sampler's products of it stay inside float32.
LARGEST_VALUE = 2.0**100


def widen(tensor: Tensor) -> Tensor:
    """The tensor in float32, or as it is if that is wider (float64)."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def bounded(tensor: Tensor) -> Tensor:
    """Clamp to ±LARGEST_VALUE, so that a diverging network cannot lead to inf - inf. NaN stays NaN."""
    return tensor.clamp(-LARGEST_VALUE, LARGEST_VALUE)


def narrow(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Cast to dtype, saturating at its largest finite value instead of overflowing to infinity."""
    limit = min(LARGEST_VALUE, torch.finfo(dtype).max)
    return tensor.clamp(-limit, limit).to(dtype)
