from dataclasses import asdict

import numpy as np
import pytest
from drawn_processes import two_shapes

from paintsundo import settings
from paintsundo.data import shards
from paintsundo.data.behaviours import FUNCTIONS, Behaviour, BehaviourOptions, apply
from paintsundo.data.behaviours.colours import Curves
from paintsundo.data.behaviours.parts import pen_lifts
from paintsundo.data.moves import cut, cut_twice, join, moves_of, settle, spans, staged
from paintsundo.data.staged import StagedProcess, bounds
from paintsundo.errors import UserError

WORKS = np.linspace(0, 1, 201)
SEEDS = range(12)
EVERYTHING = BehaviourOptions(**{name: Behaviour(1, 0.6) for name in FUNCTIONS}, most_stages=40)


def only(name: str, strength: float = 0.5) -> BehaviourOptions:
    return BehaviourOptions(**{name: Behaviour(1, strength)})


def done(process: StagedProcess, name: str) -> dict:
    (record,) = [record for record in process.extra["behaviours"] if record["name"] == name]
    return record


def test_taking_apart_and_putting_together_changes_no_state() -> None:
    process = two_shapes()
    again = staged(join(settle(cut_twice(moves_of(process), 0.13, 0.61)[0])), subject="shapes")
    assert [stage.name for stage in again.stages] == ["sketch", "ink", "flats", "shading"]
    assert again.faults() == []
    for work in WORKS.tolist():
        near = [process.state(min(max(work + step, 0), 1)) for step in (-2e-3, 0, 2e-3)]
        assert any((again.state(work) == state).all() for state in near)


def test_a_cut_lies_where_it_is_asked_for() -> None:
    process = two_shapes()
    moves, place = cut(moves_of(process), 0.3)
    np.testing.assert_allclose(spans(moves)[place], 0.3)
    np.testing.assert_array_equal(moves[place - 1].after, process.state(0.3))
    assert cut(moves_of(process), 0.2001)[1] == 1  # at the end of the sketch, which is near
    assert len(cut(moves_of(process), 0.2001)[0]) == 4


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("seed", SEEDS)
def test_behaviours_leave_a_sound_process_with_the_same_end(name: str, seed: int) -> None:
    process = two_shapes(tags=("a",), licence="CC0", extra={"stems": ["x"]})
    changed = apply(process, only(name), seed)
    assert changed.faults() == []
    np.testing.assert_array_equal(changed.finished, process.finished)
    assert (changed.state(0) == 255).all()
    assert (changed.tags, changed.licence, changed.extra["stems"]) == (("a",), "CC0", ["x"])
    record = done(changed, name)
    assert 0 <= record["begin"] < record["end"] <= 1
    assert changed.work_rule.startswith(process.work_rule)
    assert "erasing" in changed.work_rule
    decoded = shards.decode(shards.encode(changed))
    assert decoded.extra["behaviours"] == changed.extra["behaviours"]


@pytest.mark.parametrize("seed", SEEDS)
def test_all_behaviours_together_leave_a_sound_process(seed: int) -> None:
    process = two_shapes()
    changed = apply(process, EVERYTHING, seed)
    assert changed.faults() == []
    np.testing.assert_array_equal(changed.finished, process.finished)
    assert len(changed.extra["behaviours"]) >= 3


def test_equal_seeds_are_equal_and_behaviours_do_not_disturb_each_other() -> None:
    process = two_shapes()
    first, second = (shards.encode(apply(process, EVERYTHING, 7)) for _ in range(2))
    assert first == second
    assert first != shards.encode(apply(process, EVERYTHING, 8))
    alone = done(apply(process, only("transform", 0.6), 7), "transform")
    together = done(apply(process, EVERYTHING, 7), "transform")
    assert {name: alone[name] for name in ("angle", "scale", "of")} == {
        name: together[name] for name in ("angle", "scale", "of")
    }


def test_probability_is_the_share_of_processes() -> None:
    process = two_shapes(24, 36)
    options = BehaviourOptions(flip=Behaviour(0.3, 0.5))
    flipped = [apply(process, options, seed) is not process for seed in range(400)]
    assert 0.22 < np.mean(flipped) < 0.38
    assert apply(process, BehaviourOptions(), 3) is process


def test_the_canvas_is_mirrored_while_it_is_flipped() -> None:
    process = two_shapes()
    for seed in SEEDS:
        changed = apply(process, only("flip"), seed)
        begin, end = done(changed, "flip")["begin"], done(changed, "flip")["end"]
        middle = changed.state((begin + end) / 2)[:, ::-1]
        assert min(np.abs(middle.astype(int) - state).mean() for state in process.film(WORKS)) < 0.6
        assert (changed.state((begin + end) / 2) != changed.state(min(end + 1e-3, 1))).any()


def test_hidden_layers_are_not_seen_and_come_back() -> None:
    process = two_shapes()
    sketch = np.array([110, 150, 220])
    hidden = 0
    for seed in SEEDS:
        changed = apply(process, only("visibility"), seed)
        record = done(changed, "visibility")
        if record["layer"] != "sketch":
            continue
        hidden += 1
        film = changed.film([record["begin"] + 0.003, (record["begin"] + record["end"]) / 2])
        assert not (film == sketch).all(axis=3).any()
        assert (changed.state(record["begin"] - 0.01) == sketch).all(axis=2).any()
    assert hidden > 2


