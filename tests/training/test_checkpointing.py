import csv
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn

from paintsundo.training import checkpointing
from paintsundo.training.checkpoint_store import CheckpointStore
from paintsundo.training.checkpointing import Checkpoints, DirectCheckpointIO
from paintsundo.training.ema import AverageWeights


class Line(lightning.LightningModule):
    """A layer whose batches are drawn by the step."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.unet = nn.Linear(64, 64)

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        drawn = torch.randn(4, 64, generator=torch.Generator().manual_seed(self.trainer.global_step))
        return (batch * self.unet(drawn)).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), 0.1)


def fit(folder: Path, steps: int, *others: lightning.Callback, start: Path | None = None, **options: Any) -> Line:
    module = Line()
    trainer = lightning.Trainer(
        **{"accelerator": "cpu", "logger": CSVLogger(folder, name="log", version=""), **options},
        max_steps=steps,
        callbacks=list(others),
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(module, torch.utils.data.DataLoader(torch.ones(64, 1)), ckpt_path=start, weights_only=True)
    return module


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


@pytest.mark.parametrize("accumulate", [1, 3])
def test_saves_at_intervals_and_at_the_end(accumulate: int, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep=9)
    saved: list[str] = []

    def extra(folder: Path) -> None:
        saved.append(folder.name)
        (folder / "components.json").write_text("{}")

    fit(tmp_path, 7, Checkpoints(store, 3, extra=extra), accumulate_grad_batches=accumulate)
    assert steps(store.folder) == [3, 6, 7]
    assert saved == [f".step-{step:08d}.partial" for step in (3, 6, 7)]
    assert sorted(p.name for p in store.path(6).iterdir()) == ["components.json", "manifest.json", "state.ckpt"]
    assert torch.load(store.path(6) / "state.ckpt", weights_only=True)["global_step"] == 6
    fit(tmp_path, 6, Checkpoints(store, 3))
    assert sorted(p.name for p in store.path(6).iterdir()) == ["manifest.json", "state.ckpt"]


def test_run_that_goes_on_ends_like_one_that_was_never_stopped(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep=1)
    whole = AverageWeights("standard", 0.9)
    expected = fit(tmp_path, 9, whole)
    # The averages come first in the list, checkpoints last whatever the list says.
    fit(tmp_path, 5, Checkpoints(store, 2), AverageWeights("standard", 0.9))
    (store.folder / ".step-00000099.partial").mkdir()
    newest = store.newest()
    assert newest == store.path(5)
    assert steps(store.folder) == [5]
    again = AverageWeights("standard", 0.9)
    module = fit(tmp_path, 9, Checkpoints(store, 2), again, start=newest / "state.ckpt")
    assert torch.equal(module.unet.weight, expected.unet.weight)
    assert whole.standard is not None
    assert again.standard is not None
    assert all(torch.equal(again.standard.averages[n], t) for n, t in whole.standard.averages.items())
    assert [p.name for p in store.folder.iterdir()] == ["step-00000009"]


def test_saves_when_the_time_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(checkpointing.time, "monotonic", lambda: now[0])

    class Clock(lightning.Callback):
        def on_train_batch_start(self, *args: Any) -> None:
            now[0] += 25

    store = CheckpointStore(tmp_path / "checkpoints", keep=9)
    fit(tmp_path, 8, Clock(), Checkpoints(store, 4, every_minutes=1))
    assert steps(store.folder) == [3, 4, 7, 8]


def test_failed_save_is_told_and_counted_and_training_goes_on(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Disk(lightning.Callback):
        """Full between steps 4 and 8."""

        def on_train_batch_end(self, trainer: lightning.Trainer, *args: Any) -> None:
            full = 4 <= trainer.global_step < 8
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]) if full else limits)

    store = CheckpointStore(tmp_path / "checkpoints", keep=9)
    try:
        with pytest.warns(UserWarning, match=r"step 4 could not be saved \(.*File too large.*newest one is .*00002"):
            fit(tmp_path, 10, Disk(), Checkpoints(store, 2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert steps(store.folder) == [2, 8, 10]
    assert [fault.step for fault in store.faults] == [4, 6]
    with (tmp_path / "log" / "metrics.csv").open() as stream:
        counts = [(row["step"], row["save_faults"]) for row in csv.DictReader(stream) if row.get("save_faults")]
    assert counts == [("4", "1.0"), ("6", "2.0")]


def test_failed_save_at_the_end_is_an_error(tmp_path: Path) -> None:
    def full(folder: Path) -> None:
        if "00000005" in folder.name:
            raise OSError(28, "No space left on device")

    store = CheckpointStore(tmp_path / "checkpoints")
    with pytest.raises(OSError, match=r"last checkpoint, of step 5, could not be saved: .*No space left"):
        fit(tmp_path, 5, Checkpoints(store, 2, extra=full))
    assert steps(store.folder) == [2, 4]


def test_other_ways_of_writing_are_left_alone(tmp_path: Path) -> None:
    class Own(DirectCheckpointIO):
        pass

    io = Own()
    module = fit(tmp_path, 1, Checkpoints(CheckpointStore(tmp_path / "a"), 1), plugins=[io])
    assert module.trainer.strategy.checkpoint_io is io
    module = fit(tmp_path, 1, Checkpoints(CheckpointStore(tmp_path / "b"), 1))
    assert type(module.trainer.strategy.checkpoint_io) is DirectCheckpointIO
    with pytest.raises(ValueError, match="mine"):
        io.save_checkpoint({"state": Unsaveable()}, tmp_path / "c.ckpt")


class Unsaveable:
    def __reduce__(self) -> str:
        raise ValueError("mine")


TWO = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import lightning
from test_checkpointing import fit
from paintsundo.training.checkpoint_store import CheckpointStore
from paintsundo.training.checkpointing import Checkpoints

class Disk(lightning.Callback):
    def on_train_batch_end(self, trainer, *args):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        full = trainer.global_step == 4 and trainer.is_global_zero
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000 if full else limits[1], limits[1]))

folder = Path(sys.argv[1])
store = CheckpointStore(folder / "checkpoints", keep=9)
def extra(partial):
    (partial / f"rank-{store.rank}.txt").write_text("here")
fit(folder, 7, Disk(), Checkpoints(store, 2, extra=extra), strategy="ddp", devices=2)
assert [f.step for f in store.faults] == [4], store.faults
assert "File too large" in store.faults[0].message
"""


@pytest.mark.slow
def test_fault_on_one_of_two_processes(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(TWO)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "two.py"), str(tmp_path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert steps(tmp_path / "checkpoints") == [2, 6, 7]
    names = {p.name for p in (tmp_path / "checkpoints" / "step-00000006").iterdir()}
    assert names == {"manifest.json", "rank-0.txt", "rank-1.txt", "state.ckpt"}
