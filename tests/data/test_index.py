import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mixed_sizes
from paintsundo.data import index as index_module
from paintsundo.data import shards
from paintsundo.data.faults import Fault, FaultTally, FaultyData
from paintsundo.data.frames import FrameProcess
from paintsundo.data.index import join, read_index, read_indexes
from paintsundo.data.process_source import ProcessSource
from paintsundo.errors import UserError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return mixed_sizes.write(tmp_path / "set", 12)


def count_scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    scanned: list[str] = []
    scan = index_module.scan

    def counting(shard, store):  # type: ignore[no-untyped-def]
        scanned.append(shard.file)
        return scan(shard, store)

    monkeypatch.setattr(index_module, "scan", counting)
    return scanned


def test_every_sample_is_found_alone_and_is_the_one_written(data: Path) -> None:
    index = read_index(data)
    source = ProcessSource(index)
    expected = list(shards.read_processes(data, workers=1))
    assert len(index) == 12
    assert index.faults == ()
    for number in reversed(range(12)):
        process = source.process(number)
        assert process.subject == expected[number].subject
        assert (process.state(0.7) == expected[number].state(0.7)).all()
        assert process.size == (index.heights[number], index.widths[number])
    assert index.name(7) == "set/00001.tar/0000007"


def test_states_are_read_out_of_shards_without_the_rest_of_their_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = mixed_sizes.write(tmp_path / "set", 6, recordings=2)
    index = read_index(data)
    assert index.forms.tolist() == [1, 0] * 3
    assert index.faults == ()
    source = ProcessSource(pickle.loads(pickle.dumps(index)))
    read: list[int] = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *args: (read.append(args[1]), pread(*args))[1])
    for number in (4, 0, 2):
        expected = mixed_sizes.recording(number, *mixed_sizes.SIZES[number])
        process = source.process(number)
        assert isinstance(process, FrameProcess)
        assert process.tags == expected.tags
        read.clear()
        assert (process.frame(20) == expected.frame(20)).all()
        assert len(read) == 1
        assert read[0] < len(expected.archive) / 2
        assert replace(pickle.loads(pickle.dumps(process)), extra={}) == expected
        assert process.extra == {"split": "train"}
        assert process.archive == expected.archive
        members = source.members(number)
        assert shards.encode(shards.decode(members)) == members  # nothing is lost or added
        assert {"frames", "height", "width", "stages"} <= shards.record_of(members).keys()
    with pytest.raises(TypeError, match="no place in shards"):
        shards.encode(object())


def test_a_state_that_changes_behind_the_manifests_back_is_noticed_and_others_are_not_lost(tmp_path: Path) -> None:
    data = mixed_sizes.write(tmp_path / "set", 4, recordings=2)
    before = read_index(data)
    process = ProcessSource(before).process(2)
    content = bytearray((data / "00000.tar").read_bytes())
    content[before.offsets[2, 0] + process.frames._index.begins[5] + 10] ^= 1
    (data / "00000.tar").write_bytes(content)
    damaged = ProcessSource(before).process(2)
    assert (damaged.frame(20) == mixed_sizes.recording(2, 40, 40).frame(20)).all()
    with pytest.raises(FaultyData, match=r"^set/00000.tar 0000002: state 5 is not as it was written"):
        damaged.frame(6)
    with pytest.raises(FaultyData, match="state 5"):
        ProcessSource(before).arrays(2)
    after = read_index(data)
    assert after.keys.tolist() == ["0000000", "0000001", "0000003"]
    assert any("frames.zip is damaged: state 5" in str(fault) for fault in after.faults)
    content[before.offsets[2, 0] + 60] ^= 1  # in the index itself
    (data / "00000.tar").write_bytes(content)
    with pytest.raises(FaultyData, match="has changed since it was indexed"):
        ProcessSource(before).process(2)
    with pytest.raises(FaultyData, match="has changed since it was indexed"):
        ProcessSource(before).members(2)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda members: members | {"json": members["json"].replace(b'"frames": 4', b'"frames": 5')}, "states of"),
        (lambda members: members | {"json": members["json"].replace(b'"height": ', b'"height": 1')}, "states of"),
        (lambda members: members | {"frames.zip": members["frames.zip"][:-30000]}, "frames.zip is damaged"),
        (lambda members: members | {"frames.zip": b""}, "frames.zip is damaged: its states have no index"),
        (lambda members: {"frames.zip": members["frames.zip"]}, "has no json"),
    ],
)
def test_damaged_samples_of_states_are_named(tmp_path: Path, spoil, told: str) -> None:  # type: ignore[no-untyped-def]
    data = mixed_sizes.write(tmp_path / "set", 2, recordings=2, sizes=((64, 64),))
    mixed_sizes.rewrite(data, 0, lambda key, members: spoil(members) if key == "0000000" else members)
    index = read_index(data)
    assert index.keys.tolist() == ["0000001"]
    (fault,) = index.faults
    assert told in fault.reason
    assert fault.key == "0000000"


def test_an_index_is_kept_and_only_changed_shards_are_read_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned = count_scans(monkeypatch)
    first = read_index(data)
    assert sorted(scanned) == ["00000.tar", "00001.tar", "00002.tar"]
    scanned.clear()
    again = read_index(data)
    assert scanned == []
    assert again.hashes.tolist() == first.hashes.tolist()
    assert (again.offsets == first.offsets).all()

    def repaint(key: str, members: dict[str, bytes]) -> dict[str, bytes]:
        return shards.encode(mixed_sizes.drawing(99, 32, 48), split="train") if key == "0000006" else members

    mixed_sizes.rewrite(data, 1, repaint)
    changed = read_index(data)
    assert scanned == ["00001.tar"]
    assert np.flatnonzero(changed.hashes != first.hashes).tolist() == [6]


