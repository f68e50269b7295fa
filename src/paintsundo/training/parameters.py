"""Trained parameters in full float32 precision, whatever the strategy keeps of them on this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import lightning
import torch
from torch import Tensor


def trained_parameters(module: lightning.LightningModule) -> dict[str, torch.nn.Parameter]:
    """Every parameter that the optimiser changes, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def master_tensors(trainer: lightning.Trainer, module: lightning.LightningModule) -> dict[str, Tensor]:
    """The float32 values that the optimiser works on, as far as this process holds them.

    Returns:
        by name; whole parameters, or this process's shards of them. They share memory with the optimiser's.
    """
    return {name: p.data for name, p in trained_parameters(module).items()}


def full_tensors(
    trainer: lightning.Trainer, module: lightning.LightningModule, local: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Whole trained parameters, float32 on the CPU, by name. All processes must call it.

    Args:
        trainer, module: of the run.
        local: values to take in place of the masters, with the keys of `master_tensors`.

    Returns:
        all of them on the first process, nothing on the others.
    """
    values = master_tensors(trainer, module) if local is None else local
    if not trainer.is_global_zero:
        return {}
    return {name: _whole(value) for name, value in values.items()}


def full_state(
    trainer: lightning.Trainer, module: lightning.LightningModule, local: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """All parameters and buffers of the module, whole, on the CPU, by name, floating ones as float32.

    As `full_tensors`, with what is not trained beside it. Networks kept frozen beside the module are not among them.
    """
    trained = full_tensors(trainer, module, local)
    frozen = {name: p for name, p in module.named_parameters() if not p.requires_grad}
    if not trainer.is_global_zero:
        return {}
    return {**{name: _whole(value) for name, value in {**frozen, **dict(module.named_buffers())}.items()}, **trained}


def _whole(value: Tensor) -> Tensor:
    value = value.detach()
    return (value.float() if value.is_floating_point() else value).cpu().clone()


@contextmanager
def replaced(
    trainer: lightning.Trainer, module: lightning.LightningModule, local: Mapping[str, Tensor]
) -> Iterator[None]:
    """Compute with other values (keys as `master_tensors`) in place of the trained ones. All processes must call it."""
    masters = master_tensors(trainer, module)
    kept = {name: p.clone() for name, p in masters.items()}
    try:
        with torch.no_grad():
            for name, p in masters.items():
                p.copy_(local[name])
        yield
    finally:
        with torch.no_grad():
            for name, p in masters.items():
                p.copy_(kept[name])
