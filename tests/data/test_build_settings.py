import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image
from tiny_source import NAME, write_texts

from paintsundo import settings
from paintsundo.data import shards
from paintsundo.data.__main__ import main
from paintsundo.data.build import BuildSettings, build
from paintsundo.data.inspection import faults_of
from paintsundo.data.making.settings import of_manifest
from paintsundo.data.source import Canvas, Unusable
from paintsundo.data.sources import CLASSES, source_class
from paintsundo.errors import UserError

CONFIGS = settings.config_directory()
THERE = [name for name in CLASSES if (CONFIGS / "source" / f"{name}.yaml").is_file()]


@pytest.mark.parametrize("name", THERE)
def test_configurations_of_sources_say_what_their_schemas_do(name: str) -> None:
    written = OmegaConf.to_container(OmegaConf.load(CONFIGS / "source" / f"{name}.yaml"))
    assert written.pop("name") == name
    found = source_class(name)
    assert found.name == name
    assert written == OmegaConf.to_container(OmegaConf.structured(found.Options))
    found().check()


@pytest.mark.parametrize("behaviours", ["none", "published"])
@pytest.mark.parametrize("engine", ["local", "submitit", "ray"])
def test_build_yaml_is_the_schema(behaviours: str, engine: str) -> None:
    words = ["source=svg", "input=a, b=[c]", "output=${x}", f"behaviours={behaviours}", f"engine={engine}"]
    config = settings.compose("build", words, ("input", "output"))
    found = settings.as_schema(config, BuildSettings)
    assert (found.input, found.output, found.engine["name"]) == ("a, b=[c]", "${x}", engine)
    assert (found.behaviour_options is None) == (behaviours == "none")
    defaults = asdict(BuildSettings({"name": "svg"}, "", ""))
    for key in set(defaults) - {"source", "input", "output", "engine", "behaviours"}:
        assert getattr(found, key) == defaults[key], key


def test_help_explains_the_options_of_what_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "source=pictures", "engine=submitit", "--help"]) == 0
    said = capsys.readouterr().out
    for words in ("near_duplicates: null", "crops: ", "array_parallelism: ", "behaviours=none|published"):
        assert words in said
    assert main(["check", "--help"]) == 0
    assert "usage" in capsys.readouterr().out


def test_processes_that_draw_load_no_networks() -> None:
    """Each of many workers pays for what is imported."""
    script = "import sys, paintsundo.data.build, paintsundo.data.sources.svg, paintsundo.data.sources.pictures\n"
    script += "heavy = {'torch', 'transformers', 'onnxruntime', 'av', 'psd_tools'} & set(sys.modules)\n"
    script += "sys.exit(', '.join(heavy) or None)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_former_names_of_options(tmp_path: Path, landscape: np.ndarray) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(landscape).save(tmp_path / "in" / "hills.png")
    words = ["build", "source=pictures", f"input={tmp_path / 'in'}", f"output={tmp_path / 'set'}"]
    assert main([*words, "size=64", "workers=0", "crops=2", "work_shares.pictures.line=0.5"]) == 0
    (part,) = shards.read_manifest(tmp_path / "set")["settings"]["parts"]
    assert part["options"]["crops"] == 2
    assert part["options"]["work_shares"]["line"] == 0.5


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (100, 100, (256, 256)),
        (200, 100, (184, 360)),
        (1, 1, (256, 256)),
        (100, 400, (512, 128)),
    ],
)
def test_canvases(width: int, height: int, expected: tuple[int, int]) -> None:
    assert Canvas(256, "source").dimensions(width, height) == expected
    assert Canvas(256).dimensions(width, height) == (256, 256)


def test_strips_are_no_canvas() -> None:
    for sides in ((1, 100), (100, 1), (0, 5)):
        with pytest.raises(Unusable, match="narrow"):
            Canvas(256, "source").dimensions(*sides)


def options(tmp_path: Path, source: object, **more: object) -> BuildSettings:
    return BuildSettings(source, str(tmp_path / "in"), str(tmp_path / "set"), size=32, workers=0, **more)


