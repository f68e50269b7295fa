"""The width of averages chosen by held-out data, of whole runs."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import mixed_sizes
import tiny_training
from paintsundo.training import command, posthoc
from paintsundo.training.snapshots import find_snapshots

WEIGHTS = "vae/diffusion_pytorch_model.safetensors"
STEPS = 8


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An autoencoder trained with ema=power."""
    folder = tmp_path_factory.mktemp("choice")
    data = mixed_sizes.write(folder / "train", 6, sizes=((64, 64), (64, 96)))
    held_out = mixed_sizes.write(folder / "held_out", 3, sizes=((64, 64),), split="validation", first=20)
    power = ("ema=power", "ema.snapshot_every=2", f"max_steps={STEPS}", "data.held_out=3", "sample_every=null")
    given = tiny_training.arguments(
        "image_autoencoder", data, folder / "run", f"data.also=[{held_out}]", *power, "optimizer.learning_rate=0.01"
    )
    assert command.main(given) == 0
    return folder / "run"


def test_the_best_of_several_widths_is_exported(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "best"
    given = [f"run={run}", "choose=held_out", "std=[0.05,0.1,0.28]", f"output={output}", "device=cpu"]
    assert posthoc.main(given) == 0
    table = json.loads((output / "ema_widths.json").read_text())
    assert table["step"] == STEPS
    assert {line["std"] for line in table["widths"]} == {None, 0.05, 0.1, 0.28}
    usable = [line for line in table["widths"] if line["std"] is not None and line["residual"] <= 0.05]
    best = min(usable, key=lambda line: line["loss"])
    assert table["chosen"] == best["std"] == table["widths"][0]["std"]
    assert len({line["loss"] for line in table["widths"]}) == 4
    assert f"std {best['std']:g} is the best" in capsys.readouterr().out
    assert (output / WEIGHTS).is_file()
    assert posthoc.main(given) == 2  # it is there already
    assert "overwrite=true" in capsys.readouterr().err


def test_stored_width_gives_what_training_exported(run: Path, tmp_path: Path) -> None:
    """All but the layers that the scale of latents is folded into, which depends on the processes measured."""
    before = load_file(run / "final" / WEIGHTS)
    assert posthoc.main([f"run={run}", "choose=held_out", "std=0.05", "device=cpu"]) == 0
    after, kept = load_file(run / "final" / WEIGHTS), load_file(run / "final.before" / WEIGHTS)
    assert all(torch.equal(value, kept[name]) for name, value in before.items())
    assert json.loads((run / "final" / "ema_widths.json").read_text())["chosen"] == 0.05
    differing = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert differing <= {f"{part}.{kind}" for part in ("quant_conv", "post_quant_conv") for kind in ("weight", "bias")}
    assert len(find_snapshots(run)) == 2 * STEPS // 2


@pytest.mark.parametrize(
    ("others", "told"),
    [
        (["choose=loss"], "choose=held_out are needed"),
        (["choose=held_out", "step=3"], "unknown: step"),
        (["choose=held_out", "device=tpu"], "choose auto, cpu or cuda"),
        (["choose=held_out", "std=x"], "std is a number or a list"),
        (["choose=held_out", "std=0.9"], "the width of an average"),
    ],
)
def test_wrong_arguments_are_refused(
    run: Path, others: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert posthoc.main([f"run={run}", *others]) == 2
    assert told in capsys.readouterr().err


def test_a_run_without_snapshots_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert posthoc.main([f"run={tmp_path}", "choose=held_out"]) == 2
    assert "not trained with ema=power" in capsys.readouterr().err