def test_a_shard_changed_behind_the_manifests_back_is_noticed(data: Path) -> None:
    before = read_index(data)
    source = ProcessSource(before)
    content = bytearray((data / "00000.tar").read_bytes())
    content[before.offsets[2, 0] + before.sizes[2, 0] // 2] ^= 1
    (data / "00000.tar").write_bytes(content)
    with pytest.raises(Exception, match=r"set/00000.tar 0000002: has changed since it was indexed"):
        source.process(2)
    after = read_index(data)
    assert [str(fault) for fault in after.faults] == ["set/00000.tar: differs from the manifest"]
    assert np.flatnonzero(after.hashes != before.hashes).tolist() == [2]


def test_a_folder_that_cannot_be_written_is_indexed_in_the_users_cache(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "index.json").mkdir()  # nothing can be put in its place
    first = read_index(data)
    assert len(list((tmp_path / "user-cache" / "paintsundo" / "indexes").iterdir())) == 1
    scanned = count_scans(monkeypatch)
    assert read_index(data).hashes.tolist() == first.hashes.tolist()
    assert scanned == []


@pytest.mark.parametrize("damage", ["{", "[]", '{"format": 1, "shards": [{"entry": []}]}', "\xff"])
def test_a_damaged_index_is_made_anew(data: Path, damage: str) -> None:
    (data / "index.json").write_bytes(damage.encode("latin-1"))
    assert len(read_index(data)) == 12


def test_a_truncated_shard_is_named_and_what_is_whole_of_it_is_kept(data: Path) -> None:
    whole = read_index(data)
    shard = data / "00001.tar"
    cut = int(whole.offsets[7, 1]) + 10  # in the middle of the third sample's second member
    shard.write_bytes(shard.read_bytes()[:cut])
    index = read_index(data)
    size = json.loads((data / "manifest.json").read_text())["shards"][1]["bytes"]
    assert index.hashes.tolist() == [*whole.hashes[:7], *whole.hashes[10:]]
    assert index.faults == (Fault("set/00001.tar", None, f"is cut off: {cut} bytes of {size}, 3 of 5 samples lost", 3),)
    assert index.lost == 3


def test_damaged_headers_missing_shards_and_bad_samples_are_named(data: Path) -> None:
    whole = read_index(data)
    shard = data / "00000.tar"
    content = bytearray(shard.read_bytes())
    header = int(whole.offsets[3, 0]) - 512
    content[header : header + 8] = b"\xff" * 8
    shard.write_bytes(content)
    (data / "00002.tar").unlink()

    def spoil(key: str, members: dict[str, bytes]) -> dict[str, bytes]:
        if key == "0000005":
            del members["reveals.png"]
        if key == "0000006":
            members["json"] = b'{"stages": '
        if key == "0000008":
            members["json"] = members["json"].replace(b'"height": ', b'"height": 9')
        return members

    mixed_sizes.rewrite(data, 1, spoil)
    index = read_index(data)
    reasons = {(fault.shard, fault.key): fault for fault in index.faults}
    assert "damaged header at byte" in reasons["set/00000.tar", None].reason
    assert reasons["set/00000.tar", None].samples == 2
    assert reasons["set/00001.tar", "0000005"].reason == "has no reveals.png"
    assert reasons["set/00001.tar", "0000006"].reason.startswith("its json cannot be read")
    assert "its pictures.png is" in reasons["set/00001.tar", "0000008"].reason
    assert reasons["set/00002.tar", None].reason == "missing"
    assert len(reasons) == 5
    assert len(index) + index.lost == 12
    assert index.keys.tolist() == ["0000000", "0000001", "0000002", "0000007", "0000009"]


def test_splits_and_limits_do_not_depend_on_where_samples_lie(tmp_path: Path) -> None:
    one = mixed_sizes.write(tmp_path / "one", 9)
    two = mixed_sizes.write(tmp_path / "two", 6, first=9)
    held = mixed_sizes.write(tmp_path / "held", 4, split="validation", first=20)
    together = read_indexes([one, two, held], "train")
    assert len(together) == 15
    assert len(read_indexes([one, two, held], "validation")) == 4
    assert together.name(10) == "two/00000.tar/0000001"
    some = read_indexes([one, two], "train", limit=5)
    assert set(some.hashes) == set(read_indexes([two, one], "train", limit=5).hashes)
    assert len(some) == 5
    assert ProcessSource(join([together])).process(14).subject == "14"
    with pytest.raises(UserError, match="no usable sample of the split test"):
        read_indexes([one], "test")


def test_manifests_cannot_lead_out_of_their_folder(data: Path, tmp_path: Path) -> None:
    manifest = json.loads((data / "manifest.json").read_text())
    manifest["shards"][0]["file"] = "../00000.tar"
    shutil.copy(data / "00000.tar", tmp_path)
    (data / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="odd name"):
        read_index(data)


def test_tallies_count_each_fault_once_and_stop_in_time() -> None:
    tally = FaultTally(100, "skip", 0.03)
    first = Fault("set/0.tar", "a", "broken")
    assert tally.add([first, first.as_dict()]) == [first]
    assert tally.add([first]) == []
    assert tally.add([Fault("set/0.tar", None, "cut", 2)]) != []
    assert tally.lost == 3
    with pytest.raises(UserError, match=r"4 of 100 samples cannot be used.*set/1.tar b: gone"):
        tally.add([Fault("set/1.tar", "b", "gone")])
    with pytest.raises(UserError, match=r"set/0.tar a: broken; mend it"):
        FaultTally(100, "stop").add([first])
    for wrong in (("never", 0.1), ("skip", 2.0)):
        with pytest.raises(UserError, match="choose"):
            FaultTally(100, *wrong)
