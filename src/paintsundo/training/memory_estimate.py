"""Memory that weights, gradients, optimiser and averages take on each device, by strategy.

Bytes per parameter: under automatic mixed precision everything trained is float32. DeepSpeed keeps 16-bit weights
and gradients beside the optimiser's float32 copy (Rajbhandari et al. 2020, §3). Activations, which depend on sizes,
batch and compilation, are left out, and so are buffers of communication.
"""

from __future__ import annotations

from dataclasses import dataclass

from paintsundo.training.options import TrainOptions

# Group entry → strategy, optimiser offloaded, weights offloaded.
TRAINERS = {
    "one": ("one", False, False),
    "ddp": ("ddp", False, False),
    "zero1": ("zero1", False, False),
    "zero2": ("zero2", False, False),
    "zero2_offload": ("zero2", True, False),
    "zero3": ("zero3", False, False),
    "zero3_offload": ("zero3", True, True),
    "fsdp2": ("fsdp2", False, False),
}
_STATE = {"adamw": 8.0, "adamw_8bit": 2.0}


@dataclass(frozen=True)
class Memory:
    """Bytes for each device: on it, and `host` in the machine's own memory."""

    weights: float
    gradients: float
    optimizer: float
    averages: float
    host: float = 0.0

    @property
    def device(self) -> float:
        """All that lies on the device."""
        return self.weights + self.gradients + self.optimizer + self.averages


def averages_of(options: TrainOptions) -> int:
    """How many averages of the weights a run keeps."""
    return {"none": 0, "standard": 1}.get(options.ema.kind, len(options.ema.stds))


@dataclass(frozen=True)
class Counts:
    """Numbers of parameters: trained; frozen within networks that are trained; of networks wholly frozen."""

    trained: int
    frozen: int
    apart: int


def estimate(options: TrainOptions, trainer: str, counts: Counts, devices: int) -> Memory:
    """What a strategy needs on each device.

    Args:
        options: precision, optimiser and averages are read from them.
        trainer: one of TRAINERS.
        counts: numbers of parameters. Networks that are wholly frozen are whole on every device.
        devices: number of devices in all; "one" is always one.
    """
    # With bf16-mixed GPUs keep frozen networks, and what adapters change, as autocast would make them anyway.
    halved = options.runtime.precision == "bf16-mixed" and options.runtime.device != "cpu"
    trained, apart = counts.trained, (2.0 if halved else 4.0) * counts.apart
    beside = (2.0 if halved and options.lora.rank is not None else 4.0) * counts.frozen
    strategy, optimizer_away, weights_away = TRAINERS[trainer]
    shards = 1 if strategy == "one" else devices
    state = _STATE[options.optimizer.name] * trained
    averages = 4.0 * averages_of(options) * trained
    if strategy in ("one", "ddp"):
        return Memory(apart + 4.0 * trained + beside, 4.0 * trained, state, averages)
    if strategy == "fsdp2":
        weights = apart + (4.0 * trained + beside) / shards
        return Memory(weights, 4.0 * trained / shards, state / shards, averages / shards)
    each = 4.0 if options.runtime.precision == "32-true" else 2.0
    weights, gradients = each * (trained + counts.frozen), each * trained
    weights = weights / shards if strategy == "zero3" else weights
    gradients = gradients if strategy == "zero1" else gradients / shards
    # The optimiser's own float32 copy of the weights, and its two means.
    optimizer, averages = (4.0 * trained + state) / shards, averages / shards
    host = 0.0
    if optimizer_away:
        # Gradients are summed up in float32 where the optimiser is.
        host += optimizer + averages + 4.0 * trained / shards
        gradients, optimizer, averages = 0.0, 0.0, 0.0
    if weights_away:
        host += weights
        weights = 0.0
    return Memory(apart + weights, gradients, optimizer, averages, host)


def chosen_trainer(options: TrainOptions) -> str | None:
    """The entry of TRAINERS that a configuration amounts to, None for a mixture."""
    trainer = options.trainer
    wanted = (trainer.strategy, trainer.offload_optimizer, trainer.offload_parameters)
    return next((name for name, entry in TRAINERS.items() if entry == wanted), None)
