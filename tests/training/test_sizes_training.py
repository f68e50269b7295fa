"""Runs on data of several sizes: resumed exactly, compiled once, ended by the clock at the lowest rate."""

import csv
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch._dynamo.testing import CompileCounterWithBackend

import mixed_sizes
import tiny_training
from paintsundo.training import command, module
from paintsundo.training.module import PaintsUndoModule, TrainingClock

SIZES = ((64, 64), (96, 64), (64, 96), (64, 64), (72, 64))
SHARED = ("data.held_out=0", "sample_every=null", "data.buckets=[[64,64],[96,64],[64,96]]")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed_sizes.write(tmp_path_factory.mktemp("sizes") / "set", 14, sizes=SIZES)


def test_a_run_of_several_sizes_goes_on_exactly(data: Path, tmp_path: Path) -> None:
    def run(folder: Path, steps: int) -> None:
        constant = ("optimizer.schedule=constant", "max_minutes=null", f"max_steps={steps}", "checkpoint_every=3")
        given = tiny_training.arguments("image_autoencoder", data, folder, *SHARED, *constant)
        assert command.main(given) == 0

    run(tmp_path / "whole", 6)
    run(tmp_path / "parts", 3)
    run(tmp_path / "parts", 6)
    states = [
        torch.load(tmp_path / name / "checkpoints" / "step-00000006" / "state.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "parts")
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    file = "final/vae/diffusion_pytorch_model.safetensors"
    exported = [load_file(tmp_path / name / file) for name in ("whole", "parts")]
    assert all(torch.equal(value, exported[1][name]) for name, value in exported[0].items())


def test_a_run_ended_by_the_clock_exports_and_its_rate_reaches_the_end(data: Path, tmp_path: Path) -> None:
    """Stopped, and gone on: the minutes before count."""
    limits = ("max_steps=100000", "max_minutes=0.05", "log_every=1", "optimizer.learning_rate=1e-3")
    given = tiny_training.arguments("image_autoencoder", data, tmp_path / "run", *SHARED, *limits)
    assert command.main(given) == 0
    assert (tmp_path / "run" / "final" / "vae" / "config.json").is_file()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert 3 < summary["steps"] < 100000
    newest = sorted((tmp_path / "run" / "checkpoints").glob("step-*"))[-1]
    state = torch.load(newest / "state.ckpt", weights_only=True)
    assert 0.05 <= state["training_minutes"] < 0.15
    assert state["lr_schedulers"][0]["_last_lr"][0] == pytest.approx(1e-3 * 0.02, rel=0.05)
    with (tmp_path / "run" / "log" / "metrics.csv").open() as stream:
        rates = [float(row["lr-AdamW"]) for row in csv.DictReader(stream) if row.get("lr-AdamW")]
    assert not rates or rates[0] > rates[-1]


class Shapes(PaintsUndoModule):
    """Has batches of several shapes."""


def test_the_first_step_of_each_size_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    trained = Shapes()
    for side, seconds in ((8, 600), (8, 60), (4, 900), (8, 60), (4, 120)):
        trained.on_train_batch_start({"pictures": torch.zeros(1, side)}, 0)
        now[0] += seconds
        trained.on_train_batch_end()
    assert trained.clock.minutes() == pytest.approx(4)
    assert TrainingClock().minutes() == 0


@pytest.mark.parametrize(("dynamic", "graphs"), [(True, 1), (False, 3)])
def test_variable_sizes_are_compiled_once(dynamic: bool, graphs: int) -> None:
    """As `compile_in_place` asks for it: what differs is the translator, which need not run."""
    from paintsundo.models import SingleFrameUNet

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    unet = SingleFrameUNet(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
        block_out_channels=[16, 16],
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    unet.compile(dynamic=dynamic, backend=counter)
    for height, width in ((8, 12), (12, 8), (8, 16)):
        latents = torch.randn(2, 4, height, width)
        out = unet(
            latents,
            torch.tensor([1, 2]),
            torch.randn(2, 5, 16),
            operation_steps=torch.tensor([3, 4]),
            concat_conds=latents,
        ).sample
        assert out.shape == latents.shape
    assert counter.frame_count == graphs
