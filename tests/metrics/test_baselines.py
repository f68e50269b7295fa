import numpy as np
import pytest

from paintsundo.metrics import keyframe_positions, monotonicity, null_baselines, progress
from paintsundo.metrics.baselines import cross_fade, nearest_keyframe_hold

POSITIONS = keyframe_positions(105, 8)


@pytest.fixture(scope="module")
def films(drawn):
    return null_baselines(drawn, POSITIONS)


def test_all_of_them_have_the_films_shape_and_ends(drawn, films):
    assert set(films) == {
        "cross_fade", "random_tiles", "wipe", "blur_to_sharp", "edges_then_colour", "stroke_rendering",
        "faded_keyframes", "nearest_keyframe_hold",
    }  # fmt: skip
    for name, film in films.items():
        assert film.shape == drawn.shape, name
        assert film.dtype == np.uint8
        assert np.array_equal(film[0], drawn[0]), name
        assert np.array_equal(film[-1], drawn[-1]), name
    assert "faded_keyframes" not in null_baselines(drawn)


@pytest.mark.parametrize("length", [2, 3, 8, 31])
def test_any_length(drawn, length):
    film = drawn[np.linspace(0, 104, length).astype(int)]
    for name, null in null_baselines(film).items():
        assert len(null) == length, name


def test_they_rise(films):
    for name, film in films.items():
        assert monotonicity(progress(film)) > 0.85, name


def test_fades_and_holds(drawn, films):
    middle = cross_fade(drawn[0], drawn[-1], 3)[1].astype(int)
    assert np.abs(2 * middle - drawn[0].astype(int) - drawn[-1]).max() <= 1
    for position in POSITIONS:
        assert np.array_equal(films["faded_keyframes"][position], drawn[position])
        assert np.array_equal(films["nearest_keyframe_hold"][position], drawn[position])
    hold = nearest_keyframe_hold([drawn[0], drawn[-1]], [0, 9])
    assert len(np.unique(hold.reshape(10, -1), axis=0)) == 2


def test_reveals_only_ever_show_one_of_the_two_pictures(drawn, films):
    for name in ("random_tiles", "wipe"):
        known = (films[name] == drawn[0]).all(-1) | (films[name] == drawn[-1]).all(-1)
        assert known.all(), name
