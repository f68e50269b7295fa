"""Several runs of one command: their folders, what is kept, what a search finds."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

import tiny_training
from paintsundo.settings import compose
from paintsundo.training import command, sweep
from paintsundo.training.configuration import entries
from paintsundo.training.sweep import job_name, quoted, results_text


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[DictConfig]:
    """Configurations "trained": each leaves its learning rate's distance from 3e-4 as the loss."""
    configs: list[DictConfig] = []

    def train_config(config: DictConfig) -> Path:
        configs.append(config)
        final = Path(config.output) / "final"
        final.mkdir(parents=True)
        loss = abs(config.optimizer.learning_rate - 3e-4)
        (final.parent / "summary.json").write_text(json.dumps({"held_out_loss": loss}))
        return final

    monkeypatch.setattr(command, "train_config", train_config)
    return configs


def tagger(data: Path, output: Path, *others: str) -> list[str]:
    return tiny_training.arguments("tagger", data, output, *others)


def folders(output: Path) -> list[str]:
    return sorted(entry.name for entry in output.iterdir() if entry.is_dir())


def test_a_grid_trains_each_and_keeps_what_is_done(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["-m", *tagger(data, tmp_path / "runs"), "model.widths=[8,8],[8]", "max_steps=1"]
    assert command.main(given) == 0
    names = folders(tmp_path / "runs")
    assert [name[0] for name in names] == ["0", "1"]
    first, second = (tmp_path / "runs" / name for name in names)
    assert [OmegaConf.load(f / "config.yaml").model.widths for f in (first, second)] == [[8, 8], [8]]
    assert all((f / "final" / "model.onnx").is_file() for f in (first, second))
    said = capsys.readouterr().out
    assert [line.split()[-1] for line in said.splitlines()[-2:]] == names
    # one is taken away: only that is trained again
    kept = (first / "final" / "model.onnx").stat().st_mtime_ns
    (second / "final").rename(tmp_path / "gone")
    assert command.main(given) == 0
    assert f"{names[0]}: done already" in capsys.readouterr().out
    assert (first / "final" / "model.onnx").stat().st_mtime_ns == kept
    assert (second / "final" / "model.onnx").is_file()


def test_jobs_have_their_own_options_and_all_the_shared_ones(
    data: Path, tmp_path: Path, trained: list[DictConfig]
) -> None:
    output = tmp_path / "o, [b]=${c} 'd'"
    given = tagger(data, output, "max_minutes=null", "optimizer.betas=[0.5,0.6]", "trainer=one")
    assert command.main(["--multirun", *given, "ema=none,power", "optimizer.learning_rate=1e-3,2e-3"]) == 0
    assert [(c.ema.kind, c.optimizer.learning_rate) for c in trained] == [
        ("none", 1e-3),
        ("none", 2e-3),
        ("power", 1e-3),
        ("power", 2e-3),
    ]
    assert {c.data.path for c in trained} == {str(data)}
    assert all(c.max_minutes is None and list(c.optimizer.betas) == [0.5, 0.6] for c in trained)
    assert [c.output for c in trained] == [str(output / name) for name in folders(output)]
    assert folders(output)[0] == "0-ema=none,learning_rate=0.001"


@pytest.mark.parametrize("name", entries("sweep"))
def test_the_sweeps_of_the_repository(
    name: str, data: Path, tmp_path: Path, trained: list[DictConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    if "optuna" in name:
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    experiment = "embedded/multi_frame" if name == "attention_windows" else "embedded/single_frame"
    given = [f"sweep={name}", f"experiment={experiment}", "start=bundled", f"data.path={data}", f"output={tmp_path}"]
    assert command.main(given) == 0, capsys.readouterr().err
    told = {str((_model(config), config.optimizer.learning_rate)) for config in trained}
    assert len(folders(tmp_path)) == len(trained) == len(told) >= 3
    assert {c.start for c in trained} == {"bundled"}


def _model(config: DictConfig) -> list[object]:
    names = ("windows", "loss_weight", "beta_schedule", "beta_end", "prediction_type")
    return [config.model.get(name) for name in names]


def test_optuna_learns_from_the_held_out_loss(
    data: Path, tmp_path: Path, trained: list[DictConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    given = ["sweep=learning_rate_optuna", *tagger(data, tmp_path, "max_minutes=null")]
    assert command.main([*given, "hydra.sweeper.n_trials=2"]) == 0
    rates = [config.optimizer.learning_rate for config in trained]
    assert len(set(rates)) == 2
    assert all(1e-6 <= rate <= 1e-3 for rate in rates)
    best = OmegaConf.load(tmp_path / "optimization_results.yaml")
    assert best.best_value == min(abs(rate - 3e-4) for rate in rates)
    assert best.best_params["optimizer.learning_rate"] in rates
    # more trials go on from those that are there
    capsys.readouterr()
    assert command.main([*given, "hydra.sweeper.n_trials=3"]) == 0
    assert [config.optimizer.learning_rate for config in trained[:2]] == rates
    assert len(trained) == 3
    assert capsys.readouterr().out.count("done already") == 2


def test_a_search_without_a_loss_is_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    # taggers measure none
    given = ["sweep=learning_rate_optuna", *tagger(data, tmp_path, "max_steps=1", "hydra.sweeper.n_trials=1")]
    assert command.main(given) == 2
    assert "no loss on held-out data to compare" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_optuna_searches_by_real_runs(data: Path, tmp_path: Path, runs: SimpleNamespace) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    shared = tiny_training.arguments("single_frame", data, tmp_path, *runs.needs("single_frame"), "held_out_every=1")
    assert command.main(["sweep=learning_rate_optuna", *shared, "hydra.sweeper.n_trials=2"]) == 0
    losses = [json.loads(file.read_text())["held_out_loss"] for file in sorted(tmp_path.glob("*/summary.json"))]
    assert len(losses) == 2
    assert OmegaConf.load(tmp_path / "optimization_results.yaml").best_value == min(losses)


def test_what_is_wrong_is_told_before_anything_runs(
    data: Path, tmp_path: Path, trained: list[DictConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    for others, told in (
        (["optimizer.leaning_rate=1,2"], "did you mean optimizer.learning_rate?"),
        (["model.sizes=1,2"], "unknown option model.sizes"),
        (["ema=none,fast"], "fast"),
        (["trainer=zero3", "runtime.device=cpu", "seed=1,2"], "say runtime.device=cuda, or trainer=ddp"),
        (["data.also=[/none]", "seed=1,2"], "missing: a data set at /none"),
        (["seed=1,2", "hydra/launcher=moon"], "pip install 'paintsundo[sweep]'"),
    ):
        assert command.main(["-m", *tagger(data, tmp_path / "out"), *others]) == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1
        assert told in said[0]
    assert trained == []
    assert not (tmp_path / "out").exists() or folders(tmp_path / "out") == []


def test_a_missing_sweeper_is_told(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compose("train", [])  # plugins are found by now
    sweepers = ConfigStore.instance().repo["hydra"]["sweeper"]
    monkeypatch.delitem(sweepers, "optuna.yaml", raising=False)
    assert command.main(["sweep=learning_rate_optuna", *tagger(data, tmp_path / "out")]) == 2
    assert "pip install 'paintsundo[sweep]'" in capsys.readouterr().err


def test_one_failing_job_does_not_stop_the_others(
    data: Path, tmp_path: Path, trained: list[DictConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["-m", *tagger(data, tmp_path), "ema.decay=0.5,2,0.7"]) == 2
    assert [config.ema.decay for config in trained] == [0.5, 0.7]
    assert capsys.readouterr().err.splitlines()[-1] == "error: ema.decay is 2.0: from 0 to below 1 is possible"


def test_a_dry_run_tells_every_job(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["-m", *tagger(data, tmp_path, "dry_run=true", "seed=5,6")]) == 0
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if line.startswith("seed: ")] == ["seed: 5", "seed: 6"]
    assert folders(tmp_path) == []


@pytest.mark.parametrize("code", [0, 2, 130])
def test_jobs_of_several_processes_have_a_process_of_their_own(
    code: int,
    data: Path,
    tmp_path: Path,
    trained: list[DictConfig],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started: list[list[str]] = []

    def start(given: list[str], check: bool) -> SimpleNamespace:
        started.append(given)
        output = Path(given[-1].removeprefix("output="))
        output.mkdir(parents=True)
        (output / "summary.json").write_text('{"held_out_loss": 0.5}')
        return SimpleNamespace(returncode=code)

    monkeypatch.setattr(subprocess, "run", start)
    name = "a 'b' ${c}"
    given = ["trainer=ddp", "trainer.devices=2", "max_minutes=null", "model.tag_count=5", "seed=1,2"]
    assert command.main(["-m", *tagger(data, tmp_path / name), *given]) == code
    assert trained == []
    assert len(started) == (1 if code == 130 else 2)
    assert started[0][:3] == [sys.executable, "-m", "paintsundo.training.command"]
    told = started[0][3:]
    assert {f"data.path={data}", "max_minutes=null", "trainer=ddp", "seed=1"} <= set(told)
    # the command of the job means the same as the job
    config = sweep.configure(told)
    assert config.output == str(tmp_path / name / "0-seed=1")
    assert (config.seed, config.trainer.devices, config.model.tag_count) == (1, 2, 5)
    if code == 2:
        assert "0-seed=1: training ended with exit code 2" in capsys.readouterr().err


def test_names_are_safe_and_differ() -> None:
    assert job_name(3, ["loss_weight@model.loss_weight=min_snr", "++model.beta_end=0.02"]) == (
        "3-loss_weight=min_snr,beta_end=0.02"
    )
    assert job_name(0, ["data.also=[/a b/c,../d]"]) == "0-also=_a_b_c,.._d"
    assert job_name(0, []) == "0"
    long = [job_name(0, [f"a={'x' * 300}{end}"]) for end in "yz"]
    assert long[0] != long[1]
    assert max(map(len, long)) <= 120


@pytest.mark.parametrize("text", ["plain", "a, [b]=${c} 'd'", "end\\", "\\'", "\\${x}\\", "ü 你"])
def test_quoted_text_comes_back_as_it_was(text: str) -> None:
    assert compose("train", [f"profiler={quoted(text)}"]).profiler == text


def test_results_are_sorted(tmp_path: Path) -> None:
    for name, loss in (("a", 0.5), ("b", None), ("c", 0.25)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps({"held_out_loss": loss}))
    (tmp_path / "d").mkdir()
    assert [line.split() for line in results_text(tmp_path).splitlines()[1:]] == [
        ["0.25", "c"],
        ["0.5", "a"],
        ["-", "b"],
    ]


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [(["-m"], True), (["sweep=betas"], True), (["sweep=null"], False), (["experiment=a"], False)],
)
def test_what_asks_for_several_runs(arguments: list[str], asked: bool) -> None:
    assert sweep.is_sweep(arguments) is asked
