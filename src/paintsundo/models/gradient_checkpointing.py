"""Activation checkpointing with a function that can be pickled with the network.

diffusers installs a closure, which makes a network that was trained with checkpointing impossible to pickle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpointed(module: nn.Module, *args: Any) -> Any:
    """`module(*args)`, its inner activations recomputed in the backward pass."""
    return checkpoint(module.__call__, *args, use_reentrant=False)


class GradientCheckpointingMixin:
    """To be listed before diffusers' `ModelMixin`."""

    _supports_gradient_checkpointing = True

    def enable_gradient_checkpointing(self, gradient_checkpointing_func: Callable | None = None) -> None:
        """Recompute activations in the backward pass: less memory, about a third more time."""
        super().enable_gradient_checkpointing(gradient_checkpointing_func or checkpointed)  # type: ignore[misc]
