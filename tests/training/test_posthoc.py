import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from paintsundo.training import posthoc
from paintsundo.training.averages import PowerAverage
from paintsundo.training.snapshots import write_snapshot

STEPS, EVERY = 1000, 50
NAMES = {"unet.conv_in.weight": (4, 3), "unet.conv_in.bias": (5,), "text_encoder.text_model.norm.weight": (6,)}


def weights(step: int) -> dict[str, Tensor]:
    """A training's way: towards a place, then noisily about it."""
    values = {}
    for index, (name, shape) in enumerate(NAMES.items()):
        generator = torch.Generator().manual_seed(100 * step + index)
        place = torch.linspace(-1, 1, int(torch.Size(shape).numel())).reshape(shape)
        values[name] = place * (1 - torch.tensor(-step / 300).exp()) + 0.1 * torch.randn(shape, generator=generator)
    return values


def average(std: float, steps: int) -> dict[str, Tensor]:
    kept = PowerAverage(std)
    kept.start(weights(0))
    for step in range(1, steps + 1):
        kept.update(weights(step))
    return kept.averages


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with snapshots of two widths, and what it exported."""
    folder = tmp_path_factory.mktemp("posthoc") / "run"
    kept = {std: PowerAverage(std) for std in (0.05, 0.1)}
    for std, member in kept.items():
        member.start(weights(0))
        for step in range(1, STEPS + 1):
            member.update(weights(step))
            if step % EVERY == 0:
                write_snapshot(folder, member.averages, std, step, member.updates)
    exported = kept[0.05].averages
    (folder / "final" / "unet").mkdir(parents=True)
    (folder / "final" / "unet" / "config.json").write_text("{}")
    for part, dtype in (("weight", torch.float32), ("bias", torch.float32)):  # as large networks: several files
        save_file(
            {f"conv_in.{part}": exported[f"unet.conv_in.{part}"].to(dtype)},
            folder / "final" / "unet" / f"model-{part}.safetensors",
            metadata={"format": "pt"},
        )
    (folder / "final" / "text_encoder").mkdir()
    stored = {"norm.weight": exported["text_encoder.text_model.norm.weight"], "ids": torch.arange(4)}
    save_file(stored, folder / "final" / "text_encoder" / "model.safetensors")
    (folder / "final" / "vae").mkdir()
    save_file({"frozen": torch.ones(3)}, folder / "final" / "vae" / "model.safetensors")
    return folder


def written(folder: Path) -> dict[str, Tensor]:
    unet = {n: t for file in (folder / "unet").glob("*.safetensors") for n, t in load_file(file).items()}
    text = load_file(folder / "text_encoder" / "model.safetensors")
    return {**{f"unet.{n}": t for n, t in unet.items()}, "text_encoder.text_model.norm.weight": text["norm.weight"]}


def distance(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    return float(sum((first[name] - second[name]).square().sum() for name in NAMES)) ** 0.5


@pytest.mark.parametrize("step", [None, 700])
def test_other_widths_are_those_averaged_from_the_beginning(
    finished: Path, tmp_path: Path, step: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"run={finished}", "std=[0.04, 0.07,0.14]", f"output={tmp_path / 'out'}"]
    assert posthoc.main([*given, *([f"step={step}"] if step else [])]) == 0
    assert capsys.readouterr().err == ""
    for std, bound in ((0.04, 0.1), (0.07, 0.02), (0.14, 0.1)):
        truth = average(std, step or STEPS)
        made = written(tmp_path / "out" / f"std-{std:.3f}")
        nearest = min(distance(average(stored, step or STEPS), truth) for stored in (0.05, 0.1))
        assert distance(made, truth) < bound * nearest


def test_stored_width_is_exact_and_everything_else_is_copied(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert posthoc.main([f"run={finished}", "std=0.1", f"step={EVERY * 3}", f"output={tmp_path / 'out'}"]) == 0
    assert f"std 0.1 at step {EVERY * 3}: residual 0.00%" in capsys.readouterr().out
    truth, made = average(0.1, EVERY * 3), written(tmp_path / "out")
    assert all(torch.equal(made[name], truth[name]) for name in NAMES)
    files = {p.relative_to(finished / "final") for p in (finished / "final").rglob("*") if p.is_file()}
    assert {p.relative_to(tmp_path / "out") for p in (tmp_path / "out").rglob("*") if p.is_file()} == {
        *files,
        Path("average.json"),
    }
    assert json.loads((tmp_path / "out" / "average.json").read_text())["step"] == EVERY * 3
    vae = Path("vae") / "model.safetensors"
    assert (tmp_path / "out" / vae).read_bytes() == (finished / "final" / vae).read_bytes()
    text = load_file(tmp_path / "out" / "text_encoder" / "model.safetensors")
    assert torch.equal(text["ids"], torch.arange(4))
    with safe_open(tmp_path / "out" / "unet" / "model-weight.safetensors", "pt") as opened:
        assert opened.metadata() == {"format": "pt"}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_width_that_cannot_be_represented_is_told(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert posthoc.main([f"run={finished}", "std=0.01", f"output={tmp_path / 'narrow'}"]) == 0
    assert posthoc.main([f"run={finished}", "std=0.08", "step=975", f"output={tmp_path / 'between'}"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("warning: the snapshots (widths 0.05, 0.1, 20 steps)") for line in lines] == [True] * 2


def test_nothing_is_overwritten_unasked(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    given = [f"run={finished}", "std=0.1", f"output={tmp_path}"]
    assert posthoc.main(given) == 2
    assert "is there already; overwrite=true replaces it" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    assert posthoc.main([*given, "overwrite=true"]) == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert distance(written(tmp_path), average(0.1, STEPS)) == 0
    before = written(finished / "final")
    for place in (finished / "final", finished, finished / "averages" / "new"):
        assert posthoc.main([f"run={finished}", "std=0.1", f"output={place}", "overwrite=true"]) == 2
    assert capsys.readouterr().err.count("which is read") == 3
    assert distance(written(finished / "final"), before) == 0


def test_what_cannot_be_reconstructed(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    def copy(name: str) -> Path:
        return Path(shutil.copytree(finished, tmp_path / name))

    bare, ended, other, shaped, folded, cut = (copy(n) for n in ("bare", "ended", "other", "shaped", "folded", "cut"))
    shutil.rmtree(bare / "averages")
    shutil.rmtree(ended / "final")
    shutil.rmtree(other / "final" / "text_encoder")
    save_file({"norm.weight": torch.ones(7)}, shaped / "final" / "text_encoder" / "model.safetensors")
    save_file({"norm.weight": torch.ones(6)}, folded / "final" / "text_encoder" / "model.safetensors")
    damaged = cut / "averages" / "std-0.100" / "step-00000500.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-5])
    cases = [
        (bare, [], "was not trained with ema=power"),
        (ended, [], "the training has not ended"),
        (other, [], "text_encoder has no safetensors files (as text_encoder.text_model.norm.weight)"),
        (shaped, [], "is (7,), should be (6,)"),
        (folded, [], "text_encoder.text_model.norm.weight differ"),
        (cut, [], "step-00000500.safetensors is damaged"),
        (finished, ["step=1001"], "step=1001 is not between 1 and the last snapshot's, 1000"),
        (finished, ["step=0"], "is not between"),
        (finished, ["std=0.5"], "width of an average"),
        (finished, ["std=wide"], "std is a number or a list"),
        (finished, ["std=[0.08,0.0801]"], "differ in three decimals"),
        (finished, ["sdt=0.1"], "unknown: sdt"),
        (tmp_path / "none", [], "is not a folder"),
    ]
    for run, more, told in cases:
        assert posthoc.main([f"run={run}", "std=0.08", *more, f"output={tmp_path / 'out'}"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert told in line
        assert not (tmp_path / "out").exists()
    assert posthoc.main(["std=0.08"]) == 2
    assert "missing: run, output" in capsys.readouterr().err


def test_half_precision_stays(finished: Path, tmp_path: Path) -> None:
    import shutil

    run = Path(shutil.copytree(finished, tmp_path / "run"))
    for file in (run / "final").rglob("*.safetensors"):
        save_file({n: t.half() if t.is_floating_point() else t for n, t in load_file(file).items()}, file)
    assert posthoc.main([f"run={run}", "std=0.1", f"output={tmp_path / 'out'}"]) == 0
    truth, made = average(0.1, STEPS), written(tmp_path / "out")
    assert all(torch.equal(made[name], truth[name].half()) for name in NAMES)
