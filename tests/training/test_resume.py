"""Runs killed at any moment (SIGKILL) and started again end as ones never interrupted, bit by bit."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import tiny_starts
from paintsundo.data.index import read_indexes
from paintsundo.data.plan import BatchPlan
from train_process import KILLED, batches, kill_now, train

STEPS = 8
EVERY = 3  # steps between checkpoints
SHARED = (
    f"max_steps={STEPS}",
    f"checkpoint_every={EVERY}",
    "sample_every=4",
    "held_out_every=2",
    "seed=5",
    "ema.decay=0.6",
)
STREAM = ("data.loader=stream", "data.workers=2", "batch_size=4", "data.states_per_process=2")
# Two of five processes a batch: the third step reaches into the second pass.
CASES = {
    "resident": ("single_frame", ("data.loader=resident", "data.states_per_process=1", "model.positions=6"), 1),
    "stream": (
        "single_frame",
        (*STREAM, "model.step_dropout=0.3", "model.picture_dropout=0.2", "data.steps=states"),
        1,
    ),
    "accumulated": ("single_frame", (*STREAM, "accumulate=2", "ema=power", "ema.snapshot_every=3"), 2),
    "cached clips": (
        "multi_frame",
        (
            "data.loader=stream",
            "data.workers=2",
            "model.positions=31",
            "model.strides=[1,2]",
            "batch_size=1",
            "sample_every=8",
            "held_out_every=8",
        ),
        1,
    ),
}


def die_at_batch(number: int) -> None:
    """Be killed when this batch is to be trained on."""
    from paintsundo.training.diffusion import DiffusionModule

    predict = DiffusionModule.errors

    def errors(self: Any, batch: dict, *others: Any) -> Any:
        if batch.get("number") == number:
            kill_now()
        return predict(self, batch, *others)

    DiffusionModule.errors = errors  # type: ignore[method-assign]


def die_saving(step: int, whole: bool) -> None:
    """Be killed while the checkpoint of a step is written: in its largest file, or before it gets its name."""
    from paintsundo.training.checkpoint_store import CheckpointStore
    from paintsundo.training.checkpointing import DirectCheckpointIO

    save, finish = DirectCheckpointIO.save_checkpoint, CheckpointStore._finish

    def cut(self: Any, checkpoint: dict, path: Any, storage_options: Any = None) -> None:
        save(self, checkpoint, path, storage_options)
        if checkpoint["global_step"] == step and not whole:
            os.truncate(path, Path(path).stat().st_size // 2)
            kill_now()

    def unfinished(self: Any, folder: Path, final: Path, at: int) -> None:
        if at == step and whole:
            (folder / "manifest.json").write_text("{")
            kill_now()
        finish(self, folder, final, at)

    DirectCheckpointIO.save_checkpoint = cut  # type: ignore[method-assign]
    CheckpointStore._finish = unfinished  # type: ignore[method-assign]


def same(one: Any, other: Any, place: str = "") -> None:
    """Equal in structure, type and every bit."""
    assert type(one) is type(other), place
    if isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one:
            if key != "training_minutes":
                same(one[key], other[key], f"{place}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), place
        for number, pair in enumerate(zip(one, other, strict=True)):
            same(*pair, f"{place}/{number}")
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype, place
        assert torch.equal(one, other), place
    else:
        assert one == other, place


def table(folder: Path) -> list[dict[str, str]]:
    """Rows of metrics.csv, less what a clock measured."""
    with (folder / "log" / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{k: v for k, v in row.items() if not k.startswith(("throughput/", "time/", "memory/"))} for row in rows]


def written(folder: Path) -> dict[str, Any]:
    """What a run exported and showed, by name: tensors, or bytes."""
    files = [file for part in ("final", "averages", "samples") for file in (folder / part).rglob("*") if file.is_file()]
    return {
        file.relative_to(folder).as_posix(): load_file(file) if file.suffix == ".safetensors" else file.read_bytes()
        for file in files
        if file.suffix != ".mp4"
    }


def exact(whole: Path, parts: Path, steps: int = STEPS) -> None:
    """Everything that two runs left is equal."""
    states = [torch.load(f / f"checkpoints/step-{steps:08d}/state.ckpt", weights_only=True) for f in (whole, parts)]
    assert states[0]["global_step"] == steps
    assert states[0]["callbacks"]["AverageWeights"]["members"]
    assert states[0]["optimizer_states"][0]["state"]
    for state in states:
        del state["loops"]  # Lightning's counts of batches fetched
    same(*states)
    files = [written(folder) for folder in (whole, parts)]
    assert any(name.endswith(".safetensors") for name in files[0])
    same(*files)
    rows = [table(folder) for folder in (whole, parts)]
    assert [row["step"] for row in rows[0] if row["loss"]] == [str(step) for step in range(steps)]
    assert rows[0] == rows[1]
    figures = [(folder / "figures.jsonl").read_text() for folder in (whole, parts)]
    assert figures[0] == figures[1]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return tiny_starts.write_data(tmp_path_factory.mktemp("data") / "set", 5, sizes=((64, 64),), per_shard=2)


Command = Callable[[str, str], list[str]]


@pytest.fixture(scope="module")
def command(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The command line of a case, by the name of its folder."""
    folder = tmp_path_factory.mktemp("runs")

    def of(case: str, name: str) -> list[str]:
        kind, others, _ = CASES[case]
        cache = (f"data.cache={folder / 'cache'}",) if "cached" in case else ()
        return tiny_starts.arguments(kind, data, folder / case.replace(" ", "_") / name, *SHARED, *others, *cache)

    return of


def output(given: list[str]) -> Path:
    return Path(next(a for a in given if a.startswith("output=")).removeprefix("output="))


