import numpy as np
import pytest

from paintsundo.data import svg_paths


def test_square_in_all_spellings() -> None:
    for data in ("M0 0H10V10H0Z", "m0,0h10v10h-10z", "M0 0 10 0 10 10 0 10Z", "M0,0L10,0l0,10L0 10z"):
        (square,) = svg_paths.parse_path(data)
        np.testing.assert_allclose(square, [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]])
        assert svg_paths.area([square]) == pytest.approx(100)
        assert svg_paths.length([square]) == pytest.approx(40)


def test_arcs_lie_on_their_circle() -> None:
    # flags glued to the next number, as minifiers write them
    (circle,) = svg_paths.parse_path("M20 10a10 10 0 11-20 0a10 10 0 1120 0z")
    np.testing.assert_allclose(np.hypot(circle[:, 0] - 10, circle[:, 1] - 10), 10, atol=1e-6)
    assert svg_paths.area([circle]) == pytest.approx(np.pi * 100, rel=0.02)
    (small,) = svg_paths.parse_path("M0 0A1 1 0 0 1 10 0")  # radii too small are scaled up
    np.testing.assert_allclose(np.hypot(small[:, 0] - 5, small[:, 1]), 5, atol=1e-6)


def test_curves_end_where_they_should_and_smooth_ones_mirror() -> None:
    (curve,) = svg_paths.parse_path("M0 0C0 10 10 10 10 0S20-10 20 0Q25 5 30 0T40 0")
    assert curve[-1].tolist() == [40, 0]
    middle = curve[4]  # t = 1/2 of the first piece
    np.testing.assert_allclose(middle, [5, 7.5])
    np.testing.assert_allclose(curve[12], [15, -7.5])
    np.testing.assert_allclose(curve[20], [25, 2.5])
    np.testing.assert_allclose(curve[28], [35, -2.5])


def test_several_subpaths_and_broken_data() -> None:
    assert len(svg_paths.parse_path("M0 0L1 1M5 5L6 6m1 1l1 0zl2 2")) == 4
    assert len(svg_paths.parse_path("M0 0L1 1 X 5 5")[0]) == 2
    assert svg_paths.parse_path("10 20 L 5 5") == []
    assert svg_paths.parse_path("") == []


def test_transforms_apply_in_order() -> None:
    matrix = svg_paths.parse_transform("translate(10 20) rotate(90) scale(2,3)")
    np.testing.assert_allclose(svg_paths.apply(matrix, np.array([[1.0, 1.0]])), [[7, 22]], atol=1e-9)
    about = svg_paths.parse_transform("rotate(180 5 5)")
    np.testing.assert_allclose(svg_paths.apply(about, np.array([[4.0, 5.0]])), [[6, 5]], atol=1e-9)
    skew = svg_paths.parse_transform("skewX(45) matrix(1 0 0 1 2 3)")
    np.testing.assert_allclose(svg_paths.apply(skew, np.array([[0.0, 0.0]])), [[5, 3]], atol=1e-9)
    with pytest.raises(ValueError, match="six"):
        svg_paths.parse_transform("matrix(1 2 3)")


def test_basic_shapes() -> None:
    rect = svg_paths.outline("rect", {"x": "1", "y": "2", "width": "3px", "height": "4"})
    assert svg_paths.area(rect) == pytest.approx(12)
    circle = svg_paths.outline("circle", {"r": "2"})
    assert svg_paths.area(circle) == pytest.approx(4 * np.pi, rel=0.01)
    ellipse = svg_paths.outline("ellipse", {"rx": "2", "ry": "3"})
    assert svg_paths.area(ellipse) == pytest.approx(6 * np.pi, rel=0.01)
    assert svg_paths.length(svg_paths.outline("line", {"x2": "3", "y2": "4"})) == pytest.approx(5)
    assert len(svg_paths.outline("polygon", {"points": "0,0 1,0 1,1"})[0]) == 4
    assert len(svg_paths.outline("polyline", {"points": "0,0 1,0 1,1"})[0]) == 3
    assert svg_paths.outline("rect", {"width": "0", "height": "4"}) == []
