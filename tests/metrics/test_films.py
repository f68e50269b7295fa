import numpy as np
import pytest

from paintsundo.metrics.films import at_times, check_film, difference, prepare, step_changes


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((3, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8), np.zeros((3, 3, 8, 8), np.uint8)],
)
def test_what_is_no_film_is_refused(wrong):
    with pytest.raises(ValueError, match="a film is uint8"):
        check_film(wrong)


def test_too_few_frames_are_refused():
    with pytest.raises(ValueError, match="at least 2 frames"):
        check_film(np.zeros((1, 8, 8, 3), np.uint8))


def test_prepare_scales_the_longer_side_and_keeps_flat_colour():
    film = np.full((2, 300, 600, 3), 51, np.uint8)
    frames = prepare(film)
    assert frames.shape == (2, 128, 256, 3)
    assert np.allclose(frames, 0.2, atol=1e-6)
    assert prepare(film[:, :40, :30]).shape == (2, 40, 30, 3)


def test_difference_is_the_largest_channel():
    frames = np.zeros((2, 4, 4, 3), np.float32)
    frames[1, 1, 2] = (0.1, 0.5, 0.2)
    assert difference(frames[1], frames[0])[1, 2] == pytest.approx(0.5)
    assert step_changes(frames).shape == (1, 4, 4)
    assert step_changes(frames).sum() == pytest.approx(0.5)


def test_at_times_keeps_both_ends():
    film = np.arange(11, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    assert at_times(film, 3)[:, 0, 0, 0].tolist() == [0, 5, 10]
