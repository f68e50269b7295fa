"""Two processes on the CPU train as one with the batches of both."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import mixed_sizes
import tiny_starts
from tiny_models import TINY
from train_process import KILLED, batches, keys, kill_now, train, train_together

STEPS = 6
SHARED = (
    f"max_steps={STEPS}",
    "checkpoint_every=2",
    "sample_every=6",
    "held_out_every=3",
    "ema.decay=0.5",
    "model.text_dropout=0",
    "data.states_per_process=1",
)
DDP = ("trainer=ddp", "trainer.devices=2")
UNET = "unet/diffusion_pytorch_model.safetensors"


def noise_by_sample() -> None:
    """Noise and timesteps that depend on the batch's number and the row of all processes' rows."""
    import os

    from paintsundo.training.diffusion import DiffusionModule
    from paintsundo.training.single_frame import SingleFrameModule

    rank, moments = int(os.environ.get("RANK", 0)), SingleFrameModule.moments

    def sharp(self: Any, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, std = moments(self, pictures)
        return mean, torch.zeros_like(std)

    def step(self: Any, batch: dict[str, Any], index: int) -> torch.Tensor:
        batch = self.encoded(batch)
        shape, drawn = self.latent_shape(batch), []
        for row in range(shape[0]):
            generator = torch.Generator().manual_seed(1000 * batch["number"] + rank * shape[0] + row)
            drawn.append((torch.randint(1000, (), generator=generator), torch.randn(shape[1:], generator=generator)))
        t, noise = (torch.stack(values) for values in zip(*drawn, strict=True))
        loss = self.errors(batch, t, noise).mean()
        self.record({"loss": loss})
        return loss

    SingleFrameModule.moments = sharp  # type: ignore[method-assign]
    DiffusionModule.training_step = step  # type: ignore[method-assign]


def die_together(number: int) -> None:
    """Both processes are killed when this batch is to be trained on."""
    from paintsundo.training.diffusion import DiffusionModule

    errors = DiffusionModule.errors

    def killed(self: Any, batch: dict, *others: Any) -> Any:
        if batch.get("number") == number:
            kill_now()
        return errors(self, batch, *others)

    DiffusionModule.errors = killed  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return tiny_starts.write_data(tmp_path_factory.mktemp("data") / "set", 12, sizes=((64, 64),))


def together(given: list[str], folder: Path, change: Any = None) -> list[int]:
    logs = [folder.with_suffix(f".{rank}.log") for rank in range(2)]
    return train_together(given, logs, [folder.with_suffix(f".{rank}.order") for rank in range(2)], change)


def of_rank(folder: Path, rank: int) -> Path:
    return folder.with_suffix(f".{rank}.order")


@pytest.fixture(scope="module")
def pair(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes with their own noise."""
    folder = tmp_path_factory.mktemp("pair") / "whole"
    assert together(tiny_starts.arguments("single_frame", data, folder, *SHARED, *DDP), folder) == [0, 0]
    return folder


def test_both_see_data_of_their_own(pair: Path) -> None:
    shown = [keys(of_rank(pair, rank)) for rank in range(2)]
    assert len(shown[0]) == len(shown[1]) == STEPS
    for one, other in zip(*shown, strict=True):
        assert len(one) == len(other) == 2
        assert not set(one) & set(other)
    every = [key for one, other in zip(*shown, strict=True) for key in one + other]
    assert len(set(every[:12])) == len(set(every[12:])) == 12  # two whole passes
    assert [number for number, _ in batches(of_rank(pair, 1))] == list(range(STEPS))


def test_killed_and_resumed(pair: Path, data: list[str]) -> None:
    folder = pair.with_name("parts")
    given = tiny_starts.arguments("single_frame", data, folder, *SHARED, *DDP)
    assert together(given, folder, partial(die_together, 3)) == [KILLED, KILLED]
    assert together(given, folder) == [0, 0]
    assert "going on from step 2" in folder.with_suffix(".0.log").read_text()
    states = [torch.load(f / f"checkpoints/step-{STEPS:08d}/state.ckpt", weights_only=True) for f in (pair, folder)]
    for part in ("state_dict", "callbacks", "optimizer_states"):
        assert_same(states[0][part], states[1][part])
    for rank in range(2):
        assert set(batches(of_rank(folder, rank))) == set(batches(of_rank(pair, rank)))


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    else:
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_two_processes_are_one_with_twice_the_batch(data: list[str], tmp_path: Path) -> None:
    """The mean over both halves is the mean over the whole: only sums are rounded in another order."""
    folders = {"two": tmp_path / "two", "one": tmp_path / "one"}
    given = tiny_starts.arguments("single_frame", data, folders["two"], *SHARED, *DDP)
    assert together(given, folders["two"], noise_by_sample) == [0, 0]
    given = tiny_starts.arguments("single_frame", data, folders["one"], *SHARED, "batch_size=4")
    order = tmp_path / "order"
    assert train(given, tmp_path / "log", order, noise_by_sample) == 0
    halves = [keys(of_rank(folders["two"], rank)) for rank in range(2)]
    assert keys(order) == [one + other for one, other in zip(*halves, strict=True)]
    start = load_file(TINY / "single_frame" / UNET)
    two, one = (load_file(folders[name] / "final" / UNET) for name in ("two", "one"))
    far = sum((one[name] - start[name]).square().sum() for name in one).sqrt()
    apart = sum((one[name] - two[name]).square().sum() for name in one).sqrt()
    assert far > 0.1
    assert apart < 1e-3 * far


@pytest.mark.slow
def test_an_error_in_one_process_ends_the_command(tmp_path: Path) -> None:
    """Through torchrun, as the command starts it: a picture that only one of the two reads is damaged."""
    data = tiny_starts.write_data(tmp_path / "set", 4, sizes=((64, 64),))

    def cut(key: str, members: dict[str, bytes]) -> dict[str, bytes]:
        picture = members["pictures.png"]
        return {**members, "pictures.png": picture[: len(picture) // 2]} if int(key) == 1 else members

    mixed_sizes.rewrite(tmp_path / "set", 0, cut)
    given = tiny_starts.arguments("single_frame", data, tmp_path / "run", *SHARED, *DDP, "data.on_fault=stop")
    script = Path(__file__).parents[2] / "train.py"
    done = subprocess.run([sys.executable, script, *given], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "0000001: cannot be decoded" in errors[0]
    assert done.stderr.splitlines()[-1] == errors[0]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "final").exists()
