"""What happens beside the steps: one random stream per batch, the order of the data, its faults."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from paintsundo.training.batches import seed_of
from paintsundo.training.ema import AverageWeights
from paintsundo.training.faults import FaultKind, Faults
from paintsundo.training.parameters import full_state


class StepSeed(lightning.Callback):
    """Seeds torch before each batch from (seed, batch), so that a resumed run draws what one never interrupted would.

    All processes get the same seed: modules draw for all rows and take their own (`DiffusionModule.rows`).
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_index: int
    ) -> None:
        torch.manual_seed(seed_of(self.seed, int(batch["number"])))


class DataOrder(lightning.Callback):
    """Keeps the fingerprint of the data in checkpoints, and says when a run goes on with other data."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def state_dict(self) -> dict[str, Any]:
        return {"fingerprint": self.fingerprint}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state.get("fingerprint") != self.fingerprint:
            rank_zero_warn("data, batch size, seed or number of devices changed: batches are others than before")


class StreamFaults(lightning.Callback):
    """Names and counts what the loader could not read."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_index: int
    ) -> None:
        for fault in batch.get("faults", ()):
            told = ", ".join(str(fault[key]) for key in ("shard", "key", "reason") if fault.get(key))
            self.faults.add(FaultKind.BROKEN_SAMPLE, told, trainer.global_step)


class Result(lightning.Callback):
    """At the end of training, while all processes still have their shares, puts the whole result together.

    Attributes:
        state: averaged parameters and all else (`parameters.full_state`), on the first process; {} on others.
    """

    def __init__(self, averages: AverageWeights) -> None:
        self.averages = averages
        self.state: dict[str, Tensor] | None = None

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.state = full_state(trainer, pl_module, self.averages.current())
