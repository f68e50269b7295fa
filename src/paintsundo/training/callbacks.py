"""What happens beside the steps: sample sheets, figures on held-out data, one random stream per step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning
import torch
from einops import rearrange
from PIL import Image

from paintsundo.training.bank import ProcessBank
from paintsundo.training.batches import seed_of
from paintsundo.training.ema import ExponentialMovingAverage
from paintsundo.training.module import PaintsUndoModule


class StepSeed(lightning.Callback):
    """Seeds torch before each step from (seed, step), so that a resumed run draws what an uninterrupted one would."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any
    ) -> None:
        torch.manual_seed(seed_of(self.seed, trainer.global_step))


class Samples(lightning.Callback):
    """Writes `samples/<step>.png` and appends held-out figures to `figures.jsonl` every n steps and at the end.

    Args:
        bank: held-out processes.
        folder: the run's folder.
        every_n_steps: interval.
        count: processes shown.
    """

    def __init__(self, bank: ProcessBank, folder: Path, every_n_steps: int, count: int = 6) -> None:
        self.bank, self.folder, self.every_n_steps, self.count = bank, folder, every_n_steps, count

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any) -> None:
        if trainer.global_step % self.every_n_steps == 0:
            self.write(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.global_step % self.every_n_steps:
            self.write(trainer, pl_module)

    def write(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        assert isinstance(module, PaintsUndoModule)
        averages = next(c for c in trainer.callbacks if isinstance(c, ExponentialMovingAverage))  # type: ignore[attr-defined]
        # odd batch shapes would each be compiled anew
        with (
            averages.swapped(module),
            trainer.precision_plugin.forward_context(),
            torch.compiler.set_stance("force_eager"),
        ):
            rows, figures = module.sample_pictures(self.bank, min(self.count, len(self.bank)), seed=0)
        sheet = rearrange(rows.cpu(), "r c d h w -> (r h) (c w) d").numpy()
        target = self.folder / "samples" / f"{trainer.global_step:06d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sheet).save(target)
        with (self.folder / "figures.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": trainer.global_step, **figures}) + "\n")
