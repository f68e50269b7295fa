import math
import time

import lightning
import pytest
import torch

import paintsundo.training.throughput as throughput
from paintsundo.training.beside import Interval, clock_stopped
from paintsundo.training.faults import Faults, NonFinite
from paintsundo.training.loggers import RunCSVLogger
from paintsundo.training.throughput import Throughput
from tiny_loop import Numbers, TinyModule, csv_rows, fit


class SlowNumbers(Numbers):
    """Each batch takes 20 ms to come."""

    def __iter__(self):
        for batch in super().__iter__():
            time.sleep(0.02)
            yield batch


def test_figures_of_a_run(tmp_path) -> None:
    module, watcher = TinyModule(), Throughput(rate=1e9)
    module.gradient_norm = torch.tensor(2.5)
    fit(module, [watcher], steps=9, log_every=4, loggers=RunCSVLogger(tmp_path), data=SlowNumbers(batch_size=3))
    rows = [row for row in csv_rows(tmp_path) if row["throughput/images_per_second"]]
    assert [int(row["step"]) for row in rows] == [3, 7]
    figures = {name: float(value) for name, value in rows[-1].items() if value}
    assert figures["throughput/seconds_per_step"] >= 0.02
    assert figures["throughput/images_per_second"] == pytest.approx(
        3 / figures["throughput/seconds_per_step"], rel=1e-3
    )
    assert 0.5 < figures["throughput/data_wait_share"] <= 1
    assert (figures["gradient_norm"], figures["learning_rate"]) == (2.5, pytest.approx(1e-2))
    flops = 2 * 3 * 64 + 3 * 2 * 128 * 2 + 3 * 2 * 128 * 3
    assert next(iter(watcher.flops.values())) == flops
    per_second = flops / figures["throughput/seconds_per_step"]
    assert figures["throughput/tflops"] == pytest.approx(per_second / 1e12, rel=1e-3)
    assert figures["throughput/mfu"] == pytest.approx(per_second / 1e9, rel=1e-3)
    assert 0.01 < figures["memory/peak_gib"] < 500


def test_watching_changes_neither_losses_nor_random_numbers() -> None:
    plain, watched = TinyModule(), TinyModule()
    fit(plain, [])
    fit(watched, [Throughput()])
    assert plain.losses == watched.losses
    assert plain.drawn == watched.drawn


def test_time_beside_the_steps_is_left_out() -> None:

    class Slow(lightning.Callback):
        def on_train_batch_end(self, trainer, *args) -> None:
            with clock_stopped(trainer):
                time.sleep(0.05)

    watcher = Throughput(rate=1e9)
    fit(TinyModule(), [Slow(), watcher], steps=8, log_every=4)
    assert watcher.latest["throughput/seconds_per_step"] < 0.04


def test_batches_that_are_accumulated() -> None:
    watcher = Throughput(rate=1e9)
    fit(TinyModule(), [watcher], steps=6, log_every=3, accumulate_grad_batches=2)
    images, seconds = (watcher.latest["throughput/" + n] for n in ("images_per_second", "seconds_per_step"))
    assert images == pytest.approx(2 * 4 / seconds)


def test_steps_that_cannot_be_counted_train_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(throughput, "count_step", broken)
    watcher = Throughput(rate=1e9)
    with pytest.warns(UserWarning, match="cannot be counted: no kernel"):
        fit(TinyModule(), [watcher], steps=4)
    assert "throughput/mfu" not in watcher.latest
    assert math.isfinite(watcher.latest["throughput/images_per_second"])


def test_intervals() -> None:
    interval = Interval(4)
    interval.begin(4)
    # the first batch after a resumed step of accumulated batches, and the others of one step
    assert [s for s in (4, 4, 5, 8, 8, 9, 9, 12) if interval.due(s)] == [8, 12]
    assert not interval.due(12, end=True)
    assert interval.due(13, end=True)
    fresh = Interval(3)
    fresh.begin(0)
    assert not fresh.due(0)
    assert not fresh.due(0, end=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_device_is_waited_for_only_when_figures_are_due(tmp_path) -> None:
    class Device(TinyModule):
        def on_train_batch_end(self, outputs, batch, index) -> None:
            """Reads nothing."""

    def strict(kind):
        """A callback whose hooks fail where they wait for the device, but for the first batch and every fifth step."""

        class Strict(kind):
            def watched(self, name, trainer, *args):
                quiet = trainer.global_step > 0 and (trainer.global_step + (name == "on_train_batch_start")) % 5
                torch.cuda.set_sync_debug_mode("error" if quiet else "default")
                try:
                    getattr(kind, name)(self, trainer, *args)
                finally:
                    torch.cuda.set_sync_debug_mode("default")

            def on_train_batch_start(self, *args) -> None:
                self.watched("on_train_batch_start", *args)

            def on_train_batch_end(self, *args) -> None:
                self.watched("on_train_batch_end", *args)

        return Strict

    watcher = strict(Throughput)()
    guard = strict(NonFinite)(3, Faults(tmp_path))
    fit(Device(), [watcher, guard], steps=20, log_every=5, accelerator="gpu")
    assert 0 < watcher.latest["throughput/mfu"] < 1
    assert watcher.rate > 1e12
    assert guard.in_a_row == 0
