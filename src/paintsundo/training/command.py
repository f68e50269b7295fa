"""The `train` command: compose a configuration, build data and module, train, export in the official layout."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from paintsundo.errors import UserError
from paintsundo.settings import compose, one_line

LITERAL = ("output", "data.path", "model.autoencoder", "model.tags", "model.start")


def main(arguments: list[str] | None = None) -> int:
    """Run `train` with `name=value` arguments; returns the exit code (0, or 2 for a user's error, 130 for Ctrl-C)."""
    try:
        config = compose("train", sys.argv[1:] if arguments is None else arguments, literal_keys=LITERAL)
        check(config)
        if config.dry_run:
            print(describe(config))
            return 0
        train(config)
    except UserError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


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
    if config.max_steps < 1:
        raise UserError(f"max_steps must be at least 1, not {config.max_steps}")
    if config.batch_size < 1:
        raise UserError(f"batch_size must be at least 1, not {config.batch_size}")
    lines = missing(config)
    if lines and not config.dry_run:
        raise UserError("missing: " + "; ".join(lines))


def describe(config: DictConfig) -> str:
    """The resolved configuration and what is missing."""
    lines = missing(config)
    verdict = "nothing is missing" if not lines else "missing: " + "; ".join(lines)
    return OmegaConf.to_yaml(config, resolve=False) + verdict


def train(config: DictConfig) -> Path:
    """Train as configured, resuming from the last checkpoint in the output folder; returns `DIR/final`."""
    import lightning
    import torch
    from hydra.utils import instantiate
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger
    from torch.utils.data import DataLoader

    from paintsundo.data.shards import load_arrays
    from paintsundo.training.bank import ProcessBank
    from paintsundo.training.batches import Batches
    from paintsundo.training.callbacks import Samples, StepSeed
    from paintsundo.training.ema import ExponentialMovingAverage
    from paintsundo.training.module import PaintsUndoModule

    started = time.monotonic()
    torch.set_float32_matmul_precision("high")
    device = config.runtime.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "config.yaml")
    lightning.seed_everything(config.seed, verbose=False)

    workers, limit = config.data.workers, config.data.limit
    folders = [Path(config.data.path), *map(Path, config.data.also)]
    bank = ProcessBank.join((load_arrays(f, workers, None, "train") for f in folders), device).shuffle(0, limit)
    held_out = (load_arrays(f, workers, config.data.held_out, "validation") for f in folders)
    validation = ProcessBank.join(held_out, device).shuffle(0)
    print(
        f"{len(bank)} processes to train on, {len(validation)} held out, read in {time.monotonic() - started:.0f} s",
        flush=True,
    )

    module: PaintsUndoModule = instantiate(config.model, _convert_="all")
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
        print(f"going on from step {batches.start}", flush=True)
    fit_started = time.monotonic()
    trainer.fit(module, DataLoader(batches, batch_size=None), **resume)
    seconds = time.monotonic() - fit_started
    if trainer.interrupted:
        raise KeyboardInterrupt

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
