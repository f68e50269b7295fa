import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from paintsundo.data import commands, shards
from paintsundo.data.__main__ import main
from paintsundo.data.build import BuildSettings, build
from paintsundo.data.inspection import faults_of
from paintsundo.data.process import NEVER
from paintsundo.data.report.statistics import statistics
from paintsundo.data.svg import svg_process
from paintsundo.errors import UserError


def make(art: Path, output: Path, **options: object) -> dict:
    settings = BuildSettings("svg", str(art), str(output), size=64, workers=0)
    for name, value in options.items():
        setattr(settings, name, value)
    return build(settings, progress=False)


def test_samples_survive_the_round_trip(inked: bytes) -> None:
    process = svg_process(inked, 64, subject="1F600", tags=("face", "grin"), licence="CC0")
    again = shards.decode(shards.encode(process, split="train"))
    assert (again.subject, again.tags, again.licence, again.extra["split"]) == (
        "1F600",
        ("face", "grin"),
        "CC0",
        "train",
    )
    for one, other in zip(process.stages, again.stages, strict=True):
        assert one.name == other.name
        assert (one.picture == other.picture).all()
        assert (one.reveal == other.reveal).all()


def test_build_keeps_good_files_and_says_why_others_are_rejected(art_folder: Path, tmp_path: Path) -> None:
    manifest = make(art_folder, tmp_path / "set", compositions=12)
    assert manifest["samples"] >= 2 + 2
    lines = (tmp_path / "set" / "rejected.jsonl").read_text().splitlines()
    reasons = {record["name"]: record["reason"] for record in map(json.loads, lines)}
    bad = {"blank.svg", "broken.svg", "entity.svg"}
    assert {name for name in reasons if name.endswith(".svg")} == bad
    assert "entities" in reasons["entity.svg"]
    composed = {reason for name, reason in reasons.items() if name.startswith("composition")}
    assert composed <= {"no usable element", "fewer than two stages"}  # of refused files and of the blank one
    assert manifest["files_left_out"] == {"test": 1}  # the reserved file
    processes = list(shards.read_processes(tmp_path / "set", workers=2))
    assert len(processes) == manifest["samples"]
    assert not any("cat37" in process.extra["stems"] for process in processes)
    assert list(faults_of(tmp_path / "set")) == []


def test_reserved_files_are_built_only_when_asked_for(art_folder: Path, tmp_path: Path) -> None:
    manifest = make(art_folder, tmp_path / "set", splits="test")
    assert manifest["splits"] == {"test": 1}
    assert next(shards.read_processes(tmp_path / "set", split="test")).extra["stems"] == ["cat37"]


