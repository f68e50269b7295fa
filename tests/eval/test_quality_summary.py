"""What measurements of many processes come to: groups, and intervals that lie apart."""

import pytest
from support.pair_table import comparison_table, group_table, pair_table
from support.quality_summary import apart, compare, summarise, summarise_groups


def figures(subject, group, iou, null):
    return {
        "subject": subject,
        "group": group,
        "film": {"true_process": {"change_region_iou": iou}, "palette_spread": 0.5},
        "baselines": {"cross_fade": {"true_process": {"change_region_iou": null}}},
    }


@pytest.fixture
def processes():
    found = {f"a{i}": figures(f"a{i}", "drawn", 0.6 + 0.01 * i, 0.2 + 0.01 * i) for i in range(6)}
    return found | {f"b{i}": figures(f"b{i}", "photographed", 0.3, 0.3 + 0.1 * (i - 1)) for i in range(3)}


@pytest.mark.parametrize(
    ("first", "second", "better", "expected"),
    [
        ((0.5, 0.4, 0.6), (0.2, 0.1, 0.3), 1, True),
        ((0.5, 0.4, 0.6), (0.2, 0.1, 0.3), -1, False),
        ((0.5, 0.4, 0.6), (0.2, 0.1, 0.3), 0, None),
        ((0.5, 0.4, 0.6), (0.7, 0.6, 0.8), 1, None),  # touching ends overlap
        ((0.5, 0.4, 0.6), (0.7, 0.61, 0.8), 1, False),
    ],
)
def test_intervals_that_lie_apart(first, second, better, expected):
    one, two = (dict(zip(("mean", "low", "high"), values, strict=True)) for values in (first, second))
    assert apart(one, two, better) is expected


def test_groups_are_summarised_one_by_one(processes):
    groups = summarise_groups(processes)
    assert list(groups) == ["drawn", "photographed"]
    assert groups["drawn"]["change_region_iou"]["film"]["mean"] == pytest.approx(0.625)
    assert groups["photographed"]["change_region_iou"]["film"]["mean"] == pytest.approx(0.3)
    table = group_table(groups).splitlines()
    assert len(table) == 4
    assert table[2].startswith("| drawn")
    assert "0.625" in table[2]
    assert "0.625" not in table[3]


def test_null_baselines_are_marked_where_intervals_lie_apart(processes):
    drawn = {name: f for name, f in processes.items() if f["group"] == "drawn"}
    assert "✓" in pair_table(summarise(drawn)).split("Means over")[0]
    others = {name: f for name, f in processes.items() if f["group"] != "drawn"}
    table = pair_table(summarise(others)).split("Means over")[0]
    assert "✓" not in table
    assert "✗" not in table
    worse = {name: figures(name, "drawn", 0.1, 0.5 + 0.01 * i) for i, name in enumerate("abcdef")}
    assert "✗" in pair_table(summarise(worse)).split("Means over")[0]


def test_comparison_takes_only_processes_of_both_runs(processes):
    other = {name: figures(name, f["group"], 0.1, 0.1) for name, f in processes.items() if name != "a5"}
    found = compare(processes, other)["change_region_iou"]
    assert found["subjects"] == 8
    assert found["ours"]["mean"] == pytest.approx((5 * 0.62 + 3 * 0.3) / 8)
    assert found["theirs"]["mean"] == pytest.approx(0.1)
    assert found["apart"] is True
    assert found["better"] is True
    assert "apart" in comparison_table(compare(processes, other))
    same = compare(processes, processes)["change_region_iou"]
    assert same["apart"] is None
    assert same["better"] is None
