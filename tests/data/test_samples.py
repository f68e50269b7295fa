from pathlib import Path

import numpy as np
import pytest

import mixed_sizes
from paintsundo.conditioning.images import crop_to
from paintsundo.data.bank_arrays import read_bank_arrays
from paintsundo.data.plan import generator
from paintsundo.data.process import NEVER, work_of_step
from paintsundo.data.samples import ClipRule, StateRule, fitted, fitted_map
from paintsundo.data.shards import read_processes
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
