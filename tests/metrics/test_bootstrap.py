import numpy as np
import pytest

from paintsundo.metrics import Interval, bootstrap, paired_difference


def test_interval_is_that_of_the_normal_law():
    values = np.random.default_rng(3).normal(5.0, 2.0, 400)
    found = bootstrap(values.tolist())
    half = 1.96 * values.std(ddof=1) / 20
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.03)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03)
    assert found.subjects == 400
    assert bootstrap(values.tolist()) == found  # fixed seed


def test_subjects_are_the_unit():
    values, groups = [0.0, 1.0] * 50, ["a"] * 50 + ["b"] * 50
    alike = bootstrap(values, groups)  # fifty films of one subject are no fifty subjects
    assert alike == Interval(0.5, 0.5, 0.5, 2)
    values = [0.0] * 50 + [1.0] * 50
    assert (bootstrap(values, groups).low, bootstrap(values, groups).high) == (0.0, 1.0)
    assert bootstrap(values).high < 0.65


def test_paired_differences_see_what_intervals_of_means_do_not():
    base = dict(enumerate(np.random.default_rng(0).normal(0, 10, 50)))
    ours = {str(k): v + 0.5 for k, v in base.items()}
    theirs = {str(k): v for k, v in base.items()}
    found = paired_difference(ours, {**theirs, "only there": 1e9})
    assert found.mean == found.low == found.high == pytest.approx(0.5)
    assert found.subjects == 50
    assert not bootstrap(list(ours.values())).apart(bootstrap(list(theirs.values())))
    assert paired_difference({"a": 1.0}, {"b": 1.0}) is None


def test_impossible_values():
    assert bootstrap([]) is None
    with pytest.raises(ValueError, match="finite"):
        bootstrap([1.0, float("nan")])
    with pytest.raises(ValueError, match="2 values and 1 groups"):
        bootstrap([1.0, 2.0], ["a"])
