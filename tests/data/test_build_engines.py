import sys
from pathlib import Path

import pytest
from tiny_source import NAME, write_texts

from paintsundo.data.build import BuildSettings, build
from paintsundo.errors import UserError


def contents(dataset: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in dataset.iterdir() if path.is_file()}


def options(tmp_path: Path, output: str, engine: dict, **more: object) -> BuildSettings:
    return BuildSettings(NAME, str(tmp_path / "in"), str(tmp_path / output), size=32, engine=engine, **more)


def test_jobs_of_submitit_make_the_same_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    write_texts(tmp_path / "in", 13, spoiled="bad", wicked="crash")
    build(options(tmp_path, "whole", {"name": "local"}, workers=1), progress=False)
    engine = {"name": "submitit", "cluster": "local", "cpus_per_task": 1, "timeout_min": 5, "array_parallelism": 2}
    build(options(tmp_path, "set", engine), progress=False)
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


def test_failed_jobs_are_named_and_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    write_texts(tmp_path / "in", 6)
    monkeypatch.setenv("PYTHONPATH", "")  # jobs do not find the source's module
    engine = {"name": "submitit", "cluster": "local", "timeout_min": 5, "array_parallelism": 2}
    with pytest.raises(UserError, match=r"shard \d: failed as job .* the same command") as caught:
        build(options(tmp_path, "set", engine), progress=False)
    assert "\n" not in str(caught.value)
    build(options(tmp_path, "set", {"name": "local"}, workers=0), progress=False)
    assert (tmp_path / "set" / "manifest.json").is_file()


@pytest.mark.parametrize("name", ["submitit", "ray"])
def test_engines_that_are_not_installed_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    write_texts(tmp_path / "in", 1)
    with pytest.raises(UserError, match=f"pip install {name}"):
        build(options(tmp_path, "set", {"name": name}), progress=False)


def test_options_that_the_engine_does_not_know(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    write_texts(tmp_path / "in", 1)
    with pytest.raises(UserError, match="engine=submitit"):
        build(options(tmp_path, "set", {"name": "submitit", "cluster": "local", "coffee": 3}), progress=False)
    with pytest.raises(UserError, match="engine=submitit"):
        build(options(tmp_path, "set", {"name": "submitit", "cluster": "moon"}), progress=False)
