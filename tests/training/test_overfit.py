"""Both models learn two drawing processes by heart from scratch: low loss, and the states they generate match."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_training
from paintsundo.data.shards import load_arrays
from paintsundo.training import command
from paintsundo.training.bank import ProcessBank, to_signed
from paintsundo.training.multi_frame import MultiFrameModule
from paintsundo.training.reconstruction import psnr
from paintsundo.training.single_frame import SAMPLE_STEPS

BUNDLED = Path(command.__file__).parents[1] / "bundled"
SHARED = (
    "debug=overfit",
    "data.limit=null",
    "sample_count=2",
    "log_every=1",
    "runtime.compile=none",
    "optimizer.learning_rate=2e-3",
)
SINGLE = (
    f"model.autoencoder={BUNDLED / 'single_frame'}",
    f"model.tags={BUNDLED / 'tagger' / 'selected_tags.csv'}",
    "model.positions=36",
    # From noise alone, which ε says nothing about, few steps are enough.
    "model.prediction_type=v_prediction",
    "model.zero_terminal_snr=true",
)
MULTI = (f"model.autoencoder={BUNDLED / 'multi_frame'}",)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two processes, held out as well: what is sampled are those trained on."""
    two = tiny_training.drawings()["train"]
    return tiny_training.write_data(tmp_path_factory.mktemp("data") / "set", {"train": two, "validation": two})


def losses(run: Path) -> list[float]:
    with (run / "log" / "metrics.csv").open(newline="") as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream) if row["loss"]]


def figures(run: Path, name: str) -> list[float]:
    lines = [json.loads(line) for line in (run / "figures.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


def learnt(kind: str, data: Path, run: Path, steps: int, *others: str) -> None:
    given = tiny_training.arguments(kind, data, run, *SHARED, *others, f"max_steps={steps}", f"sample_every={steps}")
    assert command.main(given) == 0


def of_bank(data: Path) -> ProcessBank:
    return ProcessBank.join([load_arrays(data, 1, None, "validation")], "cpu").shuffle(0)


def other_process(states: torch.Tensor) -> float:
    """dB of taking the other process's states for a process's, at the same steps; uint8 (2, K, 3, H, W)."""
    pictures = to_signed(states).flatten(1, 2)
    return float(psnr(pictures.flip(0), pictures))


def finished_throughout(states: torch.Tensor, finished: torch.Tensor) -> float:
    """dB of showing the finished picture, uint8 (2, 1, 3, H, W), at every step."""
    pictures = to_signed(states).flatten(0, 1)
    return float(psnr(to_signed(finished.expand_as(states)).flatten(0, 1), pictures))


def faded(states: torch.Tensor) -> float:
    """dB, between the ends, of fading from one end to the other; uint8 (2, T, 3, H, W)."""
    clips = to_signed(states)
    share = torch.linspace(0, 1, clips.shape[1])[None, :, None, None, None]
    made = clips[:, :1] * (1 - share) + clips[:, -1:] * share
    return float(psnr(made[:, 1:-1].flatten(0, 1), clips[:, 1:-1].flatten(0, 1)))


@pytest.mark.parametrize(
    ("steps", "loss", "db"),
    [pytest.param(100, 0.45, 16.0, id="a little"), pytest.param(400, 0.15, 21.0, id="well", marks=pytest.mark.slow)],
)
def test_single_frame_model(data: Path, tmp_path: Path, steps: int, loss: float, db: float) -> None:
    learnt(
        "single_frame", data, tmp_path, steps, *SINGLE, "batch_size=16", "model.network.block_out_channels=[32,64,64]"
    )
    assert np.mean(losses(tmp_path)[:3]) > 0.7
    assert np.mean(losses(tmp_path)[-20:]) < loss
    work = torch.cat([torch.ones(1), 1.0 - torch.tensor(SAMPLE_STEPS) / 999.0]).expand(2, -1)
    states = of_bank(data).states(torch.tensor([0, 1]), work)
    baselines = other_process(states[:, 1:]), finished_throughout(states[:, 1:], states[:, :1])
    assert figures(tmp_path, "state_psnr")[-1] > max(db, *(baseline + 3 for baseline in baselines))


@torch.no_grad()
def between(final: Path, states: torch.Tensor) -> torch.Tensor:
    """What an exported multi-frame model makes between the ends of clips, uint8 (2, T, 3, H, W); float in [−1, 1]."""
    model = MultiFrameModule(start=str(final), frames=states.shape[1]).eval()
    ends = to_signed(states[:, [0, -1]]).transpose(1, 2)
    latents, hidden = model.vae.encode(ends)
    known = torch.zeros(*latents.shape[:2], states.shape[1], *latents.shape[3:])
    known[:, :, [0, -1]] = latents
    contexts, generator = model.contexts({"ends": ends}, len(states), {}), torch.Generator().manual_seed(0)
    scheduler = model.sampler()
    scheduler.set_timesteps(20)
    x = torch.randn(known.shape, generator=generator)
    for t in scheduler.timesteps:
        x = scheduler.step(model.velocity(x, t.expand(len(x)), contexts, known), t, x, generator=generator)[0]
    return model.vae.decode(x, hidden)[:, :, 1:-1].transpose(1, 2)


@pytest.mark.parametrize(
    ("steps", "loss", "margin"),
    [pytest.param(60, 0.5, 1.0, id="a little"), pytest.param(250, 0.25, 2.5, id="well", marks=pytest.mark.slow)],
)
def test_multi_frame_model(data: Path, tmp_path: Path, steps: int, loss: float, margin: float) -> None:
    learnt("multi_frame", data, tmp_path, steps, *MULTI, "batch_size=8")
    assert np.mean(losses(tmp_path)[:3]) > 0.65
    assert np.mean(losses(tmp_path)[-20:]) < loss
    work = torch.tensor([1.0, 5 / 7, 3 / 7, 1 / 7]).expand(2, -1)
    states = of_bank(data).states(torch.tensor([0, 1]), work)
    made, truth = between(tmp_path / "final", states), to_signed(states[:, 1:-1])
    db, of_the_other, of_the_reverse = (
        float(psnr(made.flatten(0, 1), states.flatten(0, 1))) for states in (truth, truth.flip(0), truth.flip(1))
    )
    assert db > faded(states) + margin
    assert db > of_the_other + 6
    assert db > of_the_reverse + 4
