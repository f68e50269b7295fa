"""Options of `train.py` that exclude each other, and what to say instead."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paintsundo.errors import UserError

if TYPE_CHECKING:
    from paintsundo.training.options import TrainOptions

SHARDED = ("zero1", "zero2", "zero3", "fsdp2")
DIFFUSION = ("SingleFrameModule", "MultiFrameModule")
VIDEO = ("MultiFrameModule", "VideoAutoencoderModule")
# Sizes of pictures: the autoencoders halve three times, the published 3D UNet three times more.
PICTURE_MULTIPLE, VIDEO_MULTIPLE = 8, 64


def check_combinations(options: TrainOptions) -> None:
    """Raise UserError for values that are possible each by itself, but not together."""
    _check_strategy(options)
    _check_precision(options)
    _check_graphs(options)
    _check_parts(options)
    _check_intervals(options)
    _check_loader(options)
    _check_diffusion(options)


def _check_strategy(options: TrainOptions) -> None:
    trainer, runtime = options.trainer, options.runtime
    strategy = trainer.strategy
    if strategy == "one" and (trainer.devices != 1 or trainer.num_nodes != 1):
        several = "trainer.devices" if trainer.devices != 1 else "trainer.num_nodes"
        raise UserError(f"{several}={getattr(trainer, several.split('.')[1])} needs a strategy: say trainer=ddp too")
    if strategy in SHARDED and runtime.device == "cpu":
        raise UserError(f"trainer.strategy={strategy} needs GPUs: say runtime.device=cuda, or trainer=ddp")
    if trainer.devices == "auto" and runtime.device == "cpu":
        raise UserError("trainer.devices=auto counts GPUs: on runtime.device=cpu say how many, as in trainer.devices=2")
    if trainer.offload_optimizer and not strategy.startswith("zero"):
        raise UserError("trainer.offload_optimizer is DeepSpeed's: say trainer=zero2_offload")
    if trainer.offload_parameters and strategy != "zero3":
        raise UserError("trainer.offload_parameters needs ZeRO 3: say trainer=zero3_offload")
    if strategy == "zero3" and runtime.compile == "full":
        raise UserError("ZeRO 3 fetches weights block by block: say runtime.compile=regional, or none")
    if trainer.offload_optimizer and options.optimizer.name == "adamw_8bit":
        raise UserError("an offloaded optimiser computes on the processor: say optimizer=adamw")


def _check_precision(options: TrainOptions) -> None:
    precision, device = options.runtime.precision, options.runtime.device
    if precision == "16-mixed" and device == "cpu":
        raise UserError("runtime.precision=16-mixed needs a GPU: say bf16-mixed or 32-true on runtime.device=cpu")
    if precision == "16-mixed" and options.trainer.strategy == "fsdp2":
        raise UserError("FSDP2 scales no losses, which 16-mixed needs: say runtime.precision=bf16-mixed")
    if options.optimizer.name == "adamw_8bit" and device == "cpu":
        raise UserError("optimizer.name=adamw_8bit needs a GPU: say optimizer=adamw on runtime.device=cpu")
    if options.runtime.gradient_checkpointing and module_of(options) == "TaggerModule":
        raise UserError("the tagger keeps few activations: say runtime.gradient_checkpointing=false")


def _check_graphs(options: TrainOptions) -> None:
    runtime = options.runtime
    if not runtime.graphs:
        return
    if options.target and module_of(options) not in DIFFUSION:
        raise UserError("runtime.graphs is for the single-frame and the multi-frame model: say runtime.graphs=false")
    for name, value, needed in (
        ("trainer.strategy", options.trainer.strategy, "one"),
        ("accumulate", options.accumulate, 1),
        ("runtime.compile", runtime.compile, "none"),
        ("runtime.gradient_checkpointing", runtime.gradient_checkpointing, False),
    ):
        if value != needed:
            needed = str(needed).lower()
            raise UserError(f"runtime.graphs=true needs {name}={needed}: say that, or runtime.graphs=false")


def _check_parts(options: TrainOptions) -> None:
    lora = options.lora
    if lora.rank is not None and options.train_parts is not None:
        raise UserError("lora.rank trains adapters, train_parts the weights themselves: leave one of them null")
    if lora.rank is None and lora.start is not None:
        raise UserError("lora.start goes on from adapters: say their rank too, as in lora.rank=16")
    if lora.rank is None and lora.alpha is not None:
        raise UserError("lora.alpha scales adapters: say their rank too, as in lora.rank=16")
    if lora.rank is not None and options.target and module_of(options) not in DIFFUSION:
        raise UserError("LoRA is for the single-frame and the multi-frame model: say lora.rank=null")
    if options.train_parts is not None and not options.train_parts:
        raise UserError("train_parts is empty, so nothing would be trained: null trains everything")
    for expression in options.train_parts or []:
        try:
            re.compile(expression)
        except re.error as error:
            raise UserError(f"train_parts: {expression!r} is no regular expression: {error}") from error


def _check_intervals(options: TrainOptions) -> None:
    if options.data.held_out == 0 and (options.sample_every or options.held_out_every):
        raise UserError(
            "data.held_out=0 leaves nothing to measure on: say data.held_out=1 or more, "
            "or sample_every=null and held_out_every=null"
        )
    if options.keep_every is not None and options.keep_every % options.checkpoint_every:
        raise UserError(
            f"keep_every={options.keep_every} is no multiple of checkpoint_every={options.checkpoint_every}, "
            "so no checkpoint falls on it: change one"
        )


def _check_loader(options: TrainOptions) -> None:
    data, module = options.data, module_of(options)
    if options.batch_size % data.states_per_process:
        raise UserError(
            f"batch_size={options.batch_size} is no multiple of data.states_per_process={data.states_per_process}: "
            "change one"
        )
    stream = data.loader == "stream"
    for name in ("cache", "steps"):
        if getattr(data, name) is not None and not stream:
            raise UserError(f"data.{name} is for shards read as they are needed: say data.loader=stream too")
    if data.states_per_process > 1 and not stream:
        raise UserError("data.states_per_process is for shards read as they are needed: say data.loader=stream too")
    if data.steps == "states" and data.cache is not None:
        raise UserError("data.cache keeps states at equal distances in work: say data.steps=uniform or data.cache=null")
    if module in VIDEO and data.steps not in (None, "uniform", "states"):
        raise UserError(f"data.steps is {data.steps}: clips are drawn uniform or by states")
    multiple = _multiple(options)
    for height, width in data.buckets or []:
        if height % multiple or width % multiple:
            nearest = [max(1, round(side / multiple)) * multiple for side in (height, width)]
            raise UserError(
                f"data.buckets has [{height},{width}]: multiples of {multiple} are needed, "
                f"as [{nearest[0]},{nearest[1]}]"
            )
    if data.cache is not None:
        if options.target and module not in DIFFUSION:
            raise UserError("data.cache keeps what frozen encoders give, and here none is frozen: say data.cache=null")
        model = options.model or {}
        if module == "MultiFrameModule" and model.get("train_encoders", False):
            raise UserError("data.cache keeps what frozen encoders give: say model.train_encoders=false too")
        if module == "MultiFrameModule" and options.start is None and model.get("image_encoder") is not None:
            raise UserError("data.cache keeps what frozen encoders give, and a new one is trained: say start=FOLDER")


def _multiple(options: TrainOptions) -> int:
    """Of the sides of pictures."""
    if module_of(options) != "MultiFrameModule":
        return PICTURE_MULTIPLE
    levels = ((options.model or {}).get("network") or {}).get("channel_mult") if options.start is None else None
    return PICTURE_MULTIPLE * 2 ** (len(levels) - 1) if levels else VIDEO_MULTIPLE


def _check_diffusion(options: TrainOptions) -> None:
    model, module = options.model or {}, module_of(options)
    video = module == "MultiFrameModule"
    prediction = model.get("prediction_type", "v_prediction" if video else "epsilon")
    _check_choice("prediction_type", prediction, ("epsilon", "v_prediction"))
    if module in DIFFUSION and prediction == "epsilon" and model.get("zero_terminal_snr", video):
        instead = "model.zero_terminal_snr=false" if video else "model.prediction_type=v_prediction"
        raise UserError(f"at zero terminal SNR noise tells nothing of itself: say {instead}")
    _check_choice("beta_schedule", model.get("beta_schedule", "linear"), ("linear", "scaled_linear"))
    lowest, highest = model.get("beta_start", 0.00085), model.get("beta_end", 0.012 if video else 0.02)
    if module in DIFFUSION and not 0 < lowest < highest < 1:
        raise UserError(f"model.beta_start={lowest} and model.beta_end={highest}: 0 < start < end < 1 is needed")
    for name, most in (("text_dropout", 1.0), ("picture_dropout", 1.0), ("step_dropout", 1.0), ("dropout", 1 / 3)):
        value = model.get(name)
        if value is not None and not (isinstance(value, int | float) and 0 <= value <= most):
            raise UserError(f"model.{name} is {value}: from 0 to {most:.3g} is possible")
    windows = model.get("windows")
    known = ("none", "prv", "first", "roll")
    if windows is not None and (not isinstance(windows, list) or not windows or set(windows) - set(known)):
        raise UserError(f"model.windows is {windows}: one or more of {', '.join(known)} in a list, as in [none,prv]")
    _check_networks(model)


def _check_networks(model: Mapping[str, Any]) -> None:
    """What the networks themselves would refuse, only later."""
    projection = model.get("projection") or {}
    _check_choice("operation_embedding", model.get("operation_embedding"), (None, "added", "none", "token"))
    _check_choice("projection.input_frames_length", projection.get("input_frames_length", 2), (1, 2))
    positions = ("nearest", "bilinear", "rotary")
    _check_choice("patch_positions", model.get("patch_positions"), (None, *positions))
    own = (model.get("image_encoder") or {}).get("patch_positions", "nearest")
    _check_choice("image_encoder.patch_positions", own, positions)
    skipped = model.get("clip_skip", 0)
    if not isinstance(skipped, int) or skipped < 0:
        raise UserError(f"model.clip_skip is {skipped}: a number of layers is needed, from 0 up")


def _check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    if value not in choices:
        known = ", ".join("null" if choice is None else str(choice) for choice in choices)
        raise UserError(f"model.{name} cannot be {value!r}: choose from {known}")


def module_of(options: TrainOptions) -> str:
    """Name of the module class, "" where no experiment is chosen."""
    return options.target.rpartition(".")[2]
