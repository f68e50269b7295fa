"""Floating-point operations of one training batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from paintsundo.training.beside import random_state_kept

aten = torch.ops.aten


@dataclass(frozen=True)
class StepFlops:
    """Operations (a multiplication and an addition are two) of one batch on one device.

    Args:
        trained: of the forward pass, where a gradient passes back through.
        frozen: of the forward pass, where none does: frozen encoders, data preparation.
        training: of the whole step. Every matrix product or convolution counts once, and once more for each of its
            operands that needs a gradient; hence 3× the forward pass for trained networks (weights and inputs), 2×
            for frozen weights below a trained part (LoRA: inputs only, the small adapters 3×), 1× for frozen parts.
            Recomputation by gradient checkpointing is not counted: it is no progress.
    """

    trained: int
    frozen: int
    training: int


def _attention_flops(query: Tensor, key: Tensor, value: Tensor) -> int:
    """Both products of softmax(q kᵀ) v, shapes (B, heads, tokens, width)."""
    rows = math.prod(query.shape[:-1])
    return 2 * rows * key.shape[-2] * (query.shape[-1] + value.shape[-1])


_ATTENTION = [
    getattr(aten, name)
    for name in (
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_fused_attention_overrideable",
    )
    if hasattr(aten, name)
]
# The two factors of each product among its arguments; of other counted operations, any tensor may be one.
_FACTORS = {aten.addmm: (1, 2), aten.baddbmm: (1, 2)} | dict.fromkeys(
    (aten.mm, aten.bmm, aten.convolution, aten._convolution, aten.cudnn_convolution), (0, 1)
)


class FlopCounter(TorchDispatchMode):
    """Adds up the operations of everything computed while it is active, by whether a gradient passes back."""

    def __init__(self) -> None:
        super().__init__()
        self.trained = self.frozen = self.training = 0

    def result(self) -> StepFlops:
        """What was counted."""
        return StepFlops(self.trained, self.frozen, self.training)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = getattr(func, "_overloadpacket", None)
        if packet not in flop_registry and packet not in _ATTENTION and isinstance(func, torch._ops.OpOverload):
            with self:  # under inference_mode composite operations arrive whole
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        if packet in _ATTENTION:
            query, key, value = args[:3]
            q, k, v = (torch.is_grad_enabled() and t.requires_grad for t in args[:3])
            forward = _attention_flops(query, key, value)
            # backward: v from P and dO, P from dO and v, q and k each from dP
            self._add(forward, forward * (q + k + v + (q or k)) // 2)
        elif packet in flop_registry:
            if packet in _FACTORS:
                first, last = _FACTORS[packet]
                needing = sum(t.requires_grad for t in args[first : last + 1]) * torch.is_grad_enabled()
            else:  # kernels of other libraries, which switch gradients off while they compute
                needing = 2 * any(isinstance(t, Tensor) and t.requires_grad for t in args)
            forward = flop_registry[packet](*args, **kwargs, out_val=out)
            self._add(forward, forward * needing)
        return out

    def _add(self, forward: int, backward: int) -> None:
        self.training += forward + backward
        if backward:
            self.trained += forward
        else:
            self.frozen += forward


def _refuse(_: Any) -> Tensor:
    raise RuntimeError("this pass was only counted: it keeps nothing for a backward pass")


@contextmanager
def _silent(module: lightning.LightningModule) -> Iterator[None]:
    """Log nothing, record no CUDA graph, and put buffers (running statistics, say) back afterwards."""
    buffers = {name: b.detach().clone() for name, b in module.named_buffers() if not b.is_meta}
    silenced = {name: module.__dict__.get(name) for name in ("log", "log_dict", "record")}
    for name in silenced:
        module.__dict__[name] = lambda *args, **kwargs: None
    recorded = getattr(module, "recorded", None)
    if recorded is not None:
        module.recorded = None
    try:
        yield
    finally:
        for name, before in silenced.items():
            if before is None:
                del module.__dict__[name]
            else:
                module.__dict__[name] = before
        if recorded is not None:
            module.recorded = recorded
        with torch.no_grad():
            for name, b in module.named_buffers():
                if name in buffers:
                    b.copy_(buffers[name])


def count_step(trainer: lightning.Trainer, module: lightning.LightningModule, batch: Any) -> StepFlops:
    """Operations of one training step on `batch`: its forward pass is run once, uncompiled, and counted.

    Random numbers and buffers are put back, nothing is logged, and activations are not kept, so that it needs about
    the memory of a pass without gradients. Where parameters are sharded, all processes must call it together.
    """
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda _: None, _refuse)
    with (
        random_state_kept(module.device),
        _silent(module),
        torch.compiler.set_stance("force_eager"),
        trainer.precision_plugin.forward_context(),
        torch.enable_grad(),
        hooks,
        FlopCounter() as counter,
    ):
        module.training_step(batch, 0)
    return counter.result()


def batch_signature(batch: Any) -> tuple[Any, ...]:
    """What the cost of a batch depends on: the shapes of its tensors."""
    if isinstance(batch, Mapping):
        return tuple((name, tuple(v.shape)) for name, v in sorted(batch.items()) if isinstance(v, Tensor))
    parts = batch if isinstance(batch, (tuple, list)) else (batch,)
    return tuple(tuple(v.shape) for v in parts if isinstance(v, Tensor))


def batch_samples(batch: Any) -> int:
    """Samples in a batch: its "keys" where it has them, else the first dimension of its first tensor."""
    if isinstance(batch, Mapping):
        if "keys" in batch:
            return len(batch["keys"])
        batch = tuple(batch.values())
    parts = batch if isinstance(batch, (tuple, list)) else (batch,)
    return next((len(v) for v in parts if isinstance(v, Tensor) and v.ndim), 1)
