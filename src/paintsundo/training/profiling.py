"""A profile of a few training steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
from torch.profiler import ProfilerActivity, profile, schedule

from paintsundo.training.beside import clock_stopped


class StepProfile(lightning.Callback):
    """Profiles steps `first` … `last` of this process (the first step is 1) into `DIR/profile/`.

    `trace.json` is for chrome://tracing or ui.perfetto.dev, `kernels.txt` a table of what took longest.

    Args:
        folder: the run's folder.
        first, last: batches to record; one before them warms the profiler up.
        rows: length of the table.
    """

    def __init__(self, folder: Path, first: int = 10, last: int = 15, rows: int = 40) -> None:
        self.folder, self.first, self.last, self.rows = folder / "profile", max(2, first), last, rows
        self.batches = 0
        self.profile: profile | None = None

    def on_train_batch_start(self, trainer: lightning.Trainer, *args: Any) -> None:
        self.batches += 1
        if self.batches == self.first - 1 and trainer.is_global_zero:
            activities = [ProfilerActivity.CPU]
            if torch.cuda.is_available():
                activities.append(ProfilerActivity.CUDA)
            self.profile = profile(
                activities=activities,
                schedule=schedule(wait=0, warmup=1, active=self.last - self.first + 1, repeat=1),
                record_shapes=True,
            )
            self.profile.start()

    def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any) -> None:
        if self.profile is not None:
            if self.batches >= self.last:
                with clock_stopped(trainer):
                    self._finish()
            else:
                self.profile.step()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.profile is not None:
            self._finish()
        elif self.batches < self.first and trainer.is_global_zero:
            print(f"no profile: training ended before its step {self.first}", flush=True)

    def _finish(self) -> None:
        assert self.profile is not None
        on_gpu = ProfilerActivity.CUDA in self.profile.activities
        if on_gpu:
            torch.cuda.synchronize()
        self.profile.stop()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.profile.export_chrome_trace(str(self.folder / "trace.json"))
        order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
        table = self.profile.key_averages().table(sort_by=order, row_limit=self.rows, max_name_column_width=80)
        (self.folder / "kernels.txt").write_text(table + "\n", encoding="utf-8")
        print(f"profile of steps {self.first} to {min(self.last, self.batches)}: {self.folder}", flush=True)
        self.profile = None
