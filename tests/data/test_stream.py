import multiprocessing
import pickle
import time
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

import mixed_sizes
from paintsundo.data import shards
from paintsundo.data.index import read_indexes
from paintsundo.data.plan import BatchPlan
from paintsundo.data.process_source import ProcessSource
from paintsundo.data.samples import ClipRule, StateRule
from paintsundo.data.stream import PictureReader, Stream, StreamLoader
from paintsundo.errors import UserError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return mixed_sizes.write(tmp_path / "set", 17, recordings=5)


def stream_of(
    data: Path, rule: StateRule | ClipRule | None = None, batch_size: int = 4, world: int = 1, repeats: int = 1, **more
) -> Stream:
    index = read_indexes([data], "train")
    plan = BatchPlan(index, mixed_sizes.BUCKETS, batch_size, 7, 2, world, repeats)
    return Stream(plan, PictureReader(ProcessSource(index), rule or StateRule()), **more)


def first(stream: Stream, count: int, workers: int = 0) -> list[dict]:
    return list(islice(iter(StreamLoader(stream, workers)), count))


def assert_same(one: list[dict], other: list[dict]) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert left.keys() == right.keys()
        for name, value in left.items():
            same = torch.equal(value, right[name]) if isinstance(value, torch.Tensor) else value == right[name]
            assert same, (left["number"], name)


def spoil_picture(key: str, members: dict[str, bytes]) -> dict[str, bytes]:
    """Pictures that look like PNGs until they are decoded."""
    if key == "0000006":
        middle = len(members["pictures.png"]) // 2
        members["pictures.png"] = members["pictures.png"][:middle] + b"\x00" * (len(members["pictures.png"]) - middle)
    return members


def test_state_batches_are_what_the_plan_says(data: Path) -> None:
    stream = stream_of(data)
    processes = {str(n): process for n, process in enumerate(shards.read_processes(data, 1))}
    for number, batch in enumerate(first(stream, 12)):
        planned = stream.plan.batch(number)
        height, width = planned.bucket
        assert batch["number"] == number
        assert batch["states"].shape == batch["finished"].shape == (4, 3, height, width)
        assert batch["states"].dtype == torch.uint8
        assert batch["states"].is_contiguous()
        assert batch["operation_steps"].dtype == torch.int64
        assert batch["keys"] == [stream.plan.entries.name(int(i)) for i in planned.indices]
        assert batch["faults"] == []
        for row, index in enumerate(planned.indices):
            process = processes[str(index)]
            assert batch["tags"][row] == list(process.tags)
            if process.size == planned.bucket:
                finished = torch.from_numpy(process.finished).permute(2, 0, 1)
                state = torch.from_numpy(process.state_at_step(int(batch["operation_steps"][row]))).permute(2, 0, 1)
                assert torch.equal(batch["finished"][row], finished)
                assert torch.equal(batch["states"][row], state)


def test_clip_batches_have_the_finished_end_first(data: Path) -> None:
    for batch in first(stream_of(data, ClipRule(5, (0.3, 0.9))), 6):
        height, width = batch["clips"].shape[-2:]
        assert batch["clips"].shape == (4, 5, 3, height, width)
        assert batch["clips"].dtype == torch.uint8
        white = (batch["clips"] == 255).float().mean(dim=(2, 3, 4))
        assert (white[:, -1] >= white[:, 0]).all()


@pytest.mark.filterwarnings("ignore:This DataLoader")  # more workers than some machines have cores
@pytest.mark.parametrize("workers", [1, 3])
def test_the_order_does_not_depend_on_the_workers(data: Path, workers: int) -> None:
    alone = first(stream_of(data), 11)
    assert_same(first(stream_of(data), 11, workers), alone)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_stream_goes_on_as_if_never_stopped(data: Path, workers: int) -> None:
    whole = first(stream_of(data, repeats=2), 13)
    assert_same(first(stream_of(data, repeats=2, start=5), 8, workers), whole[5:])


def test_ranks_read_disjoint_parts_of_the_batch_one_alone_would_read(data: Path) -> None:
    whole = first(stream_of(data, batch_size=4), 6)
    parts = [first(stream_of(data, batch_size=2, world=2, rank=rank), 6) for rank in (0, 1)]
    for number, batch in enumerate(whole):
        for name in ("states", "finished", "operation_steps"):
            assert torch.equal(torch.cat([part[number][name] for part in parts]), batch[name])
        assert parts[0][number]["keys"] + parts[1][number]["keys"] == batch["keys"]