def test_a_mix_of_sources(tmp_path: Path, inked: bytes, shaded: bytes) -> None:
    write_texts(tmp_path / "in" / "texts", 6, spoiled="bad")
    for number in range(4):
        (tmp_path / "in" / f"a{number}.svg").write_bytes((inked, shaded)[number % 2])
    parts = [
        {"source": NAME, "input": "texts/*", "limit": 4, "stripes": 2, "compositions": 2},
        {"source": "svg", "compositions": 3, "input": "a*"},
    ]
    chosen = options(tmp_path, {"name": "open", "parts": parts})
    manifest = build(chosen, progress=False)
    assert manifest["source"] == "open"
    assert set(manifest["sources"]) == {"tiny", "svg"}
    found = [process.extra["name"] for process in shards.read_processes(tmp_path / "set", split="train")]
    assert len(manifest["settings"]["parts"]) == 2
    assert {"composition-0-0", "composition-1-2", "a0.svg"} <= {
        process.extra["name"] for process in shards.read_processes(tmp_path / "set")
    }
    kinds = ["texts" in name for name in found if "composition" not in name]
    assert True in kinds[: len(kinds) // 2]
    assert False in kinds[: len(kinds) // 2]  # evenly mixed
    assert list(faults_of(tmp_path / "set")) == []
    again = of_manifest(manifest, chosen.input, chosen.output, None)
    assert again.decisive() == chosen.decisive()


def test_compositions_of_sources_that_know_none(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 5, spoiled="bad")
    build(options(tmp_path, NAME, compositions=6), progress=False)
    found = [process for process in shards.read_processes(tmp_path / "set") if "composition" in process.extra["name"]]
    assert len(found) >= 4
    assert any(len(process.extra["stems"]) > 1 for process in found)
    assert list(faults_of(tmp_path / "set")) == []


def test_behaviours_are_added(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 6)
    plain = build(options(tmp_path, NAME), progress=False)
    before = {process.extra["name"]: process for process in shards.read_processes(tmp_path / "set")}
    flips = {"flip": {"probability": 1.0}}
    build(options(tmp_path, NAME, behaviours=flips, overwrite=True), progress=False)
    after = {process.extra["name"]: process for process in shards.read_processes(tmp_path / "set")}
    assert plain["settings"]["behaviours"] is None
    changed = [len(after[name].spans()) != len(before[name].spans()) for name in before]
    assert any(changed)
    for name, process in before.items():
        assert (after[name].finished == process.finished).all()


@pytest.mark.parametrize(
    ("licences", "kept"),
    [
        ("!GPL*", ["CC0", "MIT", ""]),
        ("cc*, MIT", ["CC0", "MIT"]),
        ("*GPL*,!gpl-3", ["GPL-2+"]),
        (None, ["CC0", "GPL-2+", "GPL-3", "MIT", ""]),
    ],
)
def test_licences_are_chosen(tmp_path: Path, licences: str | None, kept: list[str]) -> None:
    write_texts(tmp_path / "in", 5)
    names = ["CC0", "GPL-2+", "GPL-3", "MIT", ""]
    files = sorted(path.name for path in (tmp_path / "in").glob("*"))
    lines = [{"file": file, "licence": name} for file, name in zip(files, names, strict=True)]
    (tmp_path / "in" / "index.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    chosen = options(tmp_path, NAME, licences=licences, splits="train,validation,test")
    manifest = build(chosen, progress=False)
    found = [process.licence for process in shards.read_processes(tmp_path / "set")]
    assert sorted(found) == sorted(kept)
    assert manifest["files_left_out"].get("other licences", 0) == 5 - len(kept)
    assert of_manifest(manifest, chosen.input, chosen.output, None).licences == licences


def test_licences_are_carried_and_listed(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 4)
    lines = [
        {"file": "text000.txt", "source": "set one/a", "licence": "CC BY 4.0", "author": "Ada"},
        {"file": "text001.txt", "source": "set one/b", "licence": "CC BY 4.0", "author": "Bob"},
    ]
    (tmp_path / "in" / "index.jsonl").write_text("\n".join(map(json.dumps, lines)))
    manifest = build(options(tmp_path, NAME, licence="mine, all mine", author="Me"), progress=False)
    assert manifest["licences"] == {"CC BY 4.0": 2, "mine, all mine": 2}
    text = (tmp_path / "set" / "LICENCES.md").read_text()
    assert "## CC BY 4.0\n\n2 processes\n\n- set one: 2 processes; authors: Ada, Bob\n" in text
    assert "- single files: 2 processes; authors: Me\n" in text
    by_name = {process.extra["name"]: process for process in shards.read_processes(tmp_path / "set")}
    assert by_name["text000.txt"].author == "Ada"
    assert by_name["text003.txt"].licence == "mine, all mine"


def test_archives_in_a_mix_are_chosen_by_name(tmp_path: Path) -> None:
    import zipfile

    (tmp_path / "in").mkdir()
    for name in ("one", "two"):
        with zipfile.ZipFile(tmp_path / "in" / f"{name}.zip", "w") as packed:
            packed.writestr(f"{name}.txt", "7")
    build(options(tmp_path, {"name": "open", "parts": [{"source": NAME, "input": "tw*"}]}), progress=False)
    assert [process.extra["name"] for process in shards.read_processes(tmp_path / "set")] == ["two/two.txt"]


@pytest.mark.parametrize(
    ("source", "more", "message"),
    [
        ("nothing", {}, "choose one of"),
        ("nowhere.at_all:Source", {}, "No module"),
        ({"name": NAME, "colour": 3}, {}, "colour"),
        ({"name": NAME, "stripes": "many"}, {}, r"source\.stripes"),
        ({"name": "open"}, {}, "list of parts"),
        ({"name": "open", "parts": []}, {}, "list of parts"),
        ({"name": "open", "parts": [{"input": "*"}]}, {}, "needs a source"),
        ({"name": "open", "parts": [{"source": NAME, "limit": 0}]}, {}, r"parts\[0\]\.limit"),
        ({"name": "open", "parts": [{"source": NAME, "stripes": "x"}]}, {}, r"parts\[0\]\.stripes"),
        ({"name": "open", "parts": [{"source": NAME, "input": "none*"}]}, {}, "match none"),
        (NAME, {"canvas": "round"}, "canvas"),
        (NAME, {"near_duplicates": 60}, "near_duplicates"),
        (NAME, {"seconds": -1.0}, "seconds"),
        (NAME, {"memory_gb": 0.01}, "memory_gb"),
        (NAME, {"engine": {"name": "abacus"}}, "engine"),
        (NAME, {"tagger": "nowhere"}, "tagger"),
        (NAME, {"compositions": -1}, "compositions"),
        (NAME, {"behaviours": {"flip": {"probability": 7}}}, "probability"),
        (NAME, {"behaviours": {"dance": 1}}, "behaviours"),
    ],
)
def test_impossible_settings_are_one_line_before_any_work(
    tmp_path: Path, source: object, more: dict, message: str
) -> None:
    write_texts(tmp_path / "in", 1)
    with pytest.raises(UserError, match=message) as caught:
        build(options(tmp_path, source, **more), progress=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()
