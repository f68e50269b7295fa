import numpy as np
import pytest

from paintsundo.metrics import StageOrder, null_baselines, outline_share, stage_order, stage_order_error
from paintsundo.metrics.stage_order import half_time, region_colours


def test_half_time_is_the_last_crossing():
    assert half_time(np.linspace(0, 1, 11)) == pytest.approx(0.5)
    assert half_time(np.array([0, 0.8, 0.2, 0.8, 1.0])) == pytest.approx((2 + 0.5) / 4)
    assert half_time(np.ones(5)) == 0
    assert half_time(np.zeros(5)) is None


@pytest.mark.parametrize("noise", [False, True])
def test_lines_colour_shading_in_a_drawing(drawn, with_noise, noise):
    order = stage_order(with_noise(drawn) if noise else drawn)
    assert order.edges < order.colour - 0.2
    assert order.colour < order.shading
    assert order.line_before_colour == pytest.approx(order.colour - order.edges)
    assert order.outline_share > 0.8


def test_reversed_order_is_seen(drawn):
    lines = drawn[:, :, :, :1].max(axis=-1, keepdims=True) < 90
    colour_first = np.where(drawn[-1:].min(axis=-1, keepdims=True) < 60, 255, drawn)
    film = np.concatenate([colour_first, np.where(lines, drawn, colour_first[-1])])
    assert stage_order(film).line_before_colour < 0


def test_cross_fade_tile_and_wipe_have_no_line_stage(drawn):
    films = null_baselines(drawn)
    true = stage_order(drawn).line_before_colour
    assert stage_order(films["cross_fade"]).line_before_colour == pytest.approx(0, abs=0.05)
    for name in ("cross_fade", "random_tiles", "wipe", "blur_to_sharp", "stroke_rendering"):
        assert stage_order(films[name]).line_before_colour < true / 2, name
    assert stage_order(films["edges_then_colour"]).line_before_colour > true / 2  # as the docstring warns


def test_pictures_without_a_stage_give_none():
    blank = np.full((64, 64, 3), 255, np.uint8)
    flat = blank.copy()
    flat[16:48, 16:48] = (200, 60, 60)
    order = stage_order(np.stack([blank, blank, flat, flat]))
    assert order.colour is not None
    assert order.shading is None
    assert order.outline_share < 0.4
    assert outline_share(flat) == order.outline_share
    empty = stage_order(np.stack([blank, blank]))
    assert (empty.edges, empty.colour, empty.shading, empty.line_before_colour) == (None, None, None, None)
    assert empty.outline_share == 0


def test_region_colours_are_medians():
    picture = np.zeros((10, 10, 3), np.float32)
    picture[:, 5:] = 0.5
    picture[2, 7] = 1.0
    edges = np.zeros((10, 10), bool)
    edges[:, 5] = True
    flat = region_colours(picture, edges)
    assert flat[2, 7] == pytest.approx([0.5] * 3)
    assert flat[0, 0] == pytest.approx([0.0] * 3)


def test_stage_order_error_is_the_mean_of_shifts(drawn):
    true = stage_order(drawn)
    assert stage_order_error(true, true) == 0
    held = np.concatenate([np.stack([drawn[0]] * len(drawn)), drawn])  # everything half a film later, twice as fast
    shifted = stage_order_error(stage_order(held), true)
    expected = np.mean([abs((1 + t) / 2 - t) for t in (true.edges, true.colour, true.shading)])
    assert shifted == pytest.approx(expected, abs=0.02)
    assert stage_order_error(StageOrder(None, None, None, 0.0), true) == 1
    assert stage_order_error(true, StageOrder(None, None, None, 0.0)) is None
