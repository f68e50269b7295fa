import numpy as np

from paintsundo.data import brush, strokes, timeline
from paintsundo.data.timeline import Draft


def test_components_are_connected_and_numbered() -> None:
    labels = np.array([[1, 1, 0, 2], [0, 0, 0, 2], [1, 3, 3, 2]], np.int32)
    parts = brush.components(labels)
    assert sorted(np.unique(parts)) == [0, 1, 2, 3, 4]
    assert parts[0, 0] == parts[0, 1] != parts[2, 0]
    assert (parts[labels == 0] == 0).all()


def test_large_regions_first_then_reading_order() -> None:
    parts = np.zeros((64, 64), np.int32)
    parts[2:6, 2:6] = 1  # small, first in reading order
    parts[2:6, 50:54] = 2
    parts[30:62, 10:60] = 3  # large, at the bottom
    parts[20:24, 2:6] = 4
    ranks = brush.component_ranks(parts)
    assert np.argsort(ranks[1:]).tolist() == [2, 0, 3, 1] or np.argsort(ranks[1:]).tolist() == [2, 0, 1, 3]
    groups = np.array([0, 1, 0, 1, 1], np.int32)
    assert brush.component_ranks(parts, groups)[2] < brush.component_ranks(parts, groups)[3]


def test_the_brush_goes_over_the_canvas_in_connected_bands() -> None:
    order = brush.sweep(64, 64, 8.0)
    assert order.min() == 0
    assert order.max() < 1
    first = order <= np.quantile(order, 0.3)
    rows = np.flatnonzero(first.any(axis=1))
    assert rows.max() < 48  # the bottom comes later
    _, pieces = strokes.ndimage.label(first)
    assert pieces == 1


def test_contours_follow_regions_and_holes() -> None:
    labels = np.zeros((12, 12), np.int32)
    labels[2:10, 2:10] = 1
    labels[4:6, 4:6] = 0
    labels[6:8, 6:8] = 0  # touches the other hole at a corner
    loops = strokes.contours(labels)
    lengths = sorted(len(loop) for _, loop in loops)
    assert lengths[-1] == 32
    assert sum(lengths) == 32 + 16
    outer = max((loop for _, loop in loops), key=len)
    x, y = outer[:, 0], outer[:, 1]
    assert np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)) > 0  # clockwise with y downwards
    assert (np.abs(np.diff(np.vstack([outer, outer[:1]]), axis=0)).sum(axis=1) == 1).all()


def test_strokes_are_put_in_a_canonical_direction() -> None:
    line = np.array([[10.0, 30.0], [5.0, 10.0]])
    assert strokes.canonical(line)[0].tolist() == [5, 10]
    assert strokes.canonical(line[::-1])[0].tolist() == [5, 10]
    turn = np.linspace(0, 2 * np.pi, 60)
    ring = np.column_stack([20 + 8 * np.cos(turn), 20 + 8 * np.sin(turn)])
    ring[-1] = ring[0]
    for start in (0, 17, 40):
        rolled = np.roll(ring[:-1], -start, axis=0)
        for points in (rolled, rolled[::-1]):
            closed = strokes.canonical(np.vstack([points, points[:1]]))
            assert closed[0, 1] < 13
            assert closed[1, 0] > closed[0, 0]


def test_repeated_lines_are_drawn_once() -> None:
    line = np.column_stack([np.arange(50.0), np.full(50, 10.0)])
    again = line + np.array([0, 1.0])
    longer = np.column_stack([np.arange(80.0), np.full(80, 10.5)])
    kept = strokes.without_repeats([line, again, longer], [2.0] * 3, 8)
    assert len(kept) == 2
    assert kept[1][:, 0].min() > 49


def test_lines_appear_in_the_order_they_are_drawn() -> None:
    line = np.array([[2.0, 5.0], [28.0, 5.0]])
    mask = np.zeros((10, 30), bool)
    mask[4:6, 3:28] = True
    order = strokes.line_order([line], mask)
    assert np.isnan(order[~mask]).all()
    assert (np.diff(order[4, 3:28]) >= 0).all()


def test_a_stage_spends_work_on_what_it_changes() -> None:
    white = np.full((32, 32, 3), 255, np.uint8)
    left = white.copy()
    left[:, :8] = 0
    both = left.copy()
    both[:, 16:] = (200, 0, 0)
    order = np.broadcast_to(np.arange(32.0), (32, 32)).copy()
    process = timeline.assemble(
        [Draft("ink", left, order), Draft("details", left, order), Draft("flats", both, order)],
        {"ink": 1, "flats": 3, "details": 5},
    )
    assert [stage.name for stage in process.stages] == ["ink", "flats"]  # the idle stage is left out
    assert process.faults() == []
    assert (process.state(0.25) == left).all()
    half = process.state(0.25 + 0.75 / 2)
    assert (half[:, 16:] != 255).any(axis=2).mean() == 0.5
    assert (process.finished == both).all()


def test_a_stage_of_a_few_pixels_is_done_with_the_one_before() -> None:
    white = np.full((64, 64, 3), 255, np.uint8)
    first = white.copy()
    first[10:30, 10:30] = 0
    second = first.copy()
    second[40, 40] = 9
    nothing = np.full((64, 64), np.nan)
    process = timeline.assemble([Draft("flats", first, nothing), Draft("shading", second, nothing)])
    assert [stage.name for stage in process.stages] == ["flats"]
    assert (process.finished == second).all()
