"""Optimisers and the course of the learning rate."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from paintsundo.errors import UserError
from paintsundo.training.options import OptimizerOptions


def warmup_cosine(step: int, warmup: int, done: float, floor: float = 0.02) -> float:
    """Learning-rate factor: linear over `warmup` steps, then a half cosine down to `floor`.

    Args:
        step: steps taken.
        warmup: length of the rise in steps.
        done: share of the whole training that is over, 0…1.
    """
    rise = min(1.0, (step + 1) / max(1, warmup))
    return rise * (floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done))))


def warmup_constant(step: int, warmup: int) -> float:
    """Learning-rate factor: linear over `warmup` steps, then 1."""
    return min(1.0, (step + 1) / max(1, warmup))


def build_optimizer(
    parameters: Iterable[nn.Parameter], settings: OptimizerOptions, device: torch.device, offloaded: bool = False
) -> torch.optim.Optimizer:
    """The optimiser of some parameters.

    Args:
        parameters: what it changes.
        settings: which one, and how.
        device: where they are.
        offloaded: DeepSpeed keeps its state in the machine's own memory; its optimiser for that is taken where it
            can be built, as it is several times faster there.

    Raises:
        UserError: an unknown name, or neither bitsandbytes nor torchao for 8 bits.
    """
    parameters = list(parameters)
    if not parameters:
        raise UserError("nothing is left to train: train_parts matches no parameter")
    options = {
        "lr": settings.learning_rate,
        "betas": (float(settings.betas[0]), float(settings.betas[1])),
        "weight_decay": settings.weight_decay,
    }
    if settings.name == "adamw_8bit":
        return _eight_bit(parameters, options)
    if settings.name != "adamw":
        raise UserError(f"optimizer.name must be adamw or adamw_8bit, not {settings.name}")
    if offloaded:
        try:
            from deepspeed.ops.adam import DeepSpeedCPUAdam

            return DeepSpeedCPUAdam(parameters, adamw_mode=True, **options)
        except Exception as error:  # its kernel is compiled on first use, which needs a compiler
            print(f"DeepSpeed's optimiser cannot be built here ({str(error).splitlines()[0]}): torch's is taken")
        return torch.optim.AdamW(parameters, **options)
    return torch.optim.AdamW(parameters, fused=device.type == "cuda", **options)


def _eight_bit(parameters: list[nn.Parameter], options: dict) -> torch.optim.Optimizer:
    # bitsandbytes does not know the shards of FSDP2.
    packages = ["torchao"] if isinstance(parameters[0], DTensor) else ["bitsandbytes", "torchao"]
    for package in packages:
        if importlib.util.find_spec(package) is not None:
            return importlib.import_module(f"{package}.optim").AdamW8bit(parameters, **options)
    raise UserError(f"optimizer=adamw_8bit needs {' or '.join(packages)}: pip install {packages[0]}")
