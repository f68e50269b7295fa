"""The train command before any training: what it tells, and what it refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tiny_training
from paintsundo.settings import config_directory
from paintsundo.training import command

START = "start=FOLDER"
PARTS = ("model.autoencoder", "model.text_encoder")
NEEDS = {
    "embedded/image_autoencoder": (),
    "embedded/tagger": (),
    "embedded/single_frame": ("model.autoencoder", "model.tags"),
    "embedded/video_autoencoder": (),
    "embedded/video_decoder": ("model.start",),
    "embedded/multi_frame": ("model.autoencoder",),
    "official/single_frame": (START,),
    "official/single_frame_lora": (START,),
    "official/single_frame_from_scratch": PARTS,
    "official/multi_frame": (START,),
    "official/multi_frame_lora": (START,),
    "official/multi_frame_from_scratch": PARTS,
    "official/video_autoencoder": (),
    "finetune/single_frame": (),
    "finetune/multi_frame": (),
}


def refused(given: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which the command refuses."""
    assert command.main(given) == 2
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert said.out == ""
    return lines[0]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_training.write_data(tmp_path_factory.mktemp("data") / "set", tiny_training.drawings())


def test_every_experiment_is_known_here() -> None:
    folder = config_directory() / "experiment"
    names = {file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml")}
    assert names == set(NEEDS)
    assert {name.removeprefix("embedded/") for name in names if name.startswith("embedded/")} == set(tiny_training.TINY)


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_dry_runs_name_what_is_missing(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command.main([f"experiment={name}", "dry_run=true"]) == 0
    said = capsys.readouterr().out
    verdict = said.splitlines()[-1]
    assert verdict.startswith("missing: ")
    named = [line.split(" ")[0] for line in verdict.removeprefix("missing: ").split("; ")]
    assert named == ["output=DIR", "data.path=DATASET", *NEEDS[name]]
    assert re.search(r"_target_: paintsundo\.training\.\w+\.\w+Module\n", said)
    assert re.search(r"^network +parameters +trained +frozen", said, re.MULTILINE)
    for key in NEEDS[name]:
        key = key.partition("=")[0]
        given = [f"experiment={name}", f"{key}={tmp_path / 'none'}", "dry_run=true"]
        assert command.main(given) == 0
        assert f"{key}: {tmp_path / 'none'} does not exist" in capsys.readouterr().out


def test_dry_runs_are_content_when_nothing_is_missing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tiny_training.arguments("tagger", data, tmp_path / "out", "dry_run=true")
    assert command.main(given) == 0
    assert capsys.readouterr().out.endswith("nothing is missing\n")
    assert not (tmp_path / "out").exists()


def test_train_py_is_this_command(tmp_path: Path) -> None:
    script = Path(__file__).parent.parent / "train.py"
    done = subprocess.run([sys.executable, script, "dry_run=true"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("missing: experiment=NAME")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["max_step=3"], "unknown option max_step; did you mean max_steps?"),
        (["experiment=embedded/none"], "embedded/none"),
        (["max_steps"], "name=value"),
        (["max_steps=0"], "max_steps must be a whole number and at least 1, not 0"),
        (["max_steps=many"], "max_steps: Value 'many'"),
        (["batch_size=0"], "batch_size must be"),
        (["sample_every=0"], "sample_every must be"),
        (["seed=-1"], "seed must be"),
        ([], "missing: experiment=NAME"),
        (["model.tags=x.csv"], "unknown option model.tags: no experiment is chosen"),
        (["experiment=embedded/tagger", "model.tags=x.csv"], "unknown option model.tags: this experiment has none"),
        (["experiment=embedded/tagger"], "missing: output=DIR; data.path=DATASET"),
        (["experiment=embedded/tagger", "trainer=zero3", "runtime.compile=full"], "say runtime.compile=regional"),
        (["experiment=embedded/tagger", "model.picture_sise=8"], "did you mean model.picture_size?"),
        (["experiment=embedded/tagger", "start=bundled"], "always trained from scratch"),
        (["experiment=embedded/tagger", "max_steps=1,2"], "has several values"),
        (["-m", "experiment=embedded/tagger", "max_steps=1,2"], "missing: output=DIR"),
        (["sweep=betas", "experiment=embedded/tagger"], "missing: output=DIR"),
    ],
)
def test_bad_options_are_refused(options: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told in refused(options, capsys)


def test_data_that_are_missing_or_do_not_fit(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = tiny_training.arguments("tagger", tmp_path / "none", tmp_path / "out")
    assert f"a data set at {tmp_path / 'none'}: it has no manifest.json" in refused(nowhere, capsys)
    also = tiny_training.arguments("tagger", data, tmp_path / "out", f"data.also=[{tmp_path / 'none'}]")
    assert "it has no manifest.json" in refused(also, capsys)
    assert not (tmp_path / "out").exists()
    drawings = tiny_training.drawings()
    one_split = tiny_training.write_data(tmp_path / "unsplit", {"train": drawings["train"]})
    assert "holds no validation samples" in refused(
        tiny_training.arguments("tagger", one_split, tmp_path / "out"), capsys
    )


def test_unusable_models_are_told_before_the_data_are_read(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model" / "vae").mkdir(parents=True)
    (tmp_path / "tags.csv").write_text("tag_id,name,category,count\n0,hat,0,1\n")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "manifest.json").write_text(json.dumps({"format": 99}))
    options = [f"model.autoencoder={tmp_path / 'model'}", f"model.tags={tmp_path / 'tags.csv'}"]
    given = tiny_training.arguments("single_frame", damaged, tmp_path / "out", *options)
    assert str(tmp_path / "model" / "vae") in refused(given, capsys)
    given = tiny_training.arguments("multi_frame", damaged, tmp_path / "out", options[0])
    assert str(tmp_path / "model" / "vae") in refused(given, capsys)


def test_file_names_are_taken_as_they_stand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "a, [b]=${c} 'd'"
    (tmp_path / name).mkdir()
    (tmp_path / name / "manifest.json").write_text("{}")
    given = ["experiment=embedded/tagger", f"data.path={tmp_path / name}", f"output={tmp_path / name}", "dry_run=true"]
    assert command.main(given) == 0
    assert capsys.readouterr().out.endswith("nothing is missing\n")


def test_a_machine_without_memory_is_told_what_helps(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def out_of_memory(config: object) -> None:
        raise RuntimeError("not enough memory: you tried to allocate")

    monkeypatch.setattr(command, "train_config", out_of_memory)
    assert command.main(tiny_training.arguments("tagger", data, tmp_path / "out")) == 1
    assert "a smaller batch_size" in capsys.readouterr().err


def test_help_lists_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("python train.py experiment=NAME")
    assert "optimizer.learning_rate=0.0005" in said
    assert command.main(["experiment=embedded/tagger", "-h"]) == 0
    assert "optimizer.learning_rate=0.002" in capsys.readouterr().out
