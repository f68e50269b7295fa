"""The progress bar: how far, how long still, and how well."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

import lightning
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from paintsundo.training.throughput import Throughput, peak_memory

_PARTS = 1000  # the bar counts thousandths of the whole, be it limited by steps or by time


def duration(seconds: float) -> str:
    """3.4 → "3 s", 220 → "3 min 40 s", 8000 → "2 h 13 min", 200000 → "2 d 7 h"."""
    whole = round(seconds)
    for size, unit, smaller, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller} {small_unit}"
    return f"{whole} s"


def time_left(step: int, max_steps: int, seconds_per_step: float | None, minutes_left: float | None) -> float | None:
    """Seconds until training ends, by steps or by time, whichever comes first; None while nothing is known.

    Args:
        step, max_steps: done, and the limit (−1: none).
        seconds_per_step: as measured; None at the beginning.
        minutes_left: of the time limit, None without one.
    """
    bounds = []
    if seconds_per_step is not None and max_steps > 0:
        bounds.append(max(0, max_steps - step) * seconds_per_step)
    if minutes_left is not None:
        bounds.append(max(0.0, minutes_left) * 60)
    return min(bounds, default=None)


def describe(step: int, max_steps: int, left: float | None, loss: float | None, figures: Mapping[str, float]) -> str:
    """One line: `step 120/400, 3 min 40 s left, loss 0.123, 34.5 images/s, MFU 41 %, 61.2 GiB`."""
    parts = [f"step {step}" + (f"/{max_steps}" if max_steps > 0 else "")]
    if left is not None:
        parts.append(f"{duration(left)} left")
    if loss is not None:
        parts.append(f"loss {loss:.4g}")
    if (images := figures.get("throughput/images_per_second")) is not None:
        parts.append(f"{images:.3g} images/s")
    if (share := figures.get("throughput/mfu")) is not None:
        parts.append(f"MFU {100 * share:.0f} %")
    if (memory := figures.get("memory/peak_gib")) is not None:
        parts.append(f"{memory:.1f} GiB")
    return ", ".join(parts)


class TrainingProgress(ProgressBar):
    """A bar on a terminal; elsewhere a line now and then. A resumed run starts where it stopped.

    The loss is read from the device every `refresh_every` steps only. Speed is that of this process, with all that
    happens beside the steps, over the last minute or so.

    Args:
        refresh_every: steps between updates; the trainer's `log_every_n_steps` without.
        line_every: seconds between lines where there is no terminal.
        stream: where to write; the bar to stderr, lines to stdout without.
    """

    def __init__(
        self, refresh_every: int | None = None, line_every: float = 30.0, stream: TextIO | None = None
    ) -> None:
        super().__init__()
        self.refresh_every, self.line_every, self.stream = refresh_every, line_every, stream
        self.enabled = True
        self.bar: tqdm | None = None
        self.text = ""

    def disable(self) -> None:
        self.enabled = False

    def enable(self) -> None:
        self.enabled = True

    def print(self, *args: Any, sep: str = " ", **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.write(sep.join(map(str, args)), **kwargs)
        elif self.enabled:
            print(*args, sep=sep, **kwargs)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.throughput = next((c for c in trainer.callbacks if isinstance(c, Throughput)), None)  # type: ignore[attr-defined]
        self._marks = [(time.monotonic(), trainer.global_step)]
        self._line_at = float("-inf")
        self._shown = -1
        terminal = self.stream or sys.stderr
        if self.enabled and terminal.isatty():
            self.bar = tqdm(
                total=_PARTS,
                initial=round(_PARTS * self._share(trainer, pl_module)),
                bar_format="{percentage:3.0f}% |{bar}| {desc}",
                file=terminal,
                dynamic_ncols=True,
                leave=True,
            )
            self.bar.set_description_str(f"from step {trainer.global_step}")

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any) -> None:
        step = trainer.global_step
        every = self.refresh_every or trainer.log_every_n_steps or 50
        if self.enabled and step != self._shown and step > self._marks[0][1] and step % every == 0:
            self._show(trainer, pl_module, end=False)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.enabled and trainer.global_step > self._marks[0][1]:
            self._show(trainer, pl_module, end=True)

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        self._close()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _show(self, trainer: lightning.Trainer, module: lightning.LightningModule, end: bool) -> None:
        now, step = time.monotonic(), trainer.global_step
        if self.bar is None and now - self._line_at < self.line_every and not (end and step != self._shown):
            return
        loss = trainer.callback_metrics.get("loss")
        figures = dict(self.throughput.latest) if self.throughput is not None else {}
        figures.setdefault("memory/peak_gib", peak_memory(module.device))
        left = None if end else self._left(now, step, trainer, module)
        self.text = describe(step, trainer.max_steps, left, None if loss is None else float(loss), figures)
        self._line_at, self._shown = now, step
        if self.bar is None:
            print(self.text, file=self.stream or sys.stdout, flush=True)
            return
        self.bar.n = min(_PARTS, round(_PARTS * (1.0 if end else self._share(trainer, module))))
        self.bar.set_description_str(self.text)

    def _left(
        self, now: float, step: int, trainer: lightning.Trainer, module: lightning.LightningModule
    ) -> float | None:
        # the first step compiles: once there is another mark, that one no longer counts
        began, first = self._marks[0] if len(self._marks) < 2 else self._marks[1]
        speed = (now - began) / (step - first) if step > first else None
        self._marks.append((now, step))
        while len(self._marks) > 3 and now - self._marks[2][0] > 60:
            del self._marks[1]
        limit = getattr(module, "max_minutes", None)
        return time_left(step, trainer.max_steps, speed, limit - module.clock.minutes() if limit else None)  # type: ignore[union-attr,operator]

    def _share(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> float:
        """How much of the whole training is done, 0…1."""
        done = trainer.global_step / trainer.max_steps if trainer.max_steps > 0 else 0.0
        limit = getattr(module, "max_minutes", None)
        return min(1.0, max(done, module.clock.minutes() / limit)) if limit else min(1.0, done)  # type: ignore[union-attr,operator]
