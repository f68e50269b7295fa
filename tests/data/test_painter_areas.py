"""What the painter sees: areas inside areas, the edges' direction, colours without texture."""

import numpy as np
import pytest

from paintsundo.data.painter import field
from paintsundo.data.painter.brushwork import covered, grid, trace
from paintsundo.data.painter.hierarchy import hierarchy
from paintsundo.data.painter.study import Study, guided, nearest_outside, to_lab, to_rgb
from paintsundo.data.segments import lab


def blocks(size: int = 96) -> np.ndarray:
    picture = np.full((size, size, 3), (200, 60, 60), np.uint8)
    picture[:, size // 2 :] = (60, 60, 200)
    picture[60:80, 10:30] = (215, 80, 60)  # nearly the colour around it
    return picture


def test_areas_are_those_of_the_picture_and_nested() -> None:
    picture = blocks()
    made = hierarchy(picture, to_lab(picture), 96 / 256)
    two, three = made.cut(2), made.cut(3)
    assert set(np.unique(two)) == {1, 2}
    assert len(np.unique(two[:, :47])) == len(np.unique(two[:, 49:])) == 1
    assert two[0, 0] != two[0, -1]
    assert (
        len({(a, b) for a, b in zip(two.ravel(), three.ravel(), strict=True)}) == 3
    )  # each of the three in one of two
    assert (three[64:76, 14:26] == three[70, 20]).all()
    assert three[70, 20] != three[40, 20]
    assert len(np.unique(made.cut(1))) == 1


def test_strong_differences_cost_more_to_merge() -> None:
    picture = blocks()
    made = hierarchy(picture, to_lab(picture), 96 / 256)
    assert made.costs[-1] > 3 * made.costs[-2]
    assert made.areas_above(made.costs[-1]) == 2
    assert made.areas_above(1e9) == 1


def test_strokes_run_along_edges() -> None:
    ys, xs = np.mgrid[:96, :96]
    angle = 0.6
    picture = np.where(xs * np.sin(angle) - ys * np.cos(angle) > 10, 220, 40).astype(np.uint8)
    tangent = field.tangents(to_lab(np.repeat(picture[..., None], 3, axis=2)), 2.0)
    np.testing.assert_allclose(np.hypot(tangent[..., 0], tangent[..., 1]), 1, atol=1e-4)
    edge = np.abs(xs * np.sin(angle) - ys * np.cos(angle) - 10) < 3
    along = np.abs(tangent @ np.array([np.cos(angle), np.sin(angle)]))
    assert along[edge].min() > 0.95


def test_flat_pictures_have_the_slant_of_a_hand() -> None:
    tangent = field.tangents(to_lab(np.full((40, 40, 3), 128, np.uint8)), 2.0)
    np.testing.assert_allclose(np.abs(tangent @ np.array([np.cos(field.SLANT), np.sin(field.SLANT)])), 1, atol=1e-4)


def test_strokes_stay_in_their_area_and_colour() -> None:
    areas = np.ones((64, 64), np.int32)
    areas[:, 32:] = 2
    flow = np.zeros((64, 64, 2), np.float32)
    flow[..., 0] = 1
    starts = grid(64, 64, 6, np.random.default_rng(0))
    lines = trace(starts, flow, 5.0, 40.0, np.zeros((64, 64, 1), np.float32), 1.0, areas)
    own = field.at(areas, starts)
    for points, count, area in zip(lines.points, lines.counts, own, strict=True):
        assert (field.at(areas, points[:count]) == area).all()
        assert (np.diff(points[:count, 0]) > 0).all()  # pulled from the left
    assert lines.counts.max() > 5
    pieces, owner = covered(lines, 64, 64, by_segment=True)
    assert pieces.max() <= len(owner)
    assert (pieces > 0).mean() > 0.95


def test_the_first_stroke_stays_on_top() -> None:
    flow = np.zeros((32, 32, 2), np.float32)
    flow[..., 0] = 1
    starts = np.array([[16, 16], [16, 18]], np.float32)
    lines = trace(starts, flow, 6.0, 30.0, np.zeros((32, 32, 1), np.float32), 1.0, None)
    pieces, _ = covered(lines, 32, 32, by_segment=False)
    assert pieces[16, 16] == 1
    assert pieces[18, 16] == 1  # both cover it
    assert pieces[21, 16] == 2


def test_smoothing_takes_texture_and_leaves_edges() -> None:
    values = np.zeros((64, 64, 3), np.float32)
    values[:, 32:] = 50
    noisy = values + np.random.default_rng(0).normal(0, 2, values.shape).astype(np.float32)
    smooth = guided(noisy, 4, 6.0, 2)
    assert np.abs(smooth - values)[8:-8, 8:24].std() < 0.7
    assert smooth[32, 28].max() < 8
    assert smooth[32, 36].min() > 42


def test_lab_there_and_back() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    np.testing.assert_allclose(to_lab(picture), lab(picture), atol=0.3)
    assert np.abs(to_rgb(to_lab(picture)).astype(int) - picture).max() <= 1


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_nearest_outside(shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape)).reshape(shape)
    mask = np.zeros((20, 30), bool)
    mask[5:9, 10:12] = True
    filled = nearest_outside(values, mask)
    assert (filled[~mask] == values[~mask]).all()
    assert (filled[6, 10] == values[6, 9]).all()
    assert (nearest_outside(values, np.ones((20, 30), bool)) == values).all()


def test_cuts_are_smooth_and_numbered_from_one(landscape: np.ndarray) -> None:
    areas = Study(landscape).areas(12)
    assert areas.min() == 1
    assert 4 <= areas.max() <= 12
    assert set(np.unique(areas)) == set(range(1, int(areas.max()) + 1))
