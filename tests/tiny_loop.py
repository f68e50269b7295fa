"""A Lightning module that trains in milliseconds, with all that callbacks ask of the real ones, and a run of it."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from paintsundo.training.module import TrainingClock


class Numbers(IterableDataset):
    """Endless batches {"x" (B, 8), "keys"}."""

    def __init__(self, batch_size: int = 4, start: int = 0) -> None:
        self.batch_size, self.start = batch_size, start

    def __iter__(self):
        number = self.start
        while True:
            x = torch.randn(self.batch_size, 8, generator=torch.Generator().manual_seed(number))
            yield {"x": x, "keys": [f"drawing {number}.{i}" for i in range(self.batch_size)], "number": number}
            number += 1


class TinyModule(lightning.LightningModule):
    """A frozen encoder below a trained network with dropout and noise, so that any stray random number shows."""

    num_train_timesteps = 1000

    def __init__(self, frames: int | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.encoder = nn.Linear(8, 8).requires_grad_(False)
            self.network = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Dropout(0.3), nn.Linear(16, 8))
        self.max_minutes: float | None = None
        self.clock = TrainingClock()
        self.losses: list[float] = []
        self.drawn: list[float] = []
        if frames is not None:
            self.frames = frames

    def training_step(self, batch: dict[str, Any], index: int) -> Tensor:
        with torch.no_grad():
            latents = self.encoder(batch["x"])
        noise = torch.randn_like(latents)
        loss = (self.network(latents + noise) - noise).square().mean()
        self.log_dict({"loss": loss.detach()}, prog_bar=True)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, index: int) -> None:
        self.clock.start()
        self.losses.append(float(outputs["loss"]))
        self.drawn.append(float(torch.rand(())))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.network.parameters(), 1e-2)

    def held_out_batch(self, bank: Any, count: int, seed: int) -> dict[str, Any]:
        return {"x": torch.randn(count, 8, generator=torch.Generator().manual_seed(100 + seed)).to(self.device)}

    def latent_shape(self, batch: dict[str, Any]) -> torch.Size:
        return batch["x"].shape

    def errors(self, batch: dict[str, Any], t: Tensor, noise: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        noisy = self.encoder(batch["x"]) + noise * t[:, None] / self.num_train_timesteps
        return (self.network(noisy) - noise).square().mean(1)

    def sample_pictures(self, bank: Any, count: int, seed: int) -> tuple[Tensor, dict[str, float]]:
        torch.rand(7)  # noise that nobody seeded
        made = self.network(torch.zeros(1, 8, device=self.device)).sum()
        rows = torch.full((2 * count, getattr(self, "frames", 5), 3, 16, 24), 200, dtype=torch.uint8)
        rows[::2] = 10
        return rows, {"state_psnr": float(made)}


class Zeros:
    """Averages that are all zero."""

    @contextmanager
    def swapped(self, trainer, module):
        assert isinstance(trainer, lightning.Trainer)
        kept = [p.detach().clone() for p in module.network.parameters()]
        for p in module.network.parameters():
            p.data.zero_()
        yield
        for p, value in zip(module.network.parameters(), kept, strict=True):
            p.data.copy_(value)


def fit(
    module: lightning.LightningModule,
    callbacks: list[lightning.Callback],
    steps: int = 6,
    log_every: int = 2,
    loggers: Any = False,
    data: IterableDataset | None = None,
    start: int = 0,
    **options: Any,
) -> lightning.Trainer:
    """Train, on the processor if nothing else is said; `start` says at which batch the data begin."""
    torch.manual_seed(1)
    resume = {"ckpt_path": options.pop("resume"), "weights_only": True} if "resume" in options else {}
    trainer = lightning.Trainer(
        accelerator=options.pop("accelerator", "cpu"),
        devices=options.pop("devices", 1),
        max_steps=steps,
        callbacks=callbacks,
        logger=loggers,
        log_every_n_steps=log_every,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=options.pop("bar", False),
        use_distributed_sampler=False,
        **options,
    )
    trainer.fit(module, DataLoader(data or Numbers(start=start), batch_size=None), **resume)
    return trainer


def csv_rows(folder: Path) -> list[dict[str, str]]:
    """Rows of a run's metrics.csv."""
    import csv

    with (folder / "log" / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))
