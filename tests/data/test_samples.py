from pathlib import Path

import numpy as np
import pytest

import mixed_sizes
from paintsundo.conditioning.images import crop_to
from paintsundo.data.bank_arrays import read_bank_arrays
from paintsundo.data.frame_stages import as_stages
from paintsundo.data.frames import FrameProcess
from paintsundo.data.plan import generator
from paintsundo.data.process import NEVER, step_of_work, work_of_step
from paintsundo.data.samples import ClipRule, StateRule, fitted, fitted_map
from paintsundo.data.shards import load_arrays, read_processes
from paintsundo.data.staged import StagedProcess
from paintsundo.errors import UserError


def slow_state(process: StagedProcess, work: float) -> np.ndarray:
    """The definition of a state, pixel by pixel as numpy sees it."""
    canvas = np.full((*process.size, 3), 255, np.uint8)
    for stage in process.stages:
        canvas = np.where((stage.reveal <= round(work * 65534))[..., None], stage.picture, canvas)
    return canvas


@pytest.mark.parametrize("work", [0.0, 0.01, 0.4, 0.77, 1.0])
def test_states_are_composited_as_defined(work: float) -> None:
    process = mixed_sizes.drawing(3, 40, 52)
    assert (process.state(work) == slow_state(process, work)).all()


def test_state_samples_are_the_states_of_their_step_at_the_bucket_s_size() -> None:
    process, rule = mixed_sizes.drawing(4, 60, 90), StateRule()
    seen = set()
    for row in range(50):
        sample = rule.sample(process, "set/4", (32, 40), generator(0, row))
        expected = crop_to(process.state(work_of_step(sample.operation_step)), 40, 32)
        assert (sample.state == expected).all()
        assert (sample.finished == crop_to(process.finished, 40, 32)).all()
        assert sample.tags == process.tags
        seen.add(sample.operation_step)
    assert len(seen) > 40
    again = rule.sample(process, "set/4", (32, 40), generator(0, 7))
    assert again.operation_step == rule.sample(process, "set/4", (32, 40), generator(0, 7)).operation_step