def test_rows_that_share_a_process_are_different_states_decoded_once(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = stream_of(data, repeats=4)
    decoded = []
    process = ProcessSource.process
    monkeypatch.setattr(ProcessSource, "process", lambda self, i: (decoded.append(i), process(self, i))[1])
    batches = first(stream, 5)
    assert len(decoded) == 5
    for batch in batches:
        assert len(set(batch["keys"])) == 1
        assert len(set(batch["operation_steps"].tolist())) == 4


@pytest.mark.parametrize("rule", [StateRule("states"), ClipRule(4, steps="states")])
def test_states_as_they_were_seen_are_drawn_the_same_in_every_run(data: Path, rule: StateRule | ClipRule) -> None:
    whole = first(stream_of(data, rule, repeats=2), 9)
    assert_same(first(stream_of(data, rule, repeats=2, start=4), 5, workers=2), whole[4:])
    if isinstance(rule, ClipRule):
        strides = torch.cat([batch["strides"] for batch in whole]).tolist()
        keys = [key for batch in whole for key in batch["keys"]]
        seen = {bool(stride) for stride, key in zip(strides, keys, strict=True) if int(key[-7:]) % 5 == 0}
        assert seen == {True}
        assert 0 in strides  # processes of stages have no such states


def test_a_damaged_state_is_named_and_its_sample_replaced(data: Path) -> None:
    stream = stream_of(data, max_faults=0.5)
    place = stream.plan.entries.offsets[5, 0] + ProcessSource(stream.plan.entries).process(5).frames._index.begins[-1]
    content = bytearray((data / "00001.tar").read_bytes())
    content[place + 20] ^= 1
    (data / "00001.tar").write_bytes(content)
    batches = first(stream, 30)
    named = [fault for batch in batches for fault in batch["faults"]]
    assert {(fault["shard"], fault["key"]) for fault in named} == {("set/00001.tar", "0000005")}
    assert "state 39 is not as it was written (checksum)" in named[0]["reason"]
    assert not any("0000005" in key for batch in batches for key in batch["keys"])


def test_a_process_met_again_shows_other_states(data: Path) -> None:
    steps: dict[str, list[int]] = {}
    for batch in first(stream_of(data, batch_size=1), 60):
        steps.setdefault(batch["keys"][0], []).append(int(batch["operation_steps"][0]))
    assert max(map(len, steps.values())) >= 3
    assert all(len(set(drawn)) == len(drawn) for drawn in steps.values())
    assert len({drawn[0] for drawn in steps.values()}) == len(steps)


def test_streams_travel_to_spawned_workers(data: Path) -> None:
    stream = pickle.loads(pickle.dumps(stream_of(data)))
    context = multiprocessing.get_context("spawn")
    loader = DataLoader(stream, batch_size=None, num_workers=1, multiprocessing_context=context)
    assert_same(list(islice(iter(loader), 2)), first(stream_of(data), 2))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_picture_is_named_and_replaced_the_same_in_every_run(data: Path, workers: int) -> None:
    before = first(stream_of(data), 24)
    mixed_sizes.rewrite(data, 1, spoil_picture)
    after = first(stream_of(data, max_faults=0.2), 24, workers)
    assert_same(first(stream_of(data, max_faults=0.2), 24), after)
    named = [fault for batch in after for fault in batch["faults"]]
    assert {(fault["shard"], fault["key"]) for fault in named} == {("set/00001.tar", "0000006")}
    assert "cannot be decoded" in named[0]["reason"]
    changed = 0
    for old, new in zip(before, after, strict=True):
        assert "set/00001.tar/0000006" not in new["keys"]
        for row, key in enumerate(old["keys"]):
            if key != "set/00001.tar/0000006":  # nothing else moves
                assert new["keys"][row] == key
                assert torch.equal(new["states"][row], old["states"][row])
            else:
                changed += 1
        assert len(new["faults"]) == old["keys"].count("set/00001.tar/0000006")
    assert changed >= 2


@pytest.mark.parametrize("workers", [0, 2])
def test_faults_end_the_run_in_one_line_where_that_is_asked(data: Path, workers: int) -> None:
    mixed_sizes.rewrite(data, 1, spoil_picture)
    for more, message in (
        ({"on_fault": "stop"}, r"damaged data: set/00001.tar 0000006: cannot be decoded .*on_fault=skip"),
        ({"max_faults": 0.01}, r"1 of 17 samples cannot be used"),
    ):
        with pytest.raises(UserError, match=message) as told:
            first(stream_of(data, **more), 40, workers)
        assert "\n" not in str(told.value)


def test_faults_of_the_index_count_before_anything_is_read(data: Path) -> None:
    (data / "00001.tar").unlink()
    with pytest.raises(UserError, match=r"5 of 17 samples cannot be used.*set/00001.tar: missing"):
        stream_of(data)
    with pytest.raises(UserError, match=r"damaged data: set/00001.tar: missing"):
        stream_of(data, on_fault="stop", max_faults=1)
    assert len(first(stream_of(data, max_faults=0.5), 3)) == 3


def test_shards_cut_off_while_training_are_survived(data: Path) -> None:
    stream = stream_of(data, max_faults=0.5)
    batches = iter(StreamLoader(stream))
    next(batches)
    content = (data / "00002.tar").read_bytes()
    (data / "00002.tar").write_bytes(content[: len(content) // 2])
    named = [fault for batch in islice(batches, 30) for fault in batch["faults"]]
    assert named
    assert {fault["shard"] for fault in named} == {"set/00002.tar"}
    assert all("ends before byte" in fault["reason"] for fault in named)


def test_when_nothing_can_be_read_the_run_ends(data: Path) -> None:
    stream = stream_of(data, max_faults=1)
    for shard in data.glob("*.tar"):
        shard.write_bytes(b"")
    with pytest.raises(UserError, match="samples in a row cannot be used"):
        first(stream, 1)


def test_workers_are_not_left_behind(data: Path) -> None:
    loader = iter(StreamLoader(stream_of(data), 2))
    next(loader)
    loader.close()
    for _ in range(50):
        if not multiprocessing.active_children():
            break
        time.sleep(0.1)
    assert multiprocessing.active_children() == []
