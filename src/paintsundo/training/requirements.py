"""What a training run still needs before it can start: options, folders, packages, GPUs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from paintsundo.training.combinations import DIFFUSION, SHARDED, module_of
from paintsundo.training.options import TrainOptions


def missing(options: TrainOptions) -> list[str]:
    """What is not there, one line each; empty if training can start."""
    if not options.target:
        return ["experiment=NAME (one of configs/experiment)"]
    return [*_data(options), *_weights(options), *_packages(options), *_devices(options)]


def _data(options: TrainOptions) -> list[str]:
    lines = []
    if options.output is None:
        lines.append("output=DIR")
    if options.data.path is None:
        lines.append("data.path=DATASET (python -m paintsundo.data build …)")
    for folder in [options.data.path, *options.data.also]:
        if folder is None or "://" in folder:
            continue
        if not (Path(folder) / "manifest.json").is_file():
            lines.append(f"a data set at {folder}: it has no manifest.json")
    return lines


def _weights(options: TrainOptions) -> list[str]:
    lines = []
    if options.start is None:
        if "network" in _none_of(options):
            lines.append("start=FOLDER (weights to begin with)")
        elif options.lora.rank is not None:
            lines.append("start=FOLDER (LoRA adapts weights that are there)")
    elif _is_path(options.start) and not Path(options.start).exists():
        lines.append(f"start: {options.start} does not exist")
    for key in _needed(options):
        lines.append(f"model.{key}")
    for key, value in _paths(options):
        if not Path(value).exists():
            lines.append(f"{key}: {value} does not exist")
    return lines


def _needed(options: TrainOptions) -> list[str]:
    """Parts of the model, made or trained elsewhere, that neither an option nor the start names."""
    absent = _none_of(options)
    given = options.model or {}
    # The diffusion models' own start is that of the run, and the run's is any other's too.
    own_start = "start" in absent and module_of(options) not in DIFFUSION
    needed = ["start"] if own_start and options.start is None else []
    if options.start is None and "network" not in absent:
        needed += [key for key in ("autoencoder",) if key in absent]
        # New text encoders learn the words of the tagger's table; one that is there has words of its own.
        own_words = given.get("text") is not None and given.get("text_encoder") is None
        needed += ["tags"] if "tags" in absent and own_words else []
        needed += ["text_encoder"] if "text_encoder" in absent and not own_words else []
    return needed


def _none_of(options: TrainOptions) -> set[str]:
    return {key for key, value in (options.model or {}).items() if value is None}


def _paths(options: TrainOptions) -> list[tuple[str, str]]:
    keys = ["autoencoder", "tags", "text_encoder"] + ([] if module_of(options) in DIFFUSION else ["start"])
    found: dict[str, Any] = {f"model.{key}": (options.model or {}).get(key) for key in keys}
    found["lora.start"] = options.lora.start
    return [(key, value) for key, value in found.items() if value is not None]


def _is_path(source: str) -> bool:
    """Whether a start can only mean a place in this file system, and no model of the hub."""
    return (
        source.startswith(("/", ".", "~")) or source.count("/") > 1 or Path(source).suffix in (".ckpt", ".safetensors")
    )


def _packages(options: TrainOptions) -> list[str]:
    lines = []
    if options.trainer.strategy.startswith("zero") and not _installed("deepspeed"):
        lines.append("the package deepspeed (pip install 'paintsundo[gpu]'), or trainer=fsdp2")
    if options.optimizer.name == "adamw_8bit":
        sharded = options.trainer.strategy == "fsdp2"
        # bitsandbytes does not know the shards of FSDP2.
        if not _installed("torchao") and (sharded or not _installed("bitsandbytes")):
            either = "torchao" if sharded else "bitsandbytes or torchao"
            lines.append(f"the package {either} (pip install it), or optimizer=adamw")
    if options.logger.tensorboard and not _installed("tensorboard"):
        lines.append("the package tensorboard (pip install 'paintsundo[tensorboard]'), or logger.tensorboard=false")
    if options.logger.wandb and not _installed("wandb"):
        lines.append("the package wandb (pip install wandb), or logger.wandb=false")
    if options.runtime.attention == "xformers" and not _installed("xformers"):
        lines.append("the package xformers (pip install 'paintsundo[gpu]'), or runtime.attention=sdpa")
    return lines


def _devices(options: TrainOptions) -> list[str]:
    trainer, runtime = options.trainer, options.runtime
    wants = [
        said
        for said, wanted in (
            ("runtime.device=cuda", runtime.device == "cuda"),
            (f"trainer.strategy={trainer.strategy}", trainer.strategy in SHARDED),
            ("trainer.devices=auto", trainer.devices == "auto"),
            ("runtime.precision=16-mixed", runtime.precision == "16-mixed"),
            ("optimizer.name=adamw_8bit", options.optimizer.name == "adamw_8bit"),
        )
        if wanted
    ]
    several = isinstance(trainer.devices, int) and trainer.devices > 1 and runtime.device != "cpu"
    if not wants and not several:
        return []
    import torch

    count = torch.cuda.device_count()
    if wants and not count:
        return [f"a GPU ({wants[0]})"]
    if several and 0 < count < int(trainer.devices):
        return [f"{trainer.devices} GPUs (trainer.devices): this machine has {count}"]
    return []


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
