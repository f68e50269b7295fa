"""One training run: module, data, callbacks, resuming, the export."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from omegaconf import DictConfig, OmegaConf

from paintsundo.training.callbacks import DataOrder, Result, StepSeed, StreamFaults
from paintsundo.training.checkpoint_store import CheckpointStore, Fault
from paintsundo.training.checkpointing import STATE, Checkpoints
from paintsundo.training.diffusion import DiffusionModule
from paintsundo.training.ema import AverageWeights
from paintsundo.training.faults import FaultKind, Faults, NonFinite
from paintsundo.training.graphs import RecordedPasses
from paintsundo.training.held_out import HeldOutLoss
from paintsundo.training.loggers import build_loggers
from paintsundo.training.module import PaintsUndoModule
from paintsundo.training.options import TrainOptions
from paintsundo.training.parameters import size_of
from paintsundo.training.profiling import StepProfile
from paintsundo.training.progress import TrainingProgress
from paintsundo.training.run_lock import run_lock
from paintsundo.training.samples import Samples
from paintsundo.training.speed import prepare_for_speed
from paintsundo.training.strategies import AutocastDeepSpeedPrecision, build_strategy
from paintsundo.training.throughput import Throughput, peak_memory
from paintsundo.training.training_data import TrainingData, open_data


@dataclass(frozen=True)
class Place:
    """Which process of how many this is, and its device."""

    rank: int
    world: int
    devices: int  # processes on this machine
    device: torch.device

    @classmethod
    def of(cls, options: TrainOptions) -> Place:
        """Read from what torchrun or Slurm set, or one process alone."""
        nodes = options.trainer.num_nodes
        world = int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", 1)))
        world = 1 if options.trainer.strategy == "one" else world
        rank = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0))) if world > 1 else 0
        local = int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", 0))) if world > 1 else 0
        name = options.runtime.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(
            rank, world, max(1, world // nodes), torch.device(name, local) if name == "cuda" else torch.device(name)
        )


def train(config: DictConfig, options: TrainOptions, module: PaintsUndoModule, measure_only: bool = False) -> Path:
    """Train a module as configured, resuming from the newest complete checkpoint; returns `DIR/final`.

    Args:
        config: as composed; kept in `DIR/config.yaml`.
        options: its typed form.
        module: what is trained.
        measure_only: for benchmarks: no checkpoints and no export, `DIR/summary.json` alone.

    Raises:
        UserError: the data cannot be used, or another run trains into the same folder.
        FloatingPointError: too many steps in a row were not finite.
        OSError: the last checkpoint or the export could not be written.
    """
    # Tips, and libraries' warnings about each other, would hide what a run has to say.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
    place = Place.of(options)
    assert options.output is not None
    folder = Path(options.output)
    if place.rank:
        return _train(config, options, module, place, folder, measure_only)
    with run_lock(folder):
        return _train(config, options, module, place, folder, measure_only)


def _train(
    config: DictConfig,
    options: TrainOptions,
    module: PaintsUndoModule,
    place: Place,
    folder: Path,
    measure_only: bool,
) -> Path:
    started = time.monotonic()
    if place.device.type == "cuda":
        torch.cuda.set_device(place.device)

    def say(line: str) -> None:
        if place.rank == 0:
            print(line, flush=True)

    store = CheckpointStore(folder / "checkpoints", options.keep_checkpoints, options.keep_every, rank=place.rank)
    newest = store.newest()
    done = 0 if newest is None else int(json.loads((newest / "manifest.json").read_text())["step"])
    if is_finished(folder, options, done):
        say(f"finished at step {done} already: {folder / 'final'}")
        return folder / "final"
    if place.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, folder / "config.yaml", resolve=True)

    module.optimizer_settings, module.max_minutes = options.optimizer, options.max_minutes
    module.gradient_clip = options.gradient_clip
    if options.runtime.precision == "bf16-mixed" and options.trainer.strategy == "fsdp2":
        module.shard_dtype = torch.bfloat16
    if options.trainer.strategy.startswith("zero"):  # DeepSpeed switches autocast off around the step
        module.autocast_dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(options.runtime.precision)
    if options.runtime.precision == "bf16-mixed" and place.device.type == "cuda":
        module.frozen_dtype = torch.bfloat16  # what autocast would make of them anyway, in half the memory
        if getattr(module, "lora", None) is not None:
            for parameter in module.parameters():
                parameter.data = parameter.data if parameter.requires_grad else parameter.data.bfloat16()
    if options.runtime.memory_limit_gib is not None and place.device.type == "cuda":
        total = torch.cuda.get_device_properties(place.device).total_memory / 2**30
        torch.cuda.set_per_process_memory_fraction(min(1.0, options.runtime.memory_limit_gib / total), place.device)
    data = open_data(options, module, place.device, place.rank, place.world)
    held = 0 if data.held_out is None else len(data.held_out)
    say(f"{data.processes} processes to train on, {held} held out, read in {time.monotonic() - started:.0f} s")
    if data.table:
        say(data.table)
    faults = Faults(folder, place.rank)
    if place.rank == 0:
        for fault in data.faults:
            faults.add("damaged data", str(fault))

    prepare_for_speed(
        module.compiled_networks(),
        # On processors torch 2.13's compiled backward pass has given wrong gradients, others each time.
        compile=options.runtime.compile if place.device.type == "cuda" else "none",
        attention=options.runtime.attention,
        channels_last=options.runtime.channels_last,
        gradient_checkpointing=options.runtime.gradient_checkpointing,
        device=place.device,
        dynamic=options.runtime.shapes == "dynamic" or (options.runtime.shapes == "auto" and data.sizes > 1),
    )
    if options.runtime.graphs and place.device.type == "cuda" and isinstance(module, DiffusionModule):
        module.recorded = RecordedPasses(module.trained_networks())
    averages = AverageWeights(options.ema.kind, options.ema.decay, options.ema.stds, options.ema.snapshot_every, folder)
    trainer = build_trainer(options, place, folder, data, averages, faults, None if measure_only else store, done)
    resume: dict[str, Any] = {}
    if newest is not None:
        resume = {"ckpt_path": newest / STATE, "weights_only": True}
        averages.read_shard(newest, trainer)
        say(f"going on from step {done}")
    loader = data.loader(done * options.accumulate, place.device.type == "cuda")
    say(f"ready after {time.monotonic() - started:.0f} s")

    fit_started = time.monotonic()
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, loader, **resume)
    except SystemExit:  # lightning's answer to Ctrl-C, which it also switches off
        signal.signal(signal.SIGINT, handler)
        if not trainer.interrupted:
            raise
    if trainer.interrupted:
        raise KeyboardInterrupt
    seconds = time.monotonic() - fit_started

    final = folder / "final"
    if measure_only:
        if trainer.is_global_zero:
            _summarise(trainer, module, options, place, folder, data, faults, seconds, started, done)
        return final
    result = next(c for c in trainer.callbacks if isinstance(c, Result))  # type: ignore[attr-defined]
    if result.state is None:  # it was interrupted between its last checkpoint and the export
        averages.on_train_start(trainer, module)
        result.on_train_end(trainer, module)
    state = result.state
    if trainer.is_global_zero:
        assert state is not None
        _export(module, final, state, data)
        _summarise(trainer, module, options, place, folder, data, faults, seconds, started, done)
    if place.world > 1:
        torch.distributed.barrier()
    return final


def is_finished(folder: Path, options: TrainOptions, done: int) -> bool:
    """Whether a run that has taken `done` steps ended and was exported, by the limits that hold now."""
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not (folder / "final").is_dir() or summary["steps"] != done:
        return False
    by_time = options.max_minutes is not None and summary.get("max_minutes") == options.max_minutes
    return done >= options.max_steps or by_time


def build_trainer(
    options: TrainOptions,
    place: Place,
    folder: Path,
    data: TrainingData,
    averages: AverageWeights,
    faults: Faults,
    store: CheckpointStore | None,
    done: int,
) -> lightning.Trainer:
    """Lightning's trainer with all callbacks of a run that has taken `done` steps; without a store it keeps nothing."""
    callbacks: list[lightning.Callback] = [
        StepSeed(options.seed),
        DataOrder(data.fingerprint),
        StreamFaults(faults),
        averages,
        Throughput(options.log_every),
        NonFinite(options.nonfinite_limit, faults),
    ]
    if data.held_out is not None:
        every = options.held_out_every or options.sample_every
        if every:
            count = max(1, min(16, len(data.held_out)))
            callbacks.append(HeldOutLoss(data.held_out, folder, every, averages, count, min(count, 4)))
        if options.sample_every:
            callbacks.append(
                Samples(data.held_out, folder, options.sample_every, options.sample_count, averages, faults)
            )
    if options.progress_bar:
        callbacks.append(TrainingProgress(options.log_every))
    if options.profiler == "torch":
        callbacks.append(StepProfile(folder))
    if store is not None:
        callbacks.append(Result(averages))
        callbacks.append(
            Checkpoints(
                store,
                options.checkpoint_every,
                extra=lambda partial: _beside_state(partial, trainer, averages),
                tell=lambda fault: _failed_save(faults, fault),
            )
        )
    strategy = options.trainer.strategy
    zero = strategy.startswith("zero")
    precision: dict[str, Any] = {"precision": options.runtime.precision}
    if zero:
        precision = {"plugins": [AutocastDeepSpeedPrecision(options.runtime.precision)]}  # type: ignore[arg-type]
    on_gpu = place.device.type == "cuda"
    trainer = lightning.Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=[place.device.index or 0] if on_gpu and place.world == 1 else place.devices,
        num_nodes=options.trainer.num_nodes,
        strategy=build_strategy(
            strategy,
            place.world,
            options.trainer.offload_optimizer,
            options.trainer.offload_parameters,
            options.batch_size,
        ),
        max_steps=options.max_steps,
        accumulate_grad_batches=options.accumulate,
        gradient_clip_val=options.gradient_clip or None if zero else None,
        callbacks=callbacks,
        logger=build_loggers(asdict(options.logger), folder, done),
        log_every_n_steps=options.log_every,
        profiler="simple" if options.profiler == "simple" else None,
        enable_model_summary=False,
        enable_progress_bar=options.progress_bar,
        enable_checkpointing=store is not None,
        use_distributed_sampler=False,
        **precision,
    )
    return trainer


