"""Clipping of gradients, and steps left out whose gradients are no finite numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


def gradient_norm(parameters: list[nn.Parameter]) -> Tensor:
    """Euclidean norm of all gradients together, float32, on their device; shards of all processes count."""
    grads = [p.grad for p in parameters if p.grad is not None]
    if not grads:
        return torch.zeros((), device=parameters[0].device)
    norm = nn.utils.get_total_norm(grads)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def apply_gradient_policy(optimizer: torch.optim.Optimizer, norm: Tensor, longest: float) -> Tensor:
    """Shorten gradients longer than `longest` (0: none are) and make the optimiser skip a step that is not finite.

    A fused optimiser does both inside its kernel (`grad_scale`, `found_inf`, as torch's gradient scaler has it), so
    the host need not wait for the device. Others have their gradients multiplied, or taken away.

    Args:
        optimizer: about to step.
        norm: of its gradients, before shortening.
        longest: largest norm allowed.

    Returns:
        bool scalar on the device: whether the step counts.
    """
    finite = norm.isfinite()
    shrink = (norm / longest).clamp(min=1.0) if longest > 0 else torch.ones_like(norm)
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    sharded = any(isinstance(p, DTensor) for p in parameters)
    if optimizer.defaults.get("fused") and not sharded:
        optimizer.grad_scale = torch.where(finite, shrink, torch.ones_like(shrink)).float()  # type: ignore[attr-defined]
        optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        return finite
    if bool(finite):
        grads = [p.grad.to_local() if isinstance(p.grad, DTensor) else p.grad for p in parameters]
        torch._foreach_div_([g for g in grads if g is not None], shrink)
    else:
        for p in parameters:
            p.grad = None
    return finite
