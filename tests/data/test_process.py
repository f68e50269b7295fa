from itertools import pairwise

import numpy as np
import pytest

from paintsundo.data.process import DONE, NEVER, step_of_work, work_of_step
from paintsundo.data.staged import Stage, StagedProcess, shares


def two_stages() -> StagedProcess:
    line = np.full((2, 2, 3), 255, np.uint8)
    line[0] = 0
    first = np.array([[1, DONE // 2], [NEVER, NEVER]], np.uint16)
    done = line.copy()
    done[1] = (9, 8, 7)
    second = np.array([[NEVER, NEVER], [40000, DONE]], np.uint16)
    return StagedProcess((Stage("ink", line, first), Stage("flats", done, second)))


def test_states_follow_the_reveal_maps() -> None:
    process = two_stages()
    assert (process.state(0) == 255).all()
    assert [int((process.state(w) != 255).any(axis=2).sum()) for w in (0.001, 0.5, 0.62, 1)] == [1, 2, 3, 4]
    assert (process.finished[1] == (9, 8, 7)).all()
    assert process.film([0, 1]).shape == (2, 2, 2, 3)
    assert (process.state_at_step(999) == 255).all()
    assert (process.state_at_step(0) == process.finished).all()
    with pytest.raises(ValueError, match="between 0 and 1"):
        process.state(1.5)


def test_operation_steps_run_backwards() -> None:
    assert [step_of_work(w) for w in (0.0, 0.5, 1.0)] == [999, 500, 0]
    assert all(step_of_work(work_of_step(step)) == step for step in range(1000))


def test_faults_are_named() -> None:
    assert two_stages().faults() == []
    ink, flats = two_stages().stages
    early = np.where(flats.reveal == 40000, 100, flats.reveal).astype(np.uint16)
    assert StagedProcess((ink, Stage("flats", flats.picture, early))).faults() == ["stages overlap in time"]
    zero = np.zeros((2, 2), np.uint16)
    assert "present before" in StagedProcess((Stage("ink", ink.picture, zero),)).faults()[0]
    never = np.full((2, 2), NEVER, np.uint16)
    assert "changes nothing" in StagedProcess((Stage("ink", ink.picture, never),)).faults()[0]
    assert "uint16" in StagedProcess((Stage("ink", ink.picture, zero.astype(np.int32)),)).faults()[0]
    assert StagedProcess(()).faults() == ["no stages"]


def test_shares_are_renormalised_over_present_stages() -> None:
    bounds = shares(["sketch", "flats"], {"sketch": 0.2, "ink": 0.5, "flats": 0.6})
    np.testing.assert_allclose(bounds, [0, 0.25, 1])


def test_stages_are_spans_of_the_work_and_may_undo_what_was_done() -> None:
    ink, flats = two_stages().stages
    flats = Stage("flats", flats.picture, np.array([[NEVER, NEVER], [40000, 60000]], np.uint16))
    undone = Stage("undo", np.full_like(ink.picture, 255), np.full_like(flats.reveal, 65000))
    again = Stage("redo", flats.picture, np.full_like(flats.reveal, DONE))
    process = StagedProcess((ink, flats, undone, again))
    assert process.faults() == []
    assert (process.state(65100 / DONE) == 255).all()
    assert (process.finished == flats.picture).all()
    spans = process.spans()
    assert [span.name for span in spans] == ["ink", "flats", "undo", "redo"]
    assert all(before.end <= after.begin for before, after in pairwise(spans))
    for span, (before, after) in zip(spans, pairwise([0, *(span.end for span in spans)]), strict=True):
        assert (process.state(span.begin) == process.state(before)).all()
        assert (process.state(span.end) == process.state(after)).all()
        assert (process.state(span.end) != process.state(span.begin)).any()
