"""The `train` command: compose a configuration, build data and module, train, export in the official layout."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from paintsundo.command_line import exit_code
from paintsundo.errors import UserError
from paintsundo.settings import compose, split_literals

if TYPE_CHECKING:
    from paintsundo.training.module import PaintsUndoModule

LITERAL = ("output", "data.path", "model.autoencoder", "model.tags", "model.start")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `train` with `name=value` arguments; returns the exit code (0, or 2 for a user's error, 130 for Ctrl-C)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return exit_code(
        lambda: run(given),
        interrupted="interrupted; the same command goes on from the last checkpoint",
        memory_advice="a smaller batch_size needs less",
    )


def run(arguments: Sequence[str]) -> int:
    """Compose the configuration and train, or only tell it (`dry_run=true`).

    Raises:
        UserError: an option is unknown or impossible, or something it names is missing or unusable.
    """
    config = configure(arguments)
    check(config)
    if config.dry_run:
        print(describe(config))
    else:
        train(config)
    return 0


def configure(arguments: Sequence[str]) -> DictConfig:
    """The configuration of `name=value` arguments.

    Raises:
        UserError: an option is unknown, or not one of the experiment's model.
    """
    literals, others = split_literals(arguments, LITERAL)
    known = compose("train", others)
    for key in literals:
        group, _, name = key.rpartition(".")
        if group == "model" and (known.model is None or name not in known.model):
            raise UserError(
                f"unknown option {key}: "
                + ("no experiment is chosen" if known.model is None else "this experiment has none")
            )
    return compose("train", arguments, LITERAL)


def missing(config: DictConfig) -> list[str]:
    """What this configuration still needs before it can run, one line each."""
    lines = []
    if config.model is None:
        lines.append("experiment=NAME (one of configs/experiment)")
        return lines
    if config.output is None:
        lines.append("output=DIR")
    if config.data.path is None:
        lines.append("data.path=DATASET (python -m paintsundo.data build …)")
    for folder in [config.data.path, *config.data.also]:
        if folder is not None and not (Path(folder) / "manifest.json").is_file():
            lines.append(f"a data set at {folder}: it has no manifest.json")
    for key in ("autoencoder", "tags", "start"):
        if key not in config.model:
            continue
        value = config.model[key]
        if value is None:
            lines.append(f"model.{key}")
        elif not Path(value).exists():
            lines.append(f"model.{key}: {value} does not exist")
    return lines


def check(config: DictConfig) -> None:
    """Refuse impossible settings before anything is loaded.

    Raises:
        UserError: something is missing or impossible.
    """
    for name in ("max_steps", "batch_size", "sample_every", "sample_count", "checkpoint_every", "log_every"):
        if type(config[name]) is not int or config[name] < 1:
            raise UserError(f"{name} must be a whole number and at least 1, not {config[name]!r}")
    if type(config.seed) is not int or config.seed < 0:
        raise UserError(f"seed must be a whole number and at least 0, not {config.seed!r}")
    lines = missing(config)
    if lines and not config.dry_run:
        raise UserError("missing: " + "; ".join(lines))


def describe(config: DictConfig) -> str:
    """The resolved configuration and what is missing."""
    lines = missing(config)
    verdict = "nothing is missing" if not lines else "missing: " + "; ".join(lines)
    return OmegaConf.to_yaml(config, resolve=False) + verdict


def build(config: DictConfig) -> PaintsUndoModule:
    """The module of a configuration.

    Raises:
        UserError: a folder or file that it names cannot be used.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(config.model, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise


def train(config: DictConfig) -> Path:
    """Train as configured, resuming from the last checkpoint in the output folder; returns `DIR/final`."""
    import lightning
    import torch
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger
    from torch.utils.data import DataLoader

    from paintsundo.data.shards import load_arrays
    from paintsundo.training.bank import ProcessBank
    from paintsundo.training.batches import Batches
    from paintsundo.training.callbacks import Samples, StepSeed
    from paintsundo.training.ema import ExponentialMovingAverage

    started = time.monotonic()
    torch.set_float32_matmul_precision("high")
    device = config.runtime.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "config.yaml")
    lightning.seed_everything(config.seed, verbose=False)

    module = build(config)
    workers, limit = config.data.workers, config.data.limit
    folders = [Path(config.data.path), *map(Path, config.data.also)]
    bank = ProcessBank.join((load_arrays(f, workers, None, "train") for f in folders), device).shuffle(0, limit)
    held_out = (load_arrays(f, workers, config.data.held_out, "validation") for f in folders)
    validation = ProcessBank.join(held_out, device).shuffle(0)
    print(
        f"{len(bank)} processes to train on, {len(validation)} held out, read in {time.monotonic() - started:.0f} s",
        flush=True,
    )

    module.max_minutes = config.max_minutes
    module.prepare(bank)
    print(f"ready after {time.monotonic() - started:.0f} s", flush=True)
    checkpoints = folder / "checkpoints"
    averages = ExponentialMovingAverage(config.ema_decay)
    callbacks: list[lightning.Callback] = [
        StepSeed(config.seed),
        averages,
        Samples(validation, folder, config.sample_every, config.sample_count),
        ModelCheckpoint(checkpoints, save_last=True, save_top_k=0, every_n_train_steps=config.checkpoint_every),
    ]
    trainer = lightning.Trainer(
        accelerator="gpu" if device.startswith("cuda") else device,
        devices=1,
        precision=config.runtime.precision,
        max_steps=config.max_steps,
        callbacks=callbacks,
        logger=CSVLogger(folder, name="log", version=""),
        gradient_clip_val=config.gradient_clip,
        log_every_n_steps=config.log_every,
        enable_model_summary=False,
        enable_progress_bar=config.progress_bar,
        use_distributed_sampler=False,
    )
    last = checkpoints / "last.ckpt"
    batches = Batches(module.make_batches(bank, config.batch_size), config.seed, bank.device)
    resume: dict[str, Any] = {}
    if last.is_file():
        batches.start = int(torch.load(last, weights_only=True, map_location="cpu")["global_step"])
        resume = {"ckpt_path": last, "weights_only": True}
        log = folder / "log" / "metrics.csv"
        if log.is_file():  # the logger begins a new one
            log.rename(log.with_name(f"metrics_before_{batches.start:06d}.csv"))
        print(f"going on from step {batches.start}", flush=True)
    fit_started = time.monotonic()
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, DataLoader(batches, batch_size=None), **resume)
    except SystemExit:  # lightning's answer to Ctrl-C, which it also switches off
        signal.signal(signal.SIGINT, handler)
        if not trainer.interrupted:
            raise
    if trainer.interrupted:
        raise KeyboardInterrupt
    seconds = time.monotonic() - fit_started

    module.to(bank.device)
    final = folder / "final"
    with averages.swapped(module), torch.no_grad(), torch.compiler.set_stance("force_eager"):
        module.export(final, bank)
    steps = trainer.global_step - batches.start
    summary = {
        "steps": trainer.global_step,
        "batch_size": config.batch_size,
        "seconds_training": round(seconds, 1),
        "seconds_total": round(time.monotonic() - started, 1),
        "steps_per_second": round(steps / max(seconds, 1e-9), 3),
        "parameters": sum(p.numel() for n in module.trained_networks() for p in n.parameters()),
        "processes": len(bank),
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if device.startswith("cuda") else None,
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "cpu",
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary), flush=True)
    return final
