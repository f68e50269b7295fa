"""The typed options of `train.py`, and the checks of single values; none of this imports torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from paintsundo.errors import UserError
from paintsundo.settings import as_schema, compile_option, one_line

STEPS = ("uniform", "blank_heavy", "states")
STRATEGIES = ("one", "ddp", "zero1", "zero2", "zero3", "fsdp2")
# The widest relative deviation of a power-function profile is that of a uniform one, 1/√12 (Karras et al. 2024).
WIDEST_STD = 12**-0.5


@dataclass
class LoraOptions:
    """Adapters in place of the weights; rank None trains the weights. Their scale is alpha / rank."""

    rank: int | None = None
    alpha: float | None = None
    targets: list[str] = field(default_factory=lambda: ["to_q", "to_k", "to_v", "to_out.0"])
    start: str | None = None


@dataclass
class TrainerOptions:
    """Devices and how the training is spread over them; devices are counted per machine."""

    strategy: str = "one"
    devices: int | str = 1
    num_nodes: int = 1
    offload_optimizer: bool = False
    offload_parameters: bool = False


@dataclass
class EmaOptions:
    """Averages of the weights. Widths of power-function averages are relative to the training so far."""

    kind: str = "standard"
    decay: float = 0.999
    stds: list[float] = field(default_factory=lambda: [0.05, 0.10])
    snapshot_every: int = 1000


@dataclass
class OptimizerOptions:
    """AdamW and the course of its rate."""

    name: str = "adamw"
    learning_rate: float = 5e-4
    betas: list[float] = field(default_factory=lambda: [0.9, 0.99])
    weight_decay: float = 0.01
    warmup_steps: int = 200
    schedule: str = "cosine"


@dataclass
class LoggerOptions:
    """Where figures and samples are written."""

    csv: bool = True
    tensorboard: bool = False
    wandb: bool = False
    project: str = "paintsundo"
    name: str | None = None
    offline: bool = True


@dataclass
class RuntimeOptions:
    """Where and how to compute."""

    device: str = "auto"
    precision: str = "bf16-mixed"
    tf32: bool = True
    compile: str = "none"
    shapes: str = "auto"
    graphs: bool = False
    gradient_checkpointing: bool = False
    attention: str = "sdpa"
    channels_last: bool = False
    memory_limit_gib: float | None = None

    def __post_init__(self) -> None:
        self.compile = compile_option(self.compile)


@dataclass
class DataOptions:
    """What to train on. Buckets are [height, width] in pixels."""

    path: str | None = None
    also: list[str] = field(default_factory=list)
    loader: str = "resident"
    held_out: int = 256
    workers: int = 8
    limit: int | None = None
    buckets: list[list[int]] | None = None
    most_buckets: int = 5
    cache: str | None = None
    shuffle_shards: int = 16
    on_fault: str = "skip"
    max_faults: float = 0.01
    states_per_process: int = 1
    steps: Any = None


@dataclass
class TrainOptions:
    """Everything `train.py` can be told. The model's own options are those of its module class."""

    output: str | None = None
    start: str | None = None
    dry_run: bool = False
    seed: int = 0
    model: dict[str, Any] | None = None
    train_parts: list[str] | None = None
    condition_dropout: bool = True
    batch_size: int = 32
    accumulate: int = 1
    max_steps: int = 1000
    max_minutes: float | None = None
    gradient_clip: float = 1.0
    nonfinite_limit: int = 10
    sample_every: int | None = 1000
    sample_count: int = 6
    held_out_every: int | None = None
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    keep_every: int | None = None
    log_every: int = 50
    progress_bar: bool = True
    profiler: str | None = None
    lora: LoraOptions = field(default_factory=LoraOptions)
    trainer: TrainerOptions = field(default_factory=TrainerOptions)
    ema: EmaOptions = field(default_factory=EmaOptions)
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    logger: LoggerOptions = field(default_factory=LoggerOptions)
    runtime: RuntimeOptions = field(default_factory=RuntimeOptions)
    data: DataOptions = field(default_factory=DataOptions)
    # Sizes of networks for experiments to refer to.
    architecture: dict[str, Any] | None = None

    @property
    def target(self) -> str:
        """Dotted name of the module class, "" where no experiment is chosen."""
        return str((self.model or {}).get("_target_", ""))


def read(config: DictConfig) -> TrainOptions:
    """The typed form of a composed configuration, all references resolved.

    Raises:
        UserError: an option is unknown, or its value is of the wrong type.
    """
    try:
        OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(one_line(error)) from error
    return as_schema(config, TrainOptions)


def check(options: TrainOptions) -> None:
    """Refuse what no data, model or machine could make possible.

    What is merely not there (a folder, a package, a GPU) is the matter of `requirements.missing`.

    Raises:
        UserError: a value, or values together, are impossible; the message says what to change.
    """
    # They use the dataclasses above.
    from paintsundo.training.combinations import check_combinations
    from paintsundo.training.model_options import check_model

    _check_numbers(options)
    _check_groups(options)
    check_combinations(options)
    if options.model is not None:
        check_model(options.model, options.start)


