"""Lines of the painter: thinning, strokes through masks, contours, construction, pens."""

from itertools import pairwise

import cv2
import numpy as np

from paintsundo.data.painter import contours, pen
from paintsundo.data.painter.construction import box_share, construction, ellipse_of, straight_sides
from paintsundo.data.painter.lines import without_repeats
from paintsundo.data.painter.study import to_lab
from paintsundo.data.painter.thinning import chains, thinned


def test_thinning_leaves_connected_middle_lines() -> None:
    mask = np.zeros((60, 60), np.uint8)
    cv2.line(mask, (5, 30), (54, 30), 1, 7)
    cv2.line(mask, (30, 5), (30, 54), 1, 5)
    lines = thinned(mask > 0)
    assert cv2.connectedComponents(lines.astype(np.uint8), connectivity=8)[0] == 2
    assert lines.sum() < 120
    assert np.abs(np.nonzero(lines[:, 12])[0] - 30).max() <= 1
    assert (lines <= (mask > 0)).all()


def test_strokes_go_straight_over_crossings() -> None:
    lines = np.zeros((61, 61), bool)
    lines[30, 5:56] = True
    lines[5:56, 30] = True
    found = chains(lines, 10)
    assert len(found) <= 3
    longest = max(found, key=len)
    assert len(longest) == 51
    assert np.ptp(longest[:, 0]) == 0 or np.ptp(longest[:, 1]) == 0


def test_short_specks_are_no_strokes() -> None:
    lines = np.zeros((20, 20), bool)
    lines[5, 5:8] = True
    assert chains(lines, 5) == []
    assert chains(np.zeros((5, 5), bool), 3) == []


def test_contours_lie_on_edges_and_only_there() -> None:
    picture = np.full((128, 128, 3), 230, np.uint8)
    cv2.circle(picture, (64, 64), 36, (40, 60, 120), -1, cv2.LINE_AA)
    strength = contours.line_strength(to_lab(picture), 0.5)
    mask = contours.line_mask(strength, 1.0, 2.5)
    ys, xs = np.nonzero(mask)
    assert np.abs(np.hypot(xs - 64, ys - 64) - 36).max() < 5
    lines = contours.drawn_lines(mask, 8, 1.0)
    assert sum(map(len, lines)) > 0.8 * 2 * np.pi * 36


def test_colours_of_one_lightness_have_contours_too() -> None:
    lab = np.full((96, 96, 3), (60, 30, 0), np.float32)
    lab[:, 48:, 1] = -30
    assert contours.line_strength(lab, 0.5)[:, 44:52].max() > 2 * 0.5


def test_round_and_square_masses() -> None:
    disc, box = np.zeros((2, 120, 120), np.uint8)
    cv2.ellipse(disc, (60, 50), (40, 22), 20, 0, 360, 1, -1)
    box[30:80, 20:100] = 1
    centre, axes, overlap = ellipse_of(disc)
    np.testing.assert_allclose(centre, (60.5, 50.5), atol=1)
    np.testing.assert_allclose(np.hypot(*axes.T), (40, 22), atol=1)
    assert overlap > 0.95
    assert box_share(disc) < 0.82
    assert box_share(box) > 0.99
    sides = straight_sides(box)
    assert len(sides) == 4
    assert all(min(np.abs(np.diff(side, axis=0)[0])) < 1 for side in sides)


def test_construction_has_an_ellipse_for_a_ball_and_no_frame() -> None:
    areas = np.ones((200, 300), np.int32)
    cv2.circle(areas, (150, 100), 50, 2, -1)
    lines = construction(areas, areas)
    ball = max(lines, key=len)
    np.testing.assert_allclose(np.hypot(*(ball - (150, 100)).T), 50, atol=3)
    assert all(((line > 5) & (line < (295, 195))).all() for line in lines)


def test_repeated_lines_are_drawn_once() -> None:
    line = np.column_stack([np.arange(10, 90.0), np.full(80, 40.0)])
    near, far = (line + np.array([0.0, apart]) for apart in (2, 20))
    kept = without_repeats([line, near, far], 100, 100, 4, 10)
    assert len(kept) == 2


def test_strokes_are_as_wide_and_dark_as_asked() -> None:
    line = np.column_stack([np.arange(10, 90.0), np.full(80, 32.0)])
    cover = pen.cover([pen.Stroke(line, 4.0, 0.5)], 64, 100)
    assert cover.max() <= 0.51
    assert abs(cover[:, 50].sum() - 4 * 0.5) < 0.6
    tapered = pen.cover([pen.Stroke(line, 4.0, 1.0, 30.0)], 64, 100)
    assert tapered[:, 13].sum() < 0.75 * tapered[:, 50].sum()
    white = np.full((64, 100, 3), 255, np.uint8)
    picture = pen.drawn(white, cover, (0, 0, 0))
    assert abs(int(picture[32, 50, 0]) - 128) <= 3
    order = pen.drawing_order([pen.Stroke(line, 4.0)], cover > 0)
    assert np.isnan(order[0, 0])
    assert order[32, 20] < order[32, 80]


def test_hands_shake_and_search() -> None:
    rng = np.random.default_rng(0)
    line = np.column_stack([np.arange(200.0), np.zeros(200)])
    shaken = pen.wobbled(line, 1.0, 10, rng)
    assert 0.4 < shaken[:, 1].std() < 1.8
    assert np.abs(np.diff(shaken[:, 1])).max() < 0.5
    pieces = pen.broken(line, 50, 8, rng)
    assert len(pieces) >= 3
    assert pieces[0][0, 0] == 0
    assert pieces[-1][-1, 0] == 199
    assert all(later[0, 0] < earlier[-1, 0] for earlier, later in pairwise(pieces))
