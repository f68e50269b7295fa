"""What all our Lightning modules share: the optimiser, its schedule, compilation and sample pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from paintsundo.training.bank import ProcessBank


def warmup_cosine(step: int, warmup: int, done: float, floor: float = 0.02) -> float:
    """Learning-rate factor: linear over `warmup` steps, then a half cosine down to `floor`.

    Args:
        step: steps taken.
        warmup: length of the rise in steps.
        done: share of the whole training that is over, 0…1.
    """
    rise = min(1.0, (step + 1) / max(1, warmup))
    return rise * (floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done))))


class TrainingClock:
    """Minutes of training, those before an interruption included, from the first step on (compilation left out)."""

    def __init__(self) -> None:
        self.before = 0.0
        self.started: float | None = None

    def start(self) -> None:
        """Begin counting; later calls change nothing."""
        self.started = time.monotonic() if self.started is None else self.started

    def minutes(self) -> float:
        """Minutes counted so far."""
        return self.before + (0.0 if self.started is None else (time.monotonic() - self.started) / 60)


class PaintsUndoModule(lightning.LightningModule):
    """Base of the trainable parts.

    Args:
        learning_rate: peak rate of AdamW.
        warmup_steps: linear warm-up.
        weight_decay: decoupled weight decay.
        compile: compile the networks in place where the device is a GPU.
    """

    def __init__(
        self,
        learning_rate: float = 5e-4,
        warmup_steps: int = 200,
        weight_decay: float = 0.01,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.learning_rate, self.warmup_steps, self.weight_decay = learning_rate, warmup_steps, weight_decay
        self.compile_networks = compile
        self.max_minutes: float | None = None
        self.clock = TrainingClock()

    def trained_networks(self) -> list[nn.Module]:
        """The networks whose parameters the optimiser changes."""
        raise NotImplementedError

    def compiled_networks(self) -> list[nn.Module]:
        """The networks worth compiling."""
        return self.trained_networks()

    def on_fit_start(self) -> None:
        if self.compile_networks and self.device.type == "cuda":
            for network in self.compiled_networks():
                network.compile()

    def configure_optimizers(self) -> dict[str, Any]:
        parameters = [p for network in self.trained_networks() for p in network.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, self.learning_rate, betas=(0.9, 0.99), weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warmup_cosine(step, self.warmup_steps, self.share_done(step))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def share_done(self, step: int) -> float:
        """How much of the training is over: by steps, or by time where `max_minutes` comes first."""
        done = step / self.trainer.max_steps
        if self.max_minutes:
            done = max(done, self.clock.minutes() / self.max_minutes)
        return done

    def record(self, figures: dict[str, Tensor]) -> None:
        """Log figures of this step; the progress bar shows them too."""
        self.log_dict({name: value.detach() for name, value in figures.items()}, prog_bar=True)

    def on_train_batch_start(self, batch: Any, batch_index: int) -> int | None:
        if self.max_minutes and self.clock.minutes() >= self.max_minutes:
            self.trainer.should_stop = True
        return None

    def on_train_batch_end(self, *args: Any) -> None:
        self.clock.start()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["training_minutes"] = self.clock.minutes()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.clock.before = float(checkpoint["training_minutes"])

    def prepare(self, train: ProcessBank) -> None:
        """Last preparations that need the data, before training (encoding latents, say)."""

    def make_batches(self, bank: ProcessBank, batch_size: int) -> Callable[[torch.Generator], dict[str, Any]]:
        """What one training batch is made from."""
        raise NotImplementedError

    def sample_pictures(self, bank: ProcessBank, count: int, seed: int) -> tuple[Tensor, dict[str, float]]:
        """uint8 (rows, columns, 3, H, W) to look at, from `count` held-out processes, and figures measured on them."""
        raise NotImplementedError

    def export(self, folder: Path, bank: ProcessBank) -> None:
        """Write the trained part into `folder` in the official layout."""
        raise NotImplementedError
