"""The loss on held-out data at fixed noise, by timestep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from paintsundo.training.beside import Averages, Interval, beside_training
from paintsundo.training.figures import log_figures, write_figures


def spread_timesteps(count: int, quantile: int, quantiles: int, num_train_timesteps: int) -> Tensor:
    """int64 (count,): timesteps evenly spread over one of `quantiles` equal parts of 0…num_train_timesteps − 1."""
    place = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return ((quantile + place) * num_train_timesteps / quantiles).floor().long().clamp(max=num_train_timesteps - 1)


class HeldOutLoss(lightning.Callback):
    """Measures, every n steps and at the end, the unweighted squared error on held-out samples with averaged weights.

    Samples, noise and timesteps are the same each time, so that the figures differ by the weights alone. Every sample
    is measured once in each quantile of the timesteps, q1 the least noisy. `figures.jsonl` and the loggers get
    `held_out_loss` and `held_out_loss_q1` … `_q4`. Modules without `errors` (autoencoders, the tagger) are passed by.

    Args:
        bank: held-out data, for `module.held_out_batch(bank, count, seed)`.
        folder: the run's folder.
        every_n_steps: interval.
        averages: lends the averaged weights; the current ones are used without.
        count: samples; a multiple of `batch_size` or less.
        batch_size: samples at a time.
        quantiles: Q.
        seed: of samples and noise.
    """

    def __init__(
        self,
        bank: Any,
        folder: Path,
        every_n_steps: int,
        averages: Averages | None = None,
        count: int = 16,
        batch_size: int = 16,
        quantiles: int = 4,
        seed: int = 0,
    ) -> None:
        self.bank, self.folder, self.averages = bank, folder, averages
        self.interval = Interval(every_n_steps)
        self.batch_size = min(batch_size, count)
        self.number = max(1, count // max(1, self.batch_size))
        self.quantiles, self.seed = quantiles, seed
        self.batches: list[Any] = []
        self.latest: dict[str, float] = {}

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.interval.begin(trainer.global_step)

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any) -> None:
        if hasattr(pl_module, "errors") and self.interval.due(trainer.global_step):
            self._write(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if hasattr(pl_module, "errors") and self.interval.due(trainer.global_step, end=True):
            self._write(trainer, pl_module)

    def _write(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        with beside_training(trainer, module, self.averages):
            self.latest = self.measure(module)
        if trainer.is_global_zero:
            write_figures(self.folder, trainer.global_step, self.latest)
        log_figures(trainer, self.latest)

    def measure(self, module: Any) -> dict[str, float]:
        """The figures of a module as it is. All processes must call it."""
        if not self.batches:
            seeds = range(self.seed, self.seed + self.number)
            self.batches = [module.held_out_batch(self.bank, self.batch_size, seed) for seed in seeds]
        errors: list[list[Tensor]] = [[] for _ in range(self.quantiles)]
        for number, batch in enumerate(self.batches):
            shape = module.latent_shape(batch)
            generator = torch.Generator().manual_seed(self.seed + number)  # of the processor: the same on all devices
            noise = torch.randn(shape, generator=generator).to(module.device)
            for quantile, found in enumerate(errors):
                t = spread_timesteps(shape[0], quantile, self.quantiles, module.num_train_timesteps)
                found.append(module.errors(batch, t.to(module.device), noise).float())
        means = [float(torch.cat(found).mean()) for found in errors]
        by_quantile = {f"held_out_loss_q{q}": mean for q, mean in enumerate(means, start=1)}
        return {"held_out_loss": sum(means) / len(means), **by_quantile}
