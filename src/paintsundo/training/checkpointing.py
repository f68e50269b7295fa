"""When checkpoints are saved during training, and what a save that fails does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import DeepSpeedStrategy
from lightning.pytorch.utilities import rank_zero_warn
from torch import distributed

from paintsundo.training.checkpoint_store import CheckpointStore, Fault, is_save_fault, one_line

STATE = "state.ckpt"
# Steps between looks at the clock where processes have to agree on it.
_CLOCK_STEPS = 16


def share_faults(fault: str | None) -> str | None:
    """Wait for all processes; the first fault that any of them has."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return fault
    faults: list[str | None] = [None] * distributed.get_world_size()
    distributed.all_gather_object(faults, fault)
    return next((message for message in faults if message is not None), None)


class DirectCheckpointIO(TorchCheckpointIO):
    """`torch.save` straight into the file; the store makes the folder around it atomic.

    Lightning's own first builds the whole file in memory, then in the system's temporary folder. A fault of the disk
    does not interrupt the strategy here, as other processes wait at its end: `Checkpoints` asks for it afterwards.

    Attributes:
        fault: of the last save.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fault: str | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        self.fault = None
        try:
            with Path(path).open("wb") as stream:
                torch.save(checkpoint, stream)
        except Exception as error:
            if not is_save_fault(error):
                raise
            self.fault = one_line(error)


class Checkpoints(Checkpoint):
    """Saves a checkpoint every n optimiser steps, optionally every m minutes, and at the end of training.

    Each is a folder with `state.ckpt` (a file, or a folder where the strategy writes shards). Training goes on after
    a save that failed: it is told, counted as `save_faults` in the logs, and the older checkpoints stay; only where
    the one at the end fails, this is an error. Lightning runs this after all other callbacks.

    Args:
        store: where to; its rank and exchange between processes are set here.
        every_steps: optimiser steps between checkpoints.
        every_minutes: time between them, if that is shorter.
        extra: called on every process with the checkpoint's folder, to write more files into it.
        tell: called on every process with each fault of a save.
    """

    def __init__(
        self,
        store: CheckpointStore,
        every_steps: int,
        every_minutes: float | None = None,
        extra: Callable[[Path], None] | None = None,
        tell: Callable[[Fault], None] | None = None,
    ) -> None:
        self.store, self.every_steps, self.every_minutes, self.extra = store, every_steps, every_minutes, extra
        self.tell = tell
        self._seen = self._saved = 0
        self._time = 0.0

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        self.store.rank, self.store.share = trainer.global_rank, share_faults
        # Only where it is the default: sharded strategies write by themselves.
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = DirectCheckpointIO()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._seen = self._saved = trainer.global_step
        self._time = time.monotonic()
        self.store.prune()

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any) -> None:
        # Batches that only add to the gradients are no steps.
        if trainer.global_step == self._seen:
            return
        self._seen = trainer.global_step
        if self._seen % self.every_steps == 0 or self._time_is_up(trainer):
            fault = self.save(trainer)
            if fault is not None:
                newest = self.store.newest()
                rank_zero_warn(
                    f"the checkpoint of step {fault.step} could not be saved ({fault.message}); training goes on, "
                    + ("there is no older one" if newest is None else f"the newest one is {newest}")
                )

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self._saved == trainer.global_step:
            return
        fault = self.save(trainer)
        if fault is not None:
            raise OSError(f"the last checkpoint, of step {fault.step}, could not be saved: {fault.message}")

    def save(self, trainer: lightning.Trainer) -> Fault | None:
        """Save now and remove old ones; the fault if it failed. All processes must call it."""
        step = trainer.global_step
        fault = self.store.save(step, lambda folder: self._write(trainer, folder))
        self._time = time.monotonic()
        if fault is None:
            self._saved = step
            self.store.prune()
        else:
            if self.tell is not None:
                self.tell(fault)
            for logger in trainer.loggers:
                logger.log_metrics({"save_faults": float(len(self.store.faults))}, step)
        return fault

    def _write(self, trainer: lightning.Trainer, folder: Path) -> None:
        try:
            trainer.save_checkpoint(folder / STATE)
        except BaseException as error:
            if trainer.world_size > 1 and is_save_fault(error):
                if isinstance(trainer.strategy, DeepSpeedStrategy):
                    # Its processes wait for each other while they save: none can go on without this one.
                    raise RuntimeError(f"a checkpoint could not be saved: {one_line(error)}") from error
                trainer.strategy.barrier()  # at which save_checkpoint ends on the others
            raise
        io = trainer.strategy.checkpoint_io
        fault = share_faults(io.fault if isinstance(io, DirectCheckpointIO) else None)
        if fault is not None:
            raise OSError(fault)
        if self.extra is not None:
            self.extra(folder)

    def _time_is_up(self, trainer: lightning.Trainer) -> bool:
        if self.every_minutes is None:
            return False
        up = time.monotonic() - self._time >= 60 * self.every_minutes
        if trainer.world_size == 1:
            return up
        return self._seen % _CLOCK_STEPS == 0 and trainer.strategy.broadcast(up)
