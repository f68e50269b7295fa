"""Lightning strategies by name: one device, DDP, DeepSpeed ZeRO, FSDP2."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from lightning.pytorch.plugins.precision import DeepSpeedPrecision
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, ModelParallelStrategy, Strategy
from torch import nn

from paintsundo.errors import UserError

STRATEGIES = ("one", "ddp", "zero1", "zero2", "zero3", "fsdp2")


class AutocastDeepSpeedPrecision(DeepSpeedPrecision):
    """DeepSpeed's low-precision weights with torch's autocast around them, as all other strategies have it.

    Targets and noise stay in float32; Lightning's own would round every input first.
    """

    def convert_input(self, data: Any) -> Any:
        return data

    def forward_context(self) -> AbstractContextManager:  # type: ignore[override]
        return torch.autocast("cuda", self._desired_dtype, enabled=self._desired_dtype != torch.float32)

    train_step_context = val_step_context = test_step_context = predict_step_context = forward_context


def build_strategy(
    name: str,
    devices: int,
    offload_optimizer: bool = False,
    offload_parameters: bool = False,
    batch_size: int = 1,
) -> str | Strategy:
    """What `lightning.Trainer(strategy=…)` takes.

    Args:
        name: one of STRATEGIES.
        devices: processes in all, on all machines.
        offload_optimizer: ZeRO: keep the optimiser's state in the machine's own memory.
        offload_parameters: ZeRO 3: the weights too.
        batch_size: samples a process and step (DeepSpeed wants to know).

    Raises:
        UserError: an unknown name, or DeepSpeed is not installed.
    """
    if name not in STRATEGIES:
        raise UserError(f"trainer.strategy must be one of {', '.join(STRATEGIES)}, not {name}")
    if name == "ddp":
        return DDPStrategy(gradient_as_bucket_view=True, broadcast_buffers=False)
    if name == "fsdp2":
        return ModelParallelStrategy(data_parallel_size=devices, tensor_parallel_size=1)
    if name == "one":
        return "auto"
    try:
        import deepspeed  # noqa: F401
    except ImportError:
        raise UserError(f"trainer={name} needs DeepSpeed: pip install deepspeed") from None
    strategy = DeepSpeedStrategy(
        stage=int(name.removeprefix("zero")),
        offload_optimizer=offload_optimizer,
        offload_parameters=offload_parameters,
        logging_batch_size_per_gpu=batch_size,
        # offloaded tensors are pinned: copies overlap with computation
        pin_memory=True,
        allgather_bucket_size=500_000_000,
        reduce_bucket_size=200_000_000,
    )
    assert isinstance(strategy.config, dict)
    # No weights are kept whole: averages can be put in their place (`parameters.replaced`).
    strategy.config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    strategy.config["zero_force_ds_cpu_optimizer"] = False  # torch's is taken where DeepSpeed's cannot be built
    return strategy


def shard(network: nn.Module, device_mesh: Any, block_types: tuple[str, ...], dtype: torch.dtype | None = None) -> None:
    """FSDP2: spread the weights of a network over the processes, block by block, in place.

    Args:
        network: on any device.
        device_mesh: of one dimension, the processes.
        block_types: class names of the blocks gathered one at a time.
        dtype: of gathered weights; shards and sums of gradients are float32.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for module in network.modules():
        if type(module).__name__ in block_types:
            fully_shard(module, mesh=device_mesh, mp_policy=policy)
    fully_shard(network, mesh=device_mesh, mp_policy=policy)