def test_steps_are_drawn_as_asked() -> None:
    def histogram(rule: StateRule) -> np.ndarray:
        random = generator(1)
        steps = [rule.draw(random) for _ in range(6000)]
        assert min(steps) >= 0
        assert max(steps) <= 999
        return np.bincount(np.array(steps) // 250, minlength=4) / 6000

    assert np.abs(histogram(StateRule()) - 0.25).max() < 0.03
    assert np.abs(histogram(StateRule("blank_heavy")) - (0.15625, 0.21875, 0.28125, 0.34375)).max() < 0.03
    assert np.abs(histogram(StateRule([0, 1, 0, 3])) - (0, 0.25, 0, 0.75)).max() < 0.03
    for wrong in ("often", [], [0.0, 0.0], [-1.0, 2.0], [float("nan")]):
        with pytest.raises(UserError, match="steps"):
            StateRule(wrong)


def test_clips_run_from_the_finished_end_over_their_interval() -> None:
    process, rule = mixed_sizes.drawing(5, 48, 32), ClipRule(5, (0.2, 0.5))
    works = np.stack([rule.works(generator(0, row)) for row in range(600)])
    assert (np.diff(works) < 0).all()
    assert works.max() == 1
    assert works.min() == 0
    lengths = works[:, 0] - works[:, -1]
    assert lengths.max() <= 0.5
    assert (works[:, 0] == 1).mean() > 0.08
    assert (works[:, -1] == 0).mean() > 0.08
    assert np.abs(np.diff(works, n=2)).max() < 1e-9
    sample = rule.sample(process, "set/5", (48, 32), generator(0, 3))
    assert sample.states.shape == (5, 48, 32, 3)
    for state, work in zip(sample.states, sample.works, strict=True):
        assert (state == process.state(work)).all()
    for frames, span in ((1, (0.1, 0.2)), (4, (0.0, 0.2)), (4, (0.5, 0.2)), (4, (0.5, 1.2))):
        with pytest.raises(UserError, match="clips"):
            ClipRule(frames, span)


def test_states_as_they_were_seen_are_drawn_equally_often_or_by_work() -> None:
    process = mixed_sizes.recording(3, 40, 40, 30)
    works = process.works

    def drawn(rule: StateRule) -> np.ndarray:
        counts = np.zeros(len(process))
        for row in range(3000):
            sample = rule.sample(process, "set/3", (40, 40), generator(5, row))
            number = int(np.flatnonzero([(sample.state == state).all() for state in states])[0])
            assert sample.operation_step in (step_of_work(works[number]), *range(*steps[number]))
            counts[number] += 1
        return counts / 3000

    states = [process.frame(number) for number in range(len(process))]
    held = np.append(works[1:], 1.0)
    steps = [(step_of_work(end) - 1, step_of_work(begin) + 1) for begin, end in zip(works, held, strict=True)]
    by_states, by_work = drawn(StateRule("states")), drawn(StateRule())
    assert np.abs(by_states - 1 / len(process)).max() < 0.015
    assert np.abs(by_work - (held - works)).max() < 0.025
    of_stages = mixed_sizes.drawing(4, 40, 40)
    for row in range(20):
        one, other = (
            rule.sample(of_stages, "", (40, 40), generator(0, row)) for rule in (StateRule("states"), StateRule())
        )
        assert one.operation_step == other.operation_step
        assert (one.state == other.state).all()


def test_clips_of_states_as_they_were_seen_skip_none_but_their_stride() -> None:
    process = mixed_sizes.recording(4, 48, 32, 40)
    rule = ClipRule(6, steps="states", strides=(1, 3, 9))
    seen: dict[int, list[int]] = {}
    for row in range(300):
        sample = rule.sample(process, "set/4", (48, 32), generator(2, row))
        numbers = [int(np.flatnonzero(process.works == work)[0]) for work in sample.works]
        assert np.diff(numbers).tolist() == [-sample.stride] * 5
        seen.setdefault(sample.stride, []).append(numbers[-1])
        if row < 20:
            for state, number in zip(sample.states, numbers, strict=True):
                assert (state == process.frame(number)).all()
            assert (sample.ends == sample.states[[0, 5]]).all()
            assert (sample.between == sample.states[1:5]).all()
    assert sorted(seen) == [1, 3]  # 9 does not fit
    for stride, firsts in seen.items():
        last = len(process) - 1 - 5 * stride
        assert np.mean(np.array(firsts) == 0) > 0.08
        assert np.mean(np.array(firsts) == last) > 0.08
        assert len(set(firsts)) > 10
    again = rule.sample(process, "set/4", (48, 32), generator(2, 7))
    assert (again.works == rule.sample(process, "set/4", (48, 32), generator(2, 7)).works).all()
    uniform = ClipRule(6)
    for other in (mixed_sizes.recording(4, 48, 32, 5), mixed_sizes.drawing(4, 48, 32)):  # too few, and none
        sample = rule.sample(other, "", (48, 32), generator(1))
        assert sample.stride == 0
        assert (sample.works == uniform.works(generator(1))).all()
        assert (sample.states == other.film(sample.works)).all()
    with pytest.raises(UserError, match="strides"):
        ClipRule(6, strides=())
    with pytest.raises(UserError, match="steps=often"):
        ClipRule(6, steps="often")


def test_reveal_maps_follow_their_pictures_and_keep_their_values() -> None:
    process = mixed_sizes.drawing(6, 64, 96)
    reveal = process.stages[1].reveal
    smaller = fitted_map(reveal, (32, 40))
    assert smaller.dtype == np.uint16
    assert set(np.unique(smaller)) <= set(np.unique(reveal))
    as_picture = np.repeat((reveal >> 8).astype(np.uint8)[..., None], 3, axis=2)
    near = fitted(as_picture, (32, 40))[..., 0].astype(int)
    assert np.median(np.abs(near - (smaller >> 8))) <= 1
    assert fitted_map(reveal, (64, 96)) is reveal


def test_held_out_processes_of_states_come_as_stages(tmp_path: Path) -> None:
    folder = mixed_sizes.write(tmp_path / "set", 4, split="validation", sizes=((32, 48),), recordings=2)
    pictures, reveals, records = read_bank_arrays([folder], "validation", None, (32, 48))
    assert pictures.shape == (4, 12, 32, 48, 3)
    for row, process in enumerate(read_processes(folder, 1)):
        assert isinstance(process, FrameProcess) == (row % 2 == 0)
        stages = as_stages(process).stages if isinstance(process, FrameProcess) else process.stages
        assert records[row]["stages"] == [stage.name for stage in stages]
        for stage, part in enumerate(stages):
            assert (pictures[row, stage] == part.picture).all()
            assert (reveals[row, stage] == part.reveal).all()
    few = load_arrays(folder, 2, split="validation")
    assert (few[0] == pictures).all()
    assert (few[1] == reveals).all()
    assert [record["stages"] for record in few[2]] == [record["stages"] for record in records]


def test_sizes_that_differ_cannot_be_held_in_memory_but_need_not_be_square(tmp_path: Path) -> None:
    wide = mixed_sizes.write(tmp_path / "wide", 4, sizes=((32, 56),), recordings=2)
    assert load_arrays(wide)[0].shape == (4, 12, 32, 56, 3)
    mixed = mixed_sizes.write(tmp_path / "mixed", 4)
    with pytest.raises(UserError, match=r"4 different sizes \(32x48, 32x52, 40x40, …\).*data.loader=stream") as told:
        load_arrays(mixed)
    assert "\n" not in str(told.value)


def test_held_out_processes_of_any_size_come_as_arrays_of_one(tmp_path: Path) -> None:
    folder = mixed_sizes.write(tmp_path / "set", 7, split="validation")
    pictures, reveals, records = read_bank_arrays([folder], "validation", None, (32, 48))
    assert pictures.shape == (7, 3, 32, 48, 3)
    assert reveals.shape == (7, 3, 32, 48)
    for row, process in enumerate(read_processes(folder, 1)):
        assert records[row]["subject"] == process.subject
        assert records[row]["stages"] == [stage.name for stage in process.stages]
        for stage, part in enumerate(process.stages):
            assert (pictures[row, stage] == fitted(part.picture, (32, 48))).all()
        if len(process.stages) == 2:
            assert (reveals[row, 2] == NEVER).all()
            assert (pictures[row, 2] == 255).all()
    assert (reveals.min(axis=(1, 2, 3)) > 0).all()
    few = read_bank_arrays([folder], "validation", 3, (32, 48))
    assert len(few[0]) == 3
    assert [record["key"] for record in few[2]] == [
        record["key"] for record in read_bank_arrays([folder], "validation", 3, (16, 16))[2]
    ]
    with pytest.raises(UserError, match="no usable sample of the split train"):
        read_bank_arrays([folder], "train", 3, (32, 48))
