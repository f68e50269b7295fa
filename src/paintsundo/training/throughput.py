"""How fast training goes: images a second, TFLOP/s, utilisation, waiting for data, memory."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning
import torch
from lightning.pytorch.profilers import Profiler

from paintsundo.training.beside import Interval
from paintsundo.training.device_rate import matrix_rate
from paintsundo.training.flops import StepFlops, batch_samples, batch_signature, count_step


class Throughput(lightning.Callback):
    """Logs, every `log_every` optimiser steps, about the steps since the last time:

    `throughput/images_per_second` samples of all devices (a clip is one), `throughput/seconds_per_step`,
    `throughput/tflops` of one device, `throughput/mfu` (0…1, of the measured matrix rate of `device_rate`),
    `throughput/data_wait_share` (0…1 of the time, waiting for the loader), `memory/peak_gib` (of the device; of the
    process, on a processor), `learning_rate`, and `gradient_norm` where the module has a tensor of that name.

    The device is waited for only then. The first step of a process is left out (compilation), and so is time spent
    inside `paused` (`beside.clock_stopped`). `latest` holds the last figures.

    Args:
        log_every: interval in steps; the trainer's `log_every_n_steps` without.
        flops: operations of a batch where they are known; else each new shape of batch is counted once (`flops`).
            Where parameters are sharded over processes, the first batch is, and others by their size.
        rate: FLOP/s to compare with; measured without.
    """

    def __init__(self, log_every: int | None = None, flops: StepFlops | None = None, rate: float | None = None) -> None:
        self.log_every, self.given_flops, self.rate = log_every, flops, rate
        self.latest: dict[str, float] = {}
        self.flops: dict[tuple[Any, ...], float] = {}  # by the shapes of a batch
        self._countable = True
        self._started: _Instant | None = None
        self._fetching: list[float] = []
        self._learning_rate = 0.0
        self._is_paused = False
        self.device: torch.device | None = None
        self._begin_window()

    def _begin_window(self) -> None:
        self._batches = self._samples = self._steps = 0
        self._operations = self._waited = self._paused = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.device = pl_module.device
        self.interval = Interval(self.log_every or trainer.log_every_n_steps or 50)
        self.interval.begin(trainer.global_step)
        self._last_step = trainer.global_step
        if self.rate is None:
            self.rate = matrix_rate(self.device)
        self._watch_loader(trainer.profiler)  # type: ignore[attr-defined]

    def _watch_loader(self, profiler: Profiler) -> None:
        """Lightning tells its profiler when it waits for a batch."""
        start, stop = profiler.start, profiler.stop

        def on_start(action: str) -> None:
            if action.endswith("train_dataloader_next"):
                self._fetching.append(time.perf_counter())
            start(action)

        def on_stop(action: str) -> None:
            stop(action)
            if action.endswith("train_dataloader_next") and self._fetching:
                self._waited += time.perf_counter() - self._fetching.pop()

        profiler.start, profiler.stop = on_start, on_stop  # type: ignore[method-assign]
        self._unwatch = lambda: profiler.__dict__.update(start=start, stop=stop)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._learning_rate = trainer.optimizers[0].param_groups[0]["lr"]
        self._operations += self._operations_of(trainer, pl_module, batch)

    def _operations_of(self, trainer: lightning.Trainer, module: lightning.LightningModule, batch: Any) -> float:
        if self.given_flops is not None:
            return self.given_flops.training
        signature = batch_signature(batch)
        if signature not in self.flops and self._countable:
            sharded = _sharding(module)
            if sharded == "zero3":  # its hooks expect each forward pass to be followed by a backward one
                self._countable = False
            elif sharded and self.flops:
                # processes see new shapes at different times, so that none can count alone
                known, operations = next(iter(self.flops.items()))
                self.flops[signature] = operations * _elements(signature) / max(1, _elements(known))
            else:
                try:
                    with self.paused():
                        self.flops[signature] = count_step(trainer, module, batch).training
                except Exception as error:
                    warnings.warn(f"operations of a step cannot be counted: {error}", stacklevel=2)
                    self._countable = False
        return self.flops.get(signature, 0.0)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert self.device is not None
        step = trainer.global_step
        if self._started is None:
            if step > self._last_step:
                self._started = _Instant(self.device)
                self._begin_window()
                self._last_step = step
                if self.interval.due(step):  # nothing is timed yet, but the rest is known
                    pl_module.log_dict(self._of_step(pl_module))
            return
        self._batches += 1
        self._samples += batch_samples(batch)
        self._steps += step - self._last_step
        self._last_step = step
        if self._steps and self.interval.due(step):
            now = _Instant(self.device)
            self.latest = self._measure(trainer, pl_module, now.since(self._started))
            pl_module.log_dict(self.latest)
            self._started = now
            self._begin_window()

    def _measure(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, elapsed: float
    ) -> dict[str, float]:
        seconds = max(elapsed - self._paused, 1e-9)
        figures = {
            "throughput/images_per_second": self._samples * trainer.world_size / seconds,
            "throughput/seconds_per_step": seconds / self._steps,
            "throughput/data_wait_share": min(1.0, self._waited / seconds),
            "memory/peak_gib": peak_memory(module.device),
            **self._of_step(module),
        }
        if self._operations:
            assert self.rate is not None
            figures["throughput/tflops"] = self._operations / seconds / 1e12
            figures["throughput/mfu"] = self._operations / seconds / self.rate
        return figures

    def _of_step(self, module: lightning.LightningModule) -> dict[str, float]:
        norm = getattr(module, "gradient_norm", None)
        return {"learning_rate": self._learning_rate} | ({} if norm is None else {"gradient_norm": float(norm)})

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time spent inside."""
        if self._is_paused or self.device is None:
            yield
            return
        self._is_paused = True
        _wait(self.device)
        began = time.perf_counter()
        try:
            yield
        finally:
            _wait(self.device)
            self._paused += time.perf_counter() - began
            self._is_paused = False

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        if unwatch := self.__dict__.pop("_unwatch", None):
            unwatch()


class _Instant:
    """A moment on the device: work that was given to it before is done."""

    def __init__(self, device: torch.device) -> None:
        self.event = torch.cuda.Event(enable_timing=True) if device.type == "cuda" else None
        if self.event is not None:
            self.event.record(torch.cuda.current_stream(device))
        self.time = time.perf_counter()

    def since(self, earlier: _Instant) -> float:
        """Seconds; waits for the device."""
        if self.event is None or earlier.event is None:
            return self.time - earlier.time
        self.event.synchronize()
        return earlier.event.elapsed_time(self.event) / 1000


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _sharding(module: lightning.LightningModule) -> str | None:
    """How parameters are spread over processes: `zero3`, `fsdp`, or not."""
    for parameter in module.parameters():
        if hasattr(parameter, "ds_id"):
            return "zero3"
        if type(parameter.data).__name__ == "DTensor" or type(parameter).__name__ == "DTensor":
            return "fsdp"
    return None


def _elements(signature: tuple[Any, ...]) -> int:
    """Numbers in the largest tensor of a batch."""
    shapes = [entry[1] if entry and isinstance(entry[0], str) else entry for entry in signature]
    return max((int(torch.Size(shape).numel()) for shape in shapes), default=1)


def peak_memory(device: torch.device) -> float:
    """Most memory in use so far, GiB: what torch held on a GPU; else what this process held (NaN if unknown)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    try:
        import resource
        import sys
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
