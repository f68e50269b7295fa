"""Faults of data, numbers and disks in whole runs: named, counted, and nothing else changes."""

import csv
import json
import resource
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

import mixed_sizes
import tiny_starts
from paintsundo.training import command
from paintsundo.training.diffusion import DiffusionModule
from train_process import train

STEPS = 6
SHARED = (
    f"max_steps={STEPS}",
    "checkpoint_every=2",
    "keep_checkpoints=9",
    "sample_every=null",
    "held_out_every=null",
    "data.held_out=0",
    "data.states_per_process=1",
)
Members = dict[str, bytes]


def arguments(data: list[str], output: Path, *others: str) -> list[str]:
    return tiny_starts.arguments("single_frame", data, output, *SHARED, *others)


def faults(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "faults.jsonl").read_text().splitlines()]


def counted(folder: Path) -> dict[str, int]:
    return json.loads((folder / "summary.json").read_text())["faults"]


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    return errors[0]


def cut_picture(key: str, members: Members) -> Members:
    if int(key) == 1:
        members["pictures.png"] = members["pictures.png"][: len(members["pictures.png"]) // 2]
    return members


def drop_reveals(key: str, members: Members) -> Members:
    return {name: data for name, data in members.items() if int(key) != 1 or name != "reveals.png"}


def truncate(folder: Path) -> None:
    """The second shard loses its last two samples of three."""
    file = sorted(folder.glob("*.tar"))[1]
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size // 3)


def rewrite(change: Callable[[str, Members], Members]) -> Callable[[Path], None]:
    return lambda folder: mixed_sizes.rewrite(folder, 0, change)


DAMAGES = {
    "a broken picture": (rewrite(cut_picture), "0000001", 1),
    "a missing member": (rewrite(drop_reveals), "0000001", 1),
    "a truncated shard": (truncate, "00001.tar", 2),
}


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_damaged_data(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil, named, lost = DAMAGES[damage]
    data = tiny_starts.write_data(tmp_path / "set", 9, sizes=((64, 64),))
    spoil(tmp_path / "set")
    assert command.main(arguments(data, tmp_path / "run", "data.max_faults=0.5")) == 0
    found = faults(tmp_path / "run")
    assert found
    assert all(named in fault["detail"] and "set/" in fault["detail"] for fault in found)
    assert len({fault["detail"] for fault in found}) == lost or damage == "a truncated shard"
    assert sum(counted(tmp_path / "run").values()) == len(found)
    assert named in capsys.readouterr().err

    assert command.main(arguments(data, tmp_path / "strict", "data.max_faults=0.01")) == 2
    assert named in error_of(capsys)
    assert command.main(arguments(data, tmp_path / "strict", "data.on_fault=stop")) == 2
    assert named in error_of(capsys)
    assert not (tmp_path / "strict" / "final").exists()


def test_what_takes_the_place_of_damaged_samples_is_the_same_in_every_run(tmp_path: Path) -> None:
    data = tiny_starts.write_data(tmp_path / "set", 9, sizes=((64, 64),))
    mixed_sizes.rewrite(tmp_path / "set", 0, cut_picture)
    for workers in (0, 2):
        given = arguments(data, tmp_path / f"run{workers}", "data.max_faults=0.5", f"data.workers={workers}")
        assert train(given, tmp_path / f"log{workers}", tmp_path / f"order{workers}") == 0
    assert (tmp_path / "order0").read_text() == (tmp_path / "order2").read_text()
    assert "0000001" not in (tmp_path / "order0").read_text()
    told = [[(f["detail"], f["step"]) for f in faults(tmp_path / f"run{workers}")] for workers in (0, 2)]
    assert told[0] == told[1]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return tiny_starts.write_data(tmp_path_factory.mktemp("data") / "set", 5, sizes=((64, 64),))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_that_is_not_finite_changes_nothing(
    data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulate: int
) -> None:
    errors, weights = DiffusionModule.errors, {}

    def spoilt(self: Any, batch: dict, *others: Any) -> torch.Tensor:
        weights[batch["number"]] = self.unet.conv_in.weight.detach().clone()
        error = errors(self, batch, *others)
        return error * float("nan") if batch["number"] == 2 * accumulate else error

    monkeypatch.setattr(DiffusionModule, "errors", spoilt)
    assert command.main(arguments(data, tmp_path / "run", f"accumulate={accumulate}")) == 0
    steps = [weights[number * accumulate] for number in range(STEPS)]
    changed = [not torch.equal(one, other) for one, other in pairwise(steps)]
    assert changed == [True, True, False, True, True]
    assert torch.isfinite(steps[-1]).all()
    (fault,) = faults(tmp_path / "run")
    assert fault["kind"] == "non-finite loss"
    assert fault["step"] == 3
    assert len(fault["keys"]) == 2 * accumulate
    assert counted(tmp_path / "run") == {"non-finite loss": 1}
    state = torch.load(tmp_path / f"run/checkpoints/step-{STEPS:08d}/state.ckpt", weights_only=True)
    averages = state["callbacks"]["AverageWeights"]["members"]["standard"]["averages"]
    assert all(torch.isfinite(value).all() for part in (state["state_dict"], averages) for value in part.values())
    with (tmp_path / "run" / "log" / "metrics.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) >= STEPS


def test_too_many_in_a_row_end_the_run(
    data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = DiffusionModule.errors

    def spoilt(self: Any, batch: dict, *others: Any) -> torch.Tensor:
        error = errors(self, batch, *others)
        return error * float("nan") if batch["number"] >= 2 else error

    with monkeypatch.context() as patch:
        patch.setattr(DiffusionModule, "errors", spoilt)
        assert command.main(arguments(data, tmp_path / "run", "nonfinite_limit=3")) == 1
    assert "not finite in 3 steps in a row, last at step 5" in error_of(capsys)
    assert len(faults(tmp_path / "run")) == 3
    assert not (tmp_path / "run" / "final").exists()
    # It goes on from a checkpoint before them, or after some of them: those left the weights as they were.
    assert command.main(arguments(data, tmp_path / "run", "nonfinite_limit=3")) == 0


def fill_disk(*steps: int) -> None:
    """No file may grow beyond 100 kB while the checkpoints of these steps are saved."""
    from paintsundo.training.checkpoint_store import CheckpointStore

    save = CheckpointStore.save

    def cramped(self: Any, step: int, write: Any) -> Any:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        if step in steps:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            return save(self, step, write)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    CheckpointStore.save = cramped  # type: ignore[method-assign]


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_a_disk_that_is_full_for_a_while(data: list[str], tmp_path: Path) -> None:
    given = arguments(data, tmp_path / "run", "keep_checkpoints=1")
    log = tmp_path / "log"
    assert train(given, log, change=partial(fill_disk, 4)) == 0
    said = log.read_text()
    assert "the checkpoint of step 4 could not be saved" in said
    assert "training goes on, the newest one is" in said
    assert "step-00000002" in said
    (fault,) = faults(tmp_path / "run")
    assert (fault["kind"], fault["step"]) == ("failed save", 4)
    assert counted(tmp_path / "run") == {"failed save": 1}
    assert checkpoints(tmp_path / "run") == ["step-00000006"]


def test_a_disk_that_stays_full(data: list[str], tmp_path: Path) -> None:
    given = arguments(data, tmp_path / "run", "keep_checkpoints=1")
    assert train(given, tmp_path / "log", change=partial(fill_disk, 4, 6)) == 1
    errors = [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "the last checkpoint, of step 6, could not be saved: " in errors[0]
    assert checkpoints(tmp_path / "run") == ["step-00000002"]
    assert not (tmp_path / "run" / "final").exists()
    assert train(given, tmp_path / "log") == 0
    assert "going on from step 2" in (tmp_path / "log").read_text()
    assert (tmp_path / "run" / "final").is_dir()