def _check_numbers(options: TrainOptions) -> None:
    for name in ("batch_size", "accumulate", "max_steps", "nonfinite_limit", "sample_count", "checkpoint_every"):
        _at_least(name, getattr(options, name), 1)
    for name in ("sample_every", "held_out_every", "keep_checkpoints", "keep_every", "log_every"):
        _at_least(name, getattr(options, name), 1)
    if not 0 <= options.seed < 2**63:
        raise UserError(f"seed must be a whole number and at least 0, not {options.seed}")
    if options.max_minutes is not None and not (math.isfinite(options.max_minutes) and options.max_minutes > 0):
        raise UserError(f"max_minutes is {options.max_minutes}: minutes above 0, or null for no limit")
    if not (math.isfinite(options.gradient_clip) and options.gradient_clip >= 0):
        raise UserError(f"gradient_clip is {options.gradient_clip}: a norm above 0, or 0 for no limit")
    _one_of("profiler", options.profiler, (None, "torch", "simple"))


def _check_groups(options: TrainOptions) -> None:
    lora, trainer, ema, optimizer = options.lora, options.trainer, options.ema, options.optimizer
    _at_least("lora.rank", lora.rank, 1)
    if lora.alpha is not None and not (math.isfinite(lora.alpha) and lora.alpha > 0):
        raise UserError(f"lora.alpha is {lora.alpha}: a number above 0, or null for as much as the rank")
    if not lora.targets:
        raise UserError("lora.targets is empty: names of layers are needed, as in lora.targets=[to_q,to_v]")

    _one_of("trainer.strategy", trainer.strategy, STRATEGIES)
    devices = trainer.devices
    if devices != "auto" and not (isinstance(devices, int) and devices >= 1):
        raise UserError(f"trainer.devices is {devices}: a number from 1 up, or auto for all GPUs")
    _at_least("trainer.num_nodes", trainer.num_nodes, 1)

    _one_of("ema.kind", ema.kind, ("standard", "power", "none"))
    if not 0 <= ema.decay < 1:
        raise UserError(f"ema.decay is {ema.decay}: from 0 to below 1 is possible")
    if not ema.stds or any(not 0 < std < WIDEST_STD for std in ema.stds) or len(set(ema.stds)) < len(ema.stds):
        raise UserError(f"ema.stds is {ema.stds}: different widths above 0 and below {WIDEST_STD:.3f} are needed")
    _at_least("ema.snapshot_every", ema.snapshot_every, 1)

    _one_of("optimizer.name", optimizer.name, ("adamw", "adamw_8bit"))
    if not (math.isfinite(optimizer.learning_rate) and optimizer.learning_rate > 0):
        raise UserError(f"optimizer.learning_rate is {optimizer.learning_rate}: it must be above 0, as in 1e-4")
    if len(optimizer.betas) != 2 or any(not 0 <= beta < 1 for beta in optimizer.betas):
        raise UserError(f"optimizer.betas is {optimizer.betas}: two numbers from 0 to below 1 are needed")
    if not (math.isfinite(optimizer.weight_decay) and optimizer.weight_decay >= 0):
        raise UserError(f"optimizer.weight_decay is {optimizer.weight_decay}: it cannot be below 0")
    _at_least("optimizer.warmup_steps", optimizer.warmup_steps, 0)
    _one_of("optimizer.schedule", optimizer.schedule, ("cosine", "constant"))

    _one_of("runtime.device", options.runtime.device, ("auto", "cpu", "cuda"))
    _one_of("runtime.precision", options.runtime.precision, ("bf16-mixed", "16-mixed", "32-true"))
    limit = options.runtime.memory_limit_gib
    if limit is not None and not (math.isfinite(limit) and limit > 0):
        raise UserError(f"runtime.memory_limit_gib is {limit}: GiB above 0, or null for the whole GPU")
    _one_of("runtime.compile", options.runtime.compile, ("none", "regional", "full"))
    _one_of("runtime.shapes", options.runtime.shapes, ("auto", "static", "dynamic"))
    _one_of("runtime.attention", options.runtime.attention, ("sdpa", "xformers", "sliced"))
    _check_data(options.data)


def _check_data(data: DataOptions) -> None:
    _one_of("data.loader", data.loader, ("resident", "stream"))
    _one_of("data.on_fault", data.on_fault, ("skip", "stop"))
    for name, least in (("held_out", 0), ("workers", 0), ("limit", 1), ("shuffle_shards", 1)):
        _at_least(f"data.{name}", getattr(data, name), least)
    _at_least("data.states_per_process", data.states_per_process, 1)
    _at_least("data.most_buckets", data.most_buckets, 1)
    if not 0 <= data.max_faults <= 1:
        raise UserError(f"data.max_faults is {data.max_faults}: a share from 0 to 1 is needed")
    if not (data.steps is None or data.steps in STEPS or isinstance(data.steps, list)):
        raise UserError(f"data.steps is {data.steps}: choose {', '.join(STEPS)}, a list of weights, or null")
    for bucket in data.buckets or []:
        if len(bucket) != 2 or min(bucket) < 1:
            raise UserError(f"data.buckets has {list(bucket)}: each must be [height,width] in pixels")
    if data.buckets is not None and not data.buckets:
        raise UserError("data.buckets is empty: [[height,width],…], or null for the data's own size")


def _at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise UserError(f"{name} must be a whole number and at least {least}, not {value}")


def _one_of(name: str, value: str | None, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        known = ", ".join("null" if choice is None else choice for choice in choices)
        raise UserError(f"{name} cannot be {value!r}: choose from {known}")