def test_colours_are_off_until_they_are_corrected() -> None:
    process = two_shapes()
    true = {tuple(colour) for colour in process.finished.reshape(-1, 3).tolist()}
    for seed in SEEDS:
        changed = apply(process, only("colour_curves"), seed)
        record = done(changed, "colour_curves")
        before = changed.state(max(record["end"] - 1e-4, 0))
        after = changed.state(record["end"])
        wrong = (before != after).any(axis=2)
        assert wrong.mean() > 0.01
        assert {tuple(colour) for colour in before[wrong].tolist()}.isdisjoint(true)
        assert np.abs(before[wrong].astype(int) - after[wrong]).mean() > 4


def test_curves_keep_black_and_white() -> None:
    curves = Curves((0.5, 1.5, 2.0), 1.4)
    ends = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    np.testing.assert_array_equal(curves(ends), ends)
    np.testing.assert_array_equal(Curves((1, 1, 1), 1)(two_shapes().finished), two_shapes().finished)
    grey = Curves((1, 1, 1), 0)(np.array([[[200, 100, 50]]], np.uint8))
    assert np.ptp(grey) <= 1
    assert abs(int(grey[0, 0, 0]) - (0.299 * 200 + 0.587 * 100 + 0.114 * 50)) <= 1


def test_what_is_drawn_twice_is_work_twice() -> None:
    process = two_shapes()
    for seed in SEEDS:
        changed = apply(process, only("second_thoughts"), seed)
        record = done(changed, "second_thoughts")
        spent = record["end"] - record["begin"]
        assert spent > 0.01
        # What comes after has kept its share of the remaining work.
        shading = [stage for stage in changed.stages if stage.name == "shading"]
        if record["of"] == "flats":
            begin = bounds(shading[0].reveal)[0] / 65534
            assert 1 - begin == pytest.approx(0.2 * (1 - spent), abs=0.01)
            break
    else:
        pytest.fail("no second thoughts about flat colours")


def test_second_thoughts_lead_back_to_what_was_before() -> None:
    process = two_shapes()
    for seed in SEEDS:
        changed = apply(process, only("second_thoughts"), seed)
        record = done(changed, "second_thoughts")
        np.testing.assert_array_equal(changed.state(record["end"]), changed.state(record["begin"]))
        drawn = changed.film(np.linspace(record["begin"], record["end"], 30))
        assert (drawn != drawn[0]).any(axis=3).mean(axis=(1, 2)).max() > 0.002


def test_transformed_regions_are_drawn_elsewhere_first() -> None:
    process = two_shapes()
    for seed in SEEDS:
        changed = apply(process, only("transform"), seed)
        record = done(changed, "transform")
        elsewhere, there = changed.state(record["end"] - 1e-4), changed.state(record["end"])
        assert (elsewhere != there).any(axis=2).mean() > 0.01
        before = min(np.abs(there.astype(int) - state).mean() for state in process.film(WORKS))
        assert before < 0.6  # from then on as if it had been drawn there


def test_no_more_stages_than_allowed() -> None:
    options = BehaviourOptions(**{name: Behaviour(1, 0.5) for name in FUNCTIONS}, most_stages=7)
    counts = [len(apply(two_shapes(), options, seed).stages) for seed in SEEDS]
    assert max(counts) <= 7
    assert max(counts) > 4


def test_a_process_without_occasion_stays_itself() -> None:
    process = two_shapes()
    grey = [np.repeat(stage.picture.mean(axis=2, keepdims=True), 3, 2).astype(np.uint8) for stage in process.stages]
    dull = StagedProcess(
        tuple(
            type(stage)(stage.name, picture, stage.reveal) for stage, picture in zip(process.stages, grey, strict=True)
        )
    )
    assert apply(dull, only("colour_curves"), 1) is dull


def test_pen_lifts_are_found_where_drawing_goes_on_elsewhere() -> None:
    order = np.full((50, 100), np.nan, np.float32)
    order[10, 5:35] = np.linspace(0.01, 0.3, 30)
    order[40, 60:95] = np.linspace(0.35, 0.9, 35)
    lifts = pen_lifts(order)
    assert len(lifts) == 3
    assert lifts[1] == pytest.approx(0.35, abs=0.02)


def test_options_are_checked() -> None:
    with pytest.raises(UserError, match=r"behaviours\.flip\.probability=2"):
        apply(two_shapes(), BehaviourOptions(flip=Behaviour(2)), 0)
    with pytest.raises(UserError, match="most_stages"):
        BehaviourOptions(most_stages=1).check()


def test_published_configuration_fits_the_schema() -> None:
    options = settings.as_schema(settings.compose("behaviours/published", ()).behaviours, BehaviourOptions)
    options.check()
    assert set(asdict(options)) == {*FUNCTIONS, "most_stages"}
    assert all(getattr(options, name).probability > 0 for name in FUNCTIONS)
