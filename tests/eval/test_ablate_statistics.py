"""Intervals over subjects and seeds, and verdicts on claims, where the truth is known."""

import numpy as np
import pytest

from paintsundo.errors import UserError


def found(name, values, training="t", table="table"):
    """A row of a training with seeds, or of the given pair: seed → process → value of interpolation_gain."""
    from support.ablate_grid import Cell, Films, Row, Training
    from support.ablate_statistics import Found

    cells = tuple(
        Cell(None if seed is None else Training(training, "multi_frame", (), seed), Films((name,))) for seed in values
    )
    records = {
        seed: {
            "values": {"interpolation_gain": {"film": given}},
            "subjects": {process: process for process in given},
        }
        for seed, given in values.items()
    }
    return Found(Row(table, {"row": name}, cells), records, [])


def noisy(mean, seeds, count=20, spread=0.0, own=0.0, seed=0):
    random = np.random.default_rng(seed)
    subject = random.normal(0, 1, count) * own
    return {
        s: {f"p{i}": float(mean + shift + subject[i]) for i in range(count)}
        for s, shift in zip(seeds, random.normal(0, 1, len(seeds)) * spread, strict=True)
    }


def table(findings=(), rows=("a", "b")):
    from support.ablate_grid import Table

    return Table("table", "Table", "", {"row": list(rows)}, [], ["interpolation_gain"], [], [], list(findings))


def test_without_seeds_the_interval_is_that_of_subjects():
    from support.ablate_statistics import row_interval, seed_spread

    from paintsundo.metrics.bootstrap import bootstrap

    values = noisy(1.0, [None], own=0.5)
    row = found("a", values)
    ours = row_interval(row, "interpolation_gain", seed_spread([row], "interpolation_gain"))
    plain = bootstrap(list(values[None].values()))
    assert ours.mean == pytest.approx(plain.mean)
    assert (ours.low, ours.high) == pytest.approx((plain.low, plain.high), abs=0.03)


def test_seeds_that_differ_widen_the_interval():
    from support.ablate_statistics import row_interval, seed_spread

    close = found("a", noisy(1.0, [0, 1, 2], own=0.1))
    wide = found("a", noisy(1.0, [0, 1, 2], own=0.1, spread=1.0))
    lengths = []
    for row in (close, wide):
        interval = row_interval(row, "interpolation_gain", seed_spread([row], "interpolation_gain"))
        lengths.append(interval.high - interval.low)
    assert lengths[1] > 10 * lengths[0]


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """Three seeds, their deviation pooled over five rows: over many tables, the mean without noise is inside."""
    from support.ablate_statistics import row_interval, seed_spread

    inside = 0
    for trial in range(100):
        rows = [
            found(f"{n}", noisy(0.0, [0, 1, 2], spread=0.5, seed=1000 * trial + n), training=f"t{n}") for n in range(5)
        ]
        spread = seed_spread(rows, "interpolation_gain")
        assert spread.freedom == 10
        interval = row_interval(rows[0], "interpolation_gain", spread)
        inside += interval.low <= 0 <= interval.high
    assert 88 <= inside <= 100


def test_rows_of_one_training_count_their_seeds_once():
    from support.ablate_statistics import seed_spread

    rows = [found(name, noisy(0.0, [0, 1, 2], spread=1.0), training="same") for name in "abcd"]
    assert seed_spread(rows, "interpolation_gain").freedom == 2


def test_what_seeds_have_in_common_falls_out_of_differences_within_a_training():
    from support.ablate_statistics import difference, seed_spread

    values = noisy(0.0, [0, 1, 2], spread=5.0)
    better = {seed: {name: value + 0.5 for name, value in given.items()} for seed, given in values.items()}
    first, second = found("a", better, training="same"), found("b", values, training="same")
    gap = difference(first, second, "interpolation_gain", seed_spread([first, second], "interpolation_gain"))
    assert (gap.low, gap.high) == pytest.approx((0.5, 0.5), abs=1e-6)
    apart = [found("a", better, training="one"), found("b", values, training="two")]
    gap = difference(*apart, "interpolation_gain", seed_spread(apart, "interpolation_gain"))
    assert gap.low < 0 < gap.high


@pytest.mark.parametrize(
    ("gain", "spread", "expect", "margin", "confirmed"),
    [
        (1.0, 0.1, "better", 0, True),
        (1.0, 3.0, "better", 0, False),
        (-1.0, 0.1, "better", 0, False),
        (-1.0, 0.1, "worse", 0, True),
        (-0.1, 0.02, "not_worse", 0.5, True),
        (-1.0, 0.02, "not_worse", 0.5, False),
        (0.0, 0.05, "same", 0.5, True),
        (1.0, 0.05, "same", 0.5, False),
    ],
)
def test_verdicts(gain, spread, expect, margin, confirmed):
    from support.ablate_findings import findings

    given = {
        "measure": "interpolation_gain",
        "first": "a",
        "second": "b",
        "expect": expect,
        "margin": margin,
        "claim": "it helps",
    }
    rows = [
        found("a", noisy(gain, [0, 1, 2], spread=spread, seed=1), training="x"),
        found("b", noisy(0.0, [0, 1, 2], spread=spread, seed=2), training="y"),
    ]
    told = findings(table([given]), rows)[0]
    assert told.confirmed is confirmed
    said = "confirmed at this scale" if confirmed else "not confirmed at this scale"
    assert told.text.startswith(f"it helps: **{said}**. Interpolation over cross-fade, dB is ")
    assert "3 training seeds" in told.text


def test_a_measure_that_is_better_when_lower_turns_the_verdict():
    from support.ablate_findings import verdict

    from paintsundo.metrics.bootstrap import Interval

    lower = Interval(-1.0, -2.0, -0.5, 10)
    assert verdict(lower, -1, "better")
    assert not verdict(lower, 1, "better")
    assert verdict(lower, 1, "worse")
    assert verdict(lower, -1, "not_worse")


def test_rows_without_figures_confirm_nothing():
    from support.ablate_findings import findings

    given = {"measure": "interpolation_gain", "first": "a", "second": "b", "expect": "better", "claim": "it helps"}
    rows = [found("a", noisy(1.0, [0]))]
    assert findings(table([given]), rows)[0].confirmed is None


def test_findings_of_rows_or_measures_that_there_are_not_are_refused():
    from support.ablate_findings import findings

    good = {"measure": "interpolation_gain", "first": "a", "second": "b", "expect": "better"}
    for wrong in ({"measure": "beauty"}, {"first": "a/b"}, {"expect": "best"}, {"wish": 1}):
        with pytest.raises(UserError):
            findings(table([{**good, **wrong}]), [])
