import io

import pytest

import paintsundo.training.progress as progress
from paintsundo.training.progress import TrainingProgress, describe, duration, time_left
from paintsundo.training.throughput import Throughput
from tiny_loop import TinyModule, fit


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_durations() -> None:
    seconds = (3.4, 59.6, 220, 8000, 200000)
    assert [duration(s) for s in seconds] == ["3 s", "1 min 0 s", "3 min 40 s", "2 h 13 min", "2 d 7 h"]


def test_time_left_is_that_of_whichever_limit_comes_first() -> None:
    assert time_left(100, 400, 0.5, None) == 150
    assert time_left(100, 400, 0.5, 2.0) == 120
    assert time_left(100, 400, 0.5, 3.0) == 150
    assert time_left(100, -1, 0.5, 3.0) == 180
    assert time_left(100, 400, None, 0.5) == 30
    assert time_left(100, 400, None, None) is None
    assert time_left(100, 400, 0.5, -1.0) == 0


def test_line() -> None:
    figures = {"throughput/images_per_second": 34.52, "throughput/mfu": 0.414, "memory/peak_gib": 61.23}
    line = "step 120/400, 3 min 40 s left, loss 0.1235, 34.5 images/s, MFU 41 %, 61.2 GiB"
    assert describe(120, 400, 220, 0.12345, figures) == line
    assert describe(7, -1, None, None, {}) == "step 7"


def test_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    bar = TrainingProgress(line_every=0, stream=stream)
    trainer = fit(TinyModule(), [Throughput(rate=1e9), bar], steps=7, log_every=2, bar=True)
    lines = stream.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step 2/7", "step 4/7", "step 6/7", "step 7/7"]
    assert all("loss" in line and "GiB" in line for line in lines)
    assert all(part in lines[1] for part in ("left", "images/s", "MFU"))
    assert "left" not in lines[-1]
    assert float(lines[-1].split("loss ")[1].split(",")[0]) == pytest.approx(
        float(trainer.callback_metrics["loss"]), rel=1e-3
    )


def test_lines_come_now_and_then() -> None:
    stream = io.StringIO()
    fit(TinyModule(), [TrainingProgress(line_every=1000, stream=stream)], steps=20, log_every=1, bar=True)
    assert [line.split(",")[0] for line in stream.getvalue().splitlines()] == ["step 1/20", "step 20/20"]


def test_bar_on_a_terminal() -> None:
    stream = Terminal()
    fit(TinyModule(), [Throughput(rate=1e9), TrainingProgress(stream=stream)], steps=8, log_every=4, bar=True)
    shown = stream.getvalue()
    assert "  0% |" in shown
    assert " 50% |" in shown
    assert shown.rstrip().split("\r")[-1].startswith("100% |")
    assert "step 8/8, loss" in shown


def test_a_resumed_run_starts_at_its_step(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    class Clocked(TinyModule):
        def on_train_batch_start(self, batch, index) -> None:
            now[0] += 2.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    fit(TinyModule(), [], steps=10).save_checkpoint(tmp_path / "ten.ckpt")
    stream = Terminal()
    bar = TrainingProgress(refresh_every=5, stream=stream)
    module = Clocked()
    texts = []
    monkeypatch.setattr(progress, "describe", lambda *a: texts.append(a) or describe(*a))
    fit(module, [bar], steps=40, resume=tmp_path / "ten.ckpt", bar=True)
    assert " 25% |" in stream.getvalue().split("\r")[1]
    assert (texts[0][0], texts[0][2]) == (15, pytest.approx(25 * 2.0, rel=0.3))
    assert (texts[2][0], texts[2][2]) == (25, pytest.approx(15 * 2.0))


def test_time_limits_rule_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    module = TinyModule()
    module.max_minutes = 10.0
    monkeypatch.setattr(module.clock, "minutes", lambda: 4.0)
    stream = Terminal()
    fit(
        module,
        [TrainingProgress(refresh_every=2, stream=stream)],
        steps=10**8,
        limit_train_batches=2,
        max_epochs=1,
        bar=True,
    )
    assert " 40% |" in stream.getvalue()
    assert "step 2/100000000, 6 min 0 s left" in stream.getvalue()


def test_other_processes_show_nothing() -> None:
    stream = io.StringIO()
    bar = TrainingProgress(line_every=0, stream=stream)
    bar.disable()
    fit(TinyModule(), [bar], steps=4, bar=True)
    assert stream.getvalue() == ""
