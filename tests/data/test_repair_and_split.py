import json
import shutil
from pathlib import Path

import pytest
from tiny_source import NAME, write_texts

from paintsundo.data import shards
from paintsundo.data.__main__ import main
from paintsundo.data.build import BuildSettings, build
from paintsundo.data.inspection import faults_of
from paintsundo.data.resplit import SplitTable, resplit
from paintsundo.data.splits import is_reserved
from paintsundo.errors import UserError

RESERVED = next(f"text{number}" for number in range(1000, 2000) if is_reserved(f"text{number}"))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Shards of five; the inputs lie in tmp_path / "in"."""
    write_texts(tmp_path / "in", 18, spoiled="bad", **{RESERVED: "3"})
    settings = BuildSettings(NAME, str(tmp_path / "in"), str(tmp_path / "set"), size=32, workers=0)
    settings.splits = "train,validation,test"
    build(settings, progress=False)
    return tmp_path / "set"


def contents(dataset: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in dataset.iterdir() if path.is_file()}


def damage(shard: Path) -> None:
    data = bytearray(shard.read_bytes())
    data[data.find(b"IDAT", 1000) + 6] ^= 255
    shard.write_bytes(data)


def test_damaged_and_missing_shards_are_drawn_again(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(dataset)
    damage(dataset / "00000.tar")
    (dataset / "00001.tar").unlink()
    assert main(["check", f"data={dataset}"]) == 2
    said = capsys.readouterr().out
    assert "00000.tar: differs from the manifest" in said
    assert "00001.tar: missing" in said
    assert main(["repair", f"data={dataset}", "workers=0"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["00000.tar: drawn again", "00001.tar: drawn again"]
    assert contents(dataset) == before
    assert main(["repair", f"data={dataset}"]) == 0
    assert main(["check", f"data={dataset}"]) == 0
    assert not (dataset / ".building").exists()


def test_without_inputs_what_is_sound_is_kept(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.move(dataset.parent / "in", dataset.parent / "moved")
    manifest = shards.read_manifest(dataset)
    keys = [key for key, _ in shards.read_samples(dataset / "00000.tar")]
    damaged = (dataset / "00000.tar").read_bytes()
    damage(dataset / "00000.tar")
    lost = next(iter(faults_of(dataset)))
    assert lost
    assert main(["repair", f"data={dataset}"]) == 2
    said = capsys.readouterr().out
    assert "1 samples lost, not drawn again" in said
    after = shards.read_manifest(dataset)
    assert after["samples"] == manifest["samples"] - 1
    assert after["lost"] == {"00000.tar": 1}
    left = [key for key, _ in shards.read_samples(dataset / "00000.tar")]
    assert len(left) == len(keys) - 1
    assert set(left) < set(keys)
    assert list(faults_of(dataset)) == []
    assert len((dataset / "damaged" / "00000.tar").read_bytes()) == len(damaged)
    # a shard that is gone altogether
    (dataset / "00000.tar").unlink()
    assert main(["repair", f"data={dataset}"]) == 2
    assert list(faults_of(dataset)) == []
    assert "00000.tar" not in [entry["file"] for entry in shards.read_manifest(dataset)["shards"]]
    assert shards.read_manifest(dataset)["lost"] == {"00000.tar": len(keys)}


def test_inputs_may_have_moved_but_not_changed(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(dataset)
    moved = dataset.parent / "moved"
    shutil.move(dataset.parent / "in", moved)
    damage(dataset / "00000.tar")
    (moved / "text001.txt").write_text("12345")
    assert main(["repair", f"data={dataset}", f"input={moved}", "workers=0"]) == 2
    assert "is not what" in capsys.readouterr().out
    damage(dataset / "00001.tar")
    (moved / "text001.txt").write_text("1")
    assert main(["repair", f"data={dataset}", f"input={moved}", "workers=0"]) == 0
    assert contents(dataset)["00001.tar"] == before["00001.tar"]


@pytest.mark.parametrize("place", [0, 300, 1024, 5000])
def test_samples_are_found_behind_any_damage(dataset: Path, place: int) -> None:
    from paintsundo.data.salvage import salvaged

    shard = dataset / "00000.tar"
    samples = dict(shards.read_samples(shard))
    data = bytearray(shard.read_bytes())
    data[place : place + 600] = bytes(600)
    shard.write_bytes(data)
    target = dataset.parent / "salvaged.tar"
    kept = salvaged(shard, "train", target)
    assert len(samples) - 2 <= kept < len(samples)
    for key, members in shards.read_samples(target):
        assert members == samples[key]


def test_split_is_shown(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["split", f"data={dataset}"]) == 0
    said = capsys.readouterr().out
    table = SplitTable.of(dataset)
    assert table.samples["test"] == 1
    assert sum(table.samples.values()) == shards.read_manifest(dataset)["samples"]
    assert "subjects in several splits: 0" in said
    assert "samples of reserved files and subjects outside test: 0" in said


def test_split_anew(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(dataset)
    output = dataset.parent / "other"
    assert main(["split", f"data={dataset}", f"output={output}", "validation=0.4", "test=0.2", "seed=5"]) == 0
    assert contents(dataset) == before
    assert list(faults_of(output)) == []
    table = SplitTable.of(output)
    assert table.crossing == ()
    assert table.samples["validation"] > SplitTable.of(dataset).samples["validation"]
    assert table.samples["test"] > 1
    names = {process.extra["name"]: process.finished.tobytes() for process in shards.read_processes(dataset)}
    again = {process.extra["name"]: process.finished.tobytes() for process in shards.read_processes(output)}
    assert names == again
    assert (output / "rejected.jsonl").read_bytes() == before["rejected.jsonl"]
    assert main(["split", f"data={dataset}", f"output={output}"]) == 2  # there is one
    assert main(["split", f"data={dataset}", f"output={output}2", "validation=0.6", "test=0.4"]) == 2
    assert main(["split", f"data={dataset}", f"output={output}2", "validation=most"]) == 2
    assert main(["split", f"data={dataset}", "validation=0.5"]) == 2
    assert not list(dataset.parent.glob(".*partial"))
    resplit(dataset, dataset.parent / "same", None, 0.0, None)  # as built
    assert SplitTable.of(dataset.parent / "same").samples == SplitTable.of(dataset).samples


def test_processes_of_several_subjects_go_where_all_of_them_go(dataset: Path) -> None:
    from paintsundo.data.resplit import split_of_record

    one = split_of_record({"subject": "a", "stems": ["a"]}, 0.5, 0.0, 1)
    others = {name: split_of_record({"subject": name}, 0.5, 0.0, 1) for name in "bcdefgh"}
    for name, split in others.items():
        both = split_of_record({"subject": f"a+{name}", "stems": ["a", name]}, 0.5, 0.0, 1)
        assert both == (one if split == one else None)
    assert set(others.values()) == {"train", "validation"}
    assert split_of_record({"subject": RESERVED, "stems": ["a"]}, 0.5, 0.0, 1) == "test"
    assert split_of_record({"subject": f"a+{RESERVED}", "stems": ["a", "b"]}, 0.5, 0.0, 1) is None
    assert split_of_record({"subject": "a", "stems": [RESERVED]}, 0.5, 0.0, 1) is None  # of no split


def test_check_names_damaged_manifests_and_strangers(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset / "99999.tar").write_bytes(b"")
    assert main(["check", f"data={dataset}"]) == 2
    assert "99999.tar: not in the manifest" in capsys.readouterr().out
    (dataset / "99999.tar").unlink()
    sound = json.loads((dataset / "manifest.json").read_text())
    for change in (
        {"samples": 3},
        {"shards": [{}]},
        {"shards": 3},
        {"shards": [{**sound["shards"][0], "file": "../x"}]},
    ):
        (dataset / "manifest.json").write_text(json.dumps(sound | change))
        assert main(["check", f"data={dataset}"]) == 2, change
    (dataset / "manifest.json").write_text("{")
    assert main(["check", f"data={dataset}"]) == 2
    assert "damaged" in capsys.readouterr().err


def test_older_data_sets_are_salvaged(dataset: Path) -> None:
    manifest = json.loads((dataset / "manifest.json").read_text())
    for name in ("plan", "settings"):
        del manifest[name]
    (dataset / "manifest.json").write_text(json.dumps(manifest))
    (dataset / "build.json").unlink()
    damage(dataset / "00000.tar")
    assert main(["repair", f"data={dataset}"]) == 2
    assert list(faults_of(dataset)) == []
    with pytest.raises(UserError, match="other settings"):
        build(BuildSettings(NAME, str(dataset.parent / "in"), str(dataset), size=32, workers=0), progress=False)
