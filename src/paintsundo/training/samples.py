"""Sample sheets and videos of held-out drawings while training."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from einops import rearrange
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from PIL import Image
from torch import Tensor

from paintsundo.pipelines.writers import whole
from paintsundo.training.beside import Averages, Interval, beside_training, clock_stopped
from paintsundo.training.faults import FaultKind, Faults
from paintsundo.training.figures import log_figures, logged_step, write_figures
from paintsundo.training.videos import gif_bytes, side_by_side, write_video


class Samples(lightning.Callback):
    """Every n steps and at the end, with averaged weights, writes what the model makes of held-out processes.

    `samples/<step>.png` is a sheet; of models of clips `samples/<step>.mp4` (`.gif` without PyAV) shows the generated
    clips beside the true ones, in the order of the sheet's rows. Figures measured on them go into `figures.jsonl`.
    Both go to wandb and TensorBoard too, and `time/samples_share`, this callback's share of the training time.

    A failure after the first call is a fault that is named and counted; training goes on.

    Args:
        bank: held-out processes.
        folder: the run's folder.
        every_n_steps: interval.
        count: processes shown.
        averages: lends the averaged weights; the current ones are used without.
        faults: where failures are counted.
        fps: of the video.
    """

    def __init__(
        self,
        bank: Any,
        folder: Path,
        every_n_steps: int,
        count: int = 6,
        averages: Averages | None = None,
        faults: Faults | None = None,
        fps: float = 6.0,
    ) -> None:
        self.bank, self.folder, self.count = bank, folder, count
        self.averages, self.faults, self.fps = averages, faults or Faults(None), fps
        self.interval = Interval(every_n_steps)
        self.seconds = 0.0
        self._succeeded = False

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.interval.begin(trainer.global_step)
        self._began = time.perf_counter()

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any) -> None:
        if self.interval.due(trainer.global_step):
            self.write(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.interval.due(trainer.global_step, end=True):
            self.write(trainer, pl_module)

    def write(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Sample and write. All processes must call it; the first one writes."""
        with clock_stopped(trainer):
            self._write(trainer, module)

    def _write(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        on_gpu = module.device.type == "cuda"
        if on_gpu:  # the steps before are not this callback's
            torch.cuda.synchronize(module.device)
        started = time.perf_counter()
        try:
            with beside_training(trainer, module, self.averages):
                rows, figures = module.sample_pictures(self.bank, min(self.count, len(self.bank)), seed=0)  # type: ignore[operator]
                rows = rows.cpu()
            if trainer.is_global_zero:
                self._keep(trainer, module, rows, figures)
        except Exception as error:
            if not self._succeeded:
                raise
            told = str(error).strip().splitlines()
            detail = f"{type(error).__name__}: {told[0] if told else 'no message'}"
            self.faults.add(FaultKind.FAILED_SAMPLES, detail, trainer.global_step)
            figures = {}
            if on_gpu:
                torch.cuda.empty_cache()
        else:
            self._succeeded = True
        self.seconds += time.perf_counter() - started
        share = self.seconds / max(time.perf_counter() - self._began, 1e-9)
        log_figures(trainer, {**figures, "time/samples_share": share})

    def _keep(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, rows: Tensor, figures: dict[str, float]
    ) -> None:
        sheet = rearrange(rows, "r c d h w -> (r h) (c w) d").numpy()
        target = self.folder / "samples" / f"{trainer.global_step:06d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole(target) as temporary:
            Image.fromarray(sheet).save(temporary)
        film, video = None, None
        if shows_clips(module, rows):
            film = side_by_side(rows)
            video = write_video(target.with_suffix(".mp4"), film, self.fps)
        write_figures(self.folder, trainer.global_step, figures)
        for logger in trainer.loggers:
            show(logger, sheet, film, video, self.fps, logged_step(trainer))


def shows_clips(module: lightning.LightningModule, rows: Tensor) -> bool:
    """Whether sample rows (R, C, 3, H, W) are pairs of clips: the module's `frames` is their length."""
    frames = getattr(module, "frames", None)
    return isinstance(frames, int) and frames > 1 and rows.shape[1] == frames and len(rows) % 2 == 0


def show(logger: Logger, sheet: np.ndarray, film: np.ndarray | None, video: Path | None, fps: float, step: int) -> None:
    """Give a sheet, uint8 (H, W, 3), and a video, uint8 (T, H, W, 3) and its file, to a logger that takes pictures."""
    if isinstance(logger, WandbLogger):
        logger.log_image("samples/sheet", [Image.fromarray(sheet)], step=step)
        if video is not None:
            logger.log_video("samples/clips", [str(video)], step=step, format=[video.suffix[1:]])
    elif isinstance(logger, TensorBoardLogger):
        writer = logger.experiment
        writer.add_image("samples/sheet", sheet, step, dataformats="HWC")
        if film is not None:  # add_video would need moviepy
            from tensorboard.compat.proto.summary_pb2 import Summary

            height, width = film.shape[1:3]
            image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=gif_bytes(film, fps))
            writer.file_writer.add_summary(Summary(value=[Summary.Value(tag="samples/clips", image=image)]), step)