@pytest.fixture(scope="module")
def wholes(command: Command) -> Callable[[str], Path]:
    """The run of a case that was never interrupted, made when first asked for."""

    def of(case: str) -> Path:
        given = command(case, "whole")
        folder = output(given)
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            assert train(given, folder.with_suffix(".log"), folder.with_suffix(".order")) == 0
        return folder

    return of


LONG = ("accumulated", "cached clips")


@pytest.mark.parametrize("case", [pytest.param(c, marks=[pytest.mark.slow] if c in LONG else []) for c in CASES])
def test_killed_at_any_step(case: str, command: Command, wholes: Callable[[str], Path]) -> None:
    whole, given = wholes(case), command(case, "parts")
    folder, per_step = output(given), CASES[case][2]
    log, order = folder.with_suffix(".log"), folder.with_suffix(".order")
    draw = random.Random(case)
    # Once before the first checkpoint, once anywhere after it, also in the midst of a step's batches.
    deaths = [draw.randrange(EVERY * per_step), draw.randrange(EVERY * per_step + 1, STEPS * per_step)]
    for number in deaths:
        assert train(given, log, order, partial(die_at_batch, number)) == KILLED
        assert not (folder / "final").exists()
    assert train(given, log, order) == 0
    assert "going on from step" in log.read_text()
    exact(whole, folder)
    every, seen = batches(whole.with_suffix(".order")), batches(order)
    assert [number for number, _ in every] == list(range(STEPS * per_step))
    assert set(seen) == set(every)  # a batch done again is the same batch
    assert len(seen) > len(every)
    assert seen[-2:] == every[-2:]


@pytest.mark.parametrize("whole_files", [False, True])
def test_killed_while_saving(command: Command, wholes: Callable[[str], Path], whole_files: bool) -> None:
    given = command("resident", f"saving_{whole_files}")
    folder = output(given)
    log = folder.with_suffix(".log")
    assert train(given, log, change=partial(die_saving, 2 * EVERY, whole_files)) == KILLED
    names = {path.name for path in (folder / "checkpoints").iterdir()}
    assert names == {f"step-{EVERY:08d}", f".step-{2 * EVERY:08d}.partial"}
    assert train(given, log) == 0
    assert f"going on from step {EVERY}" in log.read_text()
    assert not list((folder / "checkpoints").glob(".*"))
    exact(wholes("resident"), folder)


def test_a_newer_checkpoint_that_is_damaged_is_passed_over(command: Command, wholes: Callable[[str], Path]) -> None:
    given = command("resident", "damaged")
    folder = output(given)
    log = folder.with_suffix(".log")
    assert train(given, log, change=partial(die_at_batch, 2 * EVERY + 1)) == KILLED
    state = folder / f"checkpoints/step-{2 * EVERY:08d}/state.ckpt"
    os.truncate(state, state.stat().st_size - 1)
    assert train(given, log) == 0
    said = log.read_text()
    assert f"step-{2 * EVERY:08d} is incomplete (state.ckpt has" in said
    assert f"going on from step {EVERY}" in said
    exact(wholes("resident"), folder)


def test_the_order_does_not_depend_on_the_workers(command: Command, wholes: Callable[[str], Path]) -> None:
    given = [*command("stream", "alone"), "data.workers=0"]
    folder = output(given)
    assert train(given, folder.with_suffix(".log"), folder.with_suffix(".order")) == 0
    whole = wholes("stream")
    assert batches(folder.with_suffix(".order")) == batches(whole.with_suffix(".order"))
    exact(whole, folder)


def test_the_runs_above_reach_over_passes(data: list[str]) -> None:
    index = read_indexes([data[0].partition("=")[2]], "train")
    plan = BatchPlan(index, [[64, 64]], 4, seed=5, repeats=2)
    planned = [plan.batch(number) for number in range(STEPS)]
    assert planned[2].passes.tolist() == [0, 0, 1, 1]
    assert planned[-1].passes[-1] == 3
    shown = [int(i) for batch in planned for i in batch.indices[::2]]
    assert sorted(shown[:5]) == sorted(shown[5:10]) == list(range(5))


@pytest.mark.slow
def test_killed_from_outside_at_a_random_time(command: Command, wholes: Callable[[str], Path], tmp_path: Path) -> None:
    given = command("stream", "outside")
    folder = output(given)
    script = Path(__file__).parents[2] / "train.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    draw, deaths = random.Random(11), 0
    for _ in range(10):
        with (tmp_path / "log").open("ab") as log:
            running = subprocess.Popen([sys.executable, str(script), *given], stdout=log, stderr=log, env=environment)
        while running.poll() is None and not list(folder.glob("checkpoints/step-*/manifest.json")):
            time.sleep(0.02)
        if deaths < 2:
            time.sleep(draw.random() * 0.5)
            running.send_signal(signal.SIGKILL)
        if running.wait() == 0:
            break
        assert running.returncode == KILLED, (tmp_path / "log").read_text()
        deaths += 1
    assert deaths
    exact(wholes("stream"), folder)


def test_other_data_are_told(command: Command, wholes: Callable[[str], Path], tmp_path: Path) -> None:
    whole = wholes("resident")
    given = [*command("resident", "whole"), f"max_steps={STEPS + 1}", "batch_size=3"]
    log = tmp_path / "log"
    copy = whole.with_name("copy")
    shutil.copytree(whole, copy)
    given[given.index(f"output={whole}")] = f"output={copy}"
    assert train(given, log) == 0
    assert "batches are others than before" in log.read_text()
    assert json.loads((copy / "summary.json").read_text())["steps"] == STEPS + 1
