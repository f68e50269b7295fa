"""Trained parameters in full float32 precision, whatever the strategy keeps of them on this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor


def size_of(parameter: Tensor) -> int:
    """Numbers in a whole parameter; ZeRO 3 leaves an empty tensor of it between uses."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def trained_parameters(module: lightning.LightningModule) -> dict[str, torch.nn.Parameter]:
    """Every parameter that the optimiser changes, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def master_tensors(trainer: lightning.Trainer, module: lightning.LightningModule) -> dict[str, Tensor]:
    """The float32 values that the optimiser works on, as far as this process holds them.

    Returns:
        by name; whole parameters, or this process's shards of them (flat ones under DeepSpeed, which may lack
        parameters of which this process holds nothing). They share memory with the optimiser's.
    """
    stage = zero_stage(trainer)
    if stage is None:
        _reshard(module)
        return {name: p.data for name, p in trained_parameters(module).items()}
    fragments = {name: _zero_fragment(p, stage) for name, p in trained_parameters(module).items()}
    return {name: fragment for name, fragment in fragments.items() if fragment is not None}


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
    if zero_stage(trainer) is not None:
        return _zero_full_tensors(trainer, module, local)
    values = master_tensors(trainer, module) if local is None else local
    whole: dict[str, Tensor] = {}
    for name, p in trained_parameters(module).items():
        value = _gathered(values[name], p)
        if trainer.is_global_zero:
            whole[name] = _on_host(value)
    return whole


def full_state(
    trainer: lightning.Trainer, module: lightning.LightningModule, local: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """All parameters and buffers of the module, whole, on the CPU, by name, floating ones as float32.

    As `full_tensors`, with what is not trained beside it. Networks kept frozen beside the module are not among them.
    """
    state = full_tensors(trainer, module, local)
    for name, p in module.named_parameters():
        if not p.requires_grad:
            value = _zero3_gathered(p) if zero_stage(trainer) == 3 else _gathered(p.data, p)
            if trainer.is_global_zero:
                state[name] = _on_host(value)
    if trainer.is_global_zero:
        state |= {name: _on_host(value) for name, value in module.named_buffers()}
    return state


@contextmanager
def replaced(
    trainer: lightning.Trainer, module: lightning.LightningModule, local: Mapping[str, Tensor]
) -> Iterator[None]:
    """Compute with other values (keys as `master_tensors`) in place of the trained ones. All processes must call it."""
    masters = master_tensors(trainer, module)
    kept = {name: p.clone() for name, p in masters.items()}
    try:
        _fill(masters, local)
        _spread(trainer, module)
        yield
    finally:
        _fill(masters, kept)
        _spread(trainer, module)


def _reshard(module: lightning.LightningModule) -> None:
    """FSDP2: give up weights that were gathered, and kept, for the last forward pass."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


@torch.no_grad()
def _fill(masters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, p in masters.items():
        value = values[name]
        if isinstance(p, DTensor) and not isinstance(value, DTensor):
            p.to_local().copy_(value)
        else:
            p.copy_(value)


def _gathered(value: Tensor, parameter: Tensor) -> Tensor:
    """The whole of a tensor that may be, or be the part here of, one spread by FSDP2."""
    if isinstance(parameter, DTensor) and not isinstance(value, DTensor):
        place = parameter.device_mesh, parameter.placements
        value = DTensor.from_local(
            value.to(parameter.to_local().device), *place, shape=parameter.shape, stride=parameter.stride()
        )
    return value.full_tensor() if isinstance(value, DTensor) else value


def _on_host(value: Tensor) -> Tensor:
    value = value.detach()
    return (value.float() if value.is_floating_point() else value).cpu().clone()


# -- DeepSpeed ---------------------------------------------------------------------------------------------------------


def zero_stage(trainer: lightning.Trainer) -> int | None:
    """1, 2 or 3 where DeepSpeed shares parameters out, else None."""
    engine = _engine(trainer)
    return None if engine is None else int(engine.zero_optimization_stage())


def _engine(trainer: lightning.Trainer) -> Any:
    strategy = getattr(trainer, "strategy", None)
    engine = getattr(strategy, "model", None) if hasattr(type(strategy), "deepspeed_engine") else None
    return engine if hasattr(engine, "zero_optimization_stage") else None


def _zero_fragment(parameter: Any, stage: int) -> Tensor | None:
    """This process's flat float32 share of a parameter, a view of the optimiser's own."""
    if stage == 3:
        return parameter._z3_optimizer._get_fp32_opt_state_partition(parameter, release_swap_buffers=False)[0]
    mapping = parameter._hp_mapping
    return None if mapping is None else mapping.get_hp_fragment()


def _zero_full_tensors(
    trainer: lightning.Trainer, module: lightning.LightningModule, local: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    from deepspeed.utils import safe_get_full_fp32_param

    masters = master_tensors(trainer, module)
    kept = {} if local is None else {name: p.clone() for name, p in masters.items()}
    whole = {}
    try:
        if local is not None:
            _fill(masters, local)
        for name, p in trained_parameters(module).items():
            value = safe_get_full_fp32_param(p)
            if trainer.is_global_zero:
                whole[name] = _on_host(value).view(getattr(p, "ds_shape", p.shape))
    finally:
        if local is not None:
            _fill(masters, kept)
    return whole


def _zero3_gathered(parameter: Any) -> Tensor:
    import deepspeed

    with deepspeed.zero.GatheredParameters([parameter]):
        return parameter.data.clone()


@torch.no_grad()
def _spread(trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
    """Bring the low-precision weights that DeepSpeed computes with up to the masters."""
    stage = zero_stage(trainer)
    if stage == 3:
        for p in trained_parameters(module).values():
            fragment = _zero_fragment(p, 3)
            assert fragment is not None
            p.ds_tensor.data.view(-1)[: fragment.numel()].copy_(fragment.view(-1)[: p.ds_tensor.numel()])
    elif stage is not None:
        _engine(trainer).optimizer.update_lp_params()