def test_builds_are_equal_whatever_the_number_of_workers(art_folder: Path, tmp_path: Path) -> None:
    make(art_folder, tmp_path / "one", compositions=2)
    make(art_folder, tmp_path / "two", compositions=2, workers=2)
    for name in ("00000.tar", "manifest.json", "rejected.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_archives_give_their_records(art_folder: Path, tmp_path: Path) -> None:
    index = {"file": "face.svg", "subject": "1F600", "tags": ["grin"], "source": "set/face", "licence": "CC0"}
    (art_folder / "index.jsonl").write_text(json.dumps(index) + "\n")
    with tarfile.open(tmp_path / "art.tar.xz", "w:xz") as archive:
        for name in ("face.svg", "index.jsonl"):
            archive.add(art_folder / name, name)
    make(tmp_path / "art.tar.xz", tmp_path / "set", sets="set")
    process = next(shards.read_processes(tmp_path / "set"))
    assert (process.subject, process.tags, process.source, process.licence) == (
        "1F600",
        ("grin", "lines first"),
        "set/face",
        "CC0",
    )
    with pytest.raises(UserError, match="holds no"):
        make(tmp_path / "art.tar.xz", tmp_path / "other", sets="elsewhere")


def test_pictures_are_built_with_crops(landscape: np.ndarray, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "in").mkdir()
    Image.fromarray(landscape).save(tmp_path / "in" / "hills.png")
    manifest = make(tmp_path / "in", tmp_path / "set", source={"name": "pictures", "crops": 3})
    assert manifest["samples"] == 3
    assert manifest["stages"]["line"] == 3


def test_arrays_are_padded_with_stages_that_never_come(art_folder: Path, tmp_path: Path) -> None:
    make(art_folder, tmp_path / "set")
    processes = list(shards.read_processes(tmp_path / "set"))
    pictures, reveals, records = shards.load_arrays(tmp_path / "set", workers=2)
    most = max(len(process.stages) for process in processes)
    assert pictures.shape == (2, most, 64, 64, 3)
    assert pictures.dtype == np.uint8
    assert reveals.dtype == np.uint16
    for k, process in enumerate(processes):
        count = len(process.stages)
        assert records[k]["stages"] == [stage.name for stage in process.stages]
        assert (reveals[k, count:] == NEVER).all()
        canvas = np.full((64, 64, 3), 255, np.uint8)
        for stage in range(most):
            canvas = np.where((reveals[k, stage] <= 30000)[..., None], pictures[k, stage], canvas)
        assert (canvas == process.state(30000 / 65534)).all()
    assert len(shards.load_arrays(tmp_path / "set", limit=1)[2]) == 1
    with pytest.raises(UserError, match="no test samples"):
        shards.load_arrays(tmp_path / "set", split="test")


def test_check_finds_damage(art_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(art_folder, tmp_path / "set")
    assert main(["check", f"input={tmp_path / 'set'}"]) == 0
    shard = tmp_path / "set" / "00000.tar"
    data = bytearray(shard.read_bytes())
    data[data.find(b"IDAT") + 20] ^= 255
    shard.write_bytes(data)
    assert main(["check", f"input={tmp_path / 'set'}"]) == 2
    said = capsys.readouterr().out
    assert "differs from the manifest" in said
    assert "damaged" in said
    shard.write_bytes(data[: len(data) // 2])
    assert any("cannot be read" in fault or "samples" in fault for fault in faults_of(tmp_path / "set"))


def test_check_finds_reserved_files_and_mixed_splits(inked: bytes, tmp_path: Path) -> None:
    writer = shards.ShardWriter(tmp_path)
    for split, stem in (("train", "cat37"), ("validation", "face")):
        process = svg_process(inked, 64, subject="same", extra={"stems": [stem]})
        writer.write(shards.encode(process, split=split), split)
    manifest = {"format": shards.FORMAT, "shards": writer.close()}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    said = "\n".join(faults_of(tmp_path))
    assert "made from the reserved file cat37" in said
    assert "subject same: in train and in validation" in said


def test_show_and_stats(art_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    make(art_folder, tmp_path / "set")
    sheet = tmp_path / "sheet.png"
    arguments = [f"input={tmp_path / 'set'}", f"output={sheet}", "states=5", "side=40", "count=2", "captions=false"]
    assert main(["show", *arguments]) == 0
    assert Image.open(sheet).size == (5 * 42 + 2, 2 * 42 + 2)
    capsys.readouterr()
    assert main(["stats", f"input={tmp_path / 'set'}", "json=true"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers == json.loads(json.dumps(statistics(tmp_path / "set")))
    assert numbers["samples"] == 2
    assert 0 < numbers["change"]["largest_step_share_of_canvas"] < 0.2


def test_command_line_statuses(art_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "été (1), set"
    arguments = ["build", "source=svg", f"input={art_folder}", f"output={output}", "size=64", "workers=0"]
    assert main(arguments) == 0
    assert main(arguments) == 0  # it is kept
    assert main([*arguments, "seed=1"]) == 2  # another one is there
    assert main([*arguments, "overwrite=true"]) == 0
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    (lonely / "broken.svg").write_text("<svg")
    empty = [*arguments[:2], f"input={lonely}", f"output={tmp_path / 'none'}", "workers=0"]
    assert main(empty) == 2
    assert json.loads((tmp_path / "none" / "rejected.jsonl").read_text())["reason"].startswith("not well-formed")
    for wrong in (
        ["draw"],
        ["build", "source=svg", f"input={tmp_path / 'nowhere'}", f"output={tmp_path / 'x'}"],
        [*arguments, "overwrite=true", "size=7"],
        [*arguments, "overwrite=true", "colour=red"],
        [*arguments, "overwrite=true", "splits=all"],
        [*arguments, "overwrite=true", "workers=-1"],
        ["build", "source=mp4", f"input={art_folder}", f"output={tmp_path / 'x'}"],
        ["show", f"input={output}"],
        ["show", f"input={output}", "output=x.png", "count=none"],
        ["check", f"input={tmp_path}"],
        ["stats", "place=x"],
    ):
        capsys.readouterr()
        assert main(wrong) == 2, wrong
        error = capsys.readouterr().err.strip().splitlines()
        assert error[-1].startswith("error: "), wrong
        assert not [line for line in error if "Traceback" in line]
    assert main([]) == 2
    assert main(["help"]) == 0
    assert set(commands.COMMANDS) == {"build", "check", "repair", "split", "show", "stats", "fetch"}