def _failed_save(faults: Faults, fault: Fault) -> None:
    """All processes learn of it; one counts it."""
    if faults.rank == 0:
        faults.add(FaultKind.FAILED_SAVE, fault.message, fault.step)


def _beside_state(partial: Path, trainer: lightning.Trainer, averages: AverageWeights) -> None:
    """What a checkpoint holds beside Lightning's own: shards of averages, configurations of the networks."""
    averages.write_shard(partial, trainer)
    if not trainer.is_global_zero:
        return
    configs = {}
    for name, network in trainer.lightning_module.named_children():
        config = getattr(network, "config", None)
        if config is not None:
            text = network.to_json_string() if hasattr(network, "to_json_string") else config.to_json_string()
            configs[name] = json.loads(text)
    (partial / "components.json").write_text(json.dumps(configs, indent=1) + "\n", encoding="utf-8")


def _export(module: PaintsUndoModule, final: Path, state: dict[str, torch.Tensor], data: TrainingData) -> None:
    """Write the result; it appears under its name only when it is whole."""
    partial = final.with_name(".final.partial")
    shutil.rmtree(partial, ignore_errors=True)
    bank = data.banks[0] if data.banks is not None else data.held_out
    module.restore_frozen()
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        module.export(partial, state, bank)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)


def _summarise(
    trainer: lightning.Trainer,
    module: PaintsUndoModule,
    options: TrainOptions,
    place: Place,
    folder: Path,
    data: TrainingData,
    faults: Faults,
    seconds: float,
    started: float,
    done: int,
) -> None:
    steps = trainer.global_step - done
    speed = next(c for c in trainer.callbacks if isinstance(c, Throughput)).latest  # type: ignore[attr-defined]
    held = next((c for c in trainer.callbacks if isinstance(c, HeldOutLoss)), None)  # type: ignore[attr-defined]
    loss = None if held is None else held.latest.get("held_out_loss")
    summary = {
        "steps": trainer.global_step,
        "max_minutes": options.max_minutes,
        "batch_size": options.batch_size,
        "accumulate": options.accumulate,
        "strategy": options.trainer.strategy,
        "devices": place.world,
        "seconds_training": round(seconds, 1),
        "seconds_total": round(time.monotonic() - started, 1),
        "steps_per_second": round(steps / max(seconds, 1e-9), 3),
        "seconds_per_step": speed.get("throughput/seconds_per_step"),
        "images_per_second": speed.get("throughput/images_per_second"),
        "mfu": speed.get("throughput/mfu"),
        "parameters": sum(size_of(p) for n in module.trained_networks() for p in n.parameters()),
        "trained_parameters": sum(size_of(p) for p in module.parameters() if p.requires_grad),
        "processes": data.processes,
        "peak_memory_gib": round(peak_memory(place.device), 2),
        "device": torch.cuda.get_device_name(place.device) if place.device.type == "cuda" else "cpu",
        "held_out_loss": loss if loss is not None or held is None else _last_held_out(folder),
        "faults": faults.totals(),
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary), flush=True)


def _last_held_out(folder: Path) -> float | None:
    from paintsundo.training.figures import read_figures

    found = [line["held_out_loss"] for line in read_figures(folder) if line.get("held_out_loss") is not None]
    return found[-1] if found else None
