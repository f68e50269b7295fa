"""The benchmark of training at its smallest; the figures of runs are read, not made, here."""

import json

import pytest

import tiny_training
from paintsundo.errors import UserError


def test_networks_are_measured_on_a_processor(tmp_path, evaluate):
    arguments = ("full_size=false", "compile=none", "steps=1", "device=cpu", "profile=true")
    done = evaluate("benchmark", "training", f"output={tmp_path}", *arguments)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))
    assert [row["network"] for row in report["networks"]] == ["single_frame", "multi_frame"]
    for row in report["networks"]:
        assert row["images_per_second"] == pytest.approx(row["batch"] / row["seconds_per_step"])
        assert 0 < row["mfu"] < 2
        assert row["compile_seconds"] == 0
        assert (tmp_path / f"{row['network']}_none_kernels.txt").stat().st_size > 100
    assert (tmp_path / "training.md").read_text(encoding="utf-8") in done.stdout
    assert (tmp_path / "training.png").is_file()


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("parts=everything", "known are networks, loader, strategies"),
        ("networks=none", "both"),
        ("compile=some", "regional"),
        ("parts=loader", "data=DATASET"),
        ("steps=0", "at least 1"),
        ("strategies=zero4", "zero3"),
    ],
)
def test_impossible_options_are_refused(tmp_path, argument, says):
    from training_benchmark import main

    with pytest.raises(UserError, match=says):
        main([f"output={tmp_path / 'out'}", argument])
    assert not (tmp_path / "out").exists()


def test_operations_are_three_forward_passes():
    from support.training_networks import step_operations

    assert step_operations("multi_frame", 2, full_size=False) == 2 * step_operations("multi_frame", 1, full_size=False)
    # published: 6.25 TFLOP for six pictures, 12.6 for two clips' guidance pass of half that each
    assert step_operations("single_frame", 6, full_size=True) / 3e12 == pytest.approx(6.25, rel=0.01)
    assert step_operations("multi_frame", 1, full_size=True) / 3e12 == pytest.approx(12.6, rel=0.01)


def test_loader_alone_counts_samples(tmp_path):
    from support.training_runs import loader_alone

    data = tiny_training.write_data(tmp_path / "set", tiny_training.drawings())
    for name in ("single_frame", "multi_frame"):
        row = loader_alone(name, str(data), (32, 32), batch=2, frames=4, workers=0, seconds=0.2)
        assert row["images_per_second"] > 0


def test_runs_of_strategies_give_their_own_figures(tmp_path, monkeypatch):
    from support import training_runs

    summary = {"devices": 1, "seconds_per_step": 0.5, "peak_memory_gib": 3.0, "images_per_second": 4.0, "other": 1}
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import json, pathlib, sys\n"
        "given = dict(a.split('=') for a in sys.argv[1:])\n"
        "assert given['trainer.strategy'] == 'one' and given['max_steps'] == '6', given\n"
        "folder = pathlib.Path(given['output']); folder.mkdir()\n"
        f"(folder / 'summary.json').write_text({json.dumps(summary)!r})\n"
    )
    monkeypatch.setattr(training_runs, "WORKER", worker)
    row = training_runs.strategy_run("single_frame", "one", 1, tmp_path / "one", ["experiment=x"], 3)
    assert row["seconds_per_step"] == 0.5
    assert row["batch_size"] is None
    assert "other" not in row
    worker.write_text("import sys; sys.exit('no such memory')")
    assert training_runs.strategy_run("a", "one", 1, tmp_path / "two", [], 3)["error"] == "no such memory"


def test_tables_of_all_parts():
    from training_benchmark import tables

    figures = {"seconds_per_step": 0.25, "tflops": 300.0, "mfu": 0.4, "peak_memory_gib": 40.0, "compile_seconds": 9.0}
    network = {"network": "single_frame", "compile": "regional", "batch": 32, "images_per_second": 128.0, **figures}
    run = {"network": "single_frame", "batch_size": 8, "peak_memory_gib": 30.0, "seconds_per_step": 0.1}
    text = tables(
        {
            "settings": {"full_size": True, "gradient_checkpointing": False},
            "matrix_tflops": 750.0,
            "machine": {"device": "cuda", "device_name": "a GPU"},
            "versions": {"torch": "2"},
            "networks": [network],
            "loader": [{"network": "single_frame", "workers": 16, "batch": 32, "images_per_second": 512.0}],
            "strategies": [
                run | {"strategy": "one", "devices": 1, "images_per_second": 80.0},
                run | {"strategy": "ddp", "devices": 2, "images_per_second": 152.0},
                {"network": "single_frame", "strategy": "zero3", "devices": 2, "error": "out of memory"},
            ],
        }
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert [
        "single-frame UNet, 512x640",
        "regional",
        "32",
        "0.250",
        "128.0",
        "300.0",
        "40.0%",
        "38%",
        "40.0",
        "9",
    ] in rows
    assert ["single_frame", "16", "32", "512.0", "128.0", "4.0"] in rows
    assert ["single_frame, ddp", "2", "8", "0.100", "152.0", "95.0%", "30.0", ""] in rows
    assert any(row[0] == "single_frame, zero3" and row[-1] == "out of memory" for row in rows)
