import numpy as np
import pytest

from paintsundo.metrics import (
    backtrack,
    monotonicity,
    operation_step_calibration,
    progress,
    progress_curve_error,
)
from paintsundo.metrics.baselines import cross_fade


def ends():
    return np.full((8, 8, 3), 255, np.uint8), np.full((8, 8, 3), 55, np.uint8)


def test_progress_of_a_cross_fade_is_linear():
    assert np.allclose(progress(cross_fade(*ends(), 11)), np.linspace(0, 1, 11), atol=1e-6)


def test_progress_of_a_still_film_is_undefined():
    curve = progress(np.zeros((4, 8, 8, 3), np.uint8))
    assert np.isnan(curve).all()
    assert monotonicity(curve) is None
    assert backtrack(curve) is None
    assert progress_curve_error(curve, np.linspace(0, 1, 5)) is None


def test_monotonicity_and_backtrack():
    rising, falling = np.linspace(0, 1, 20), np.linspace(1, 0, 20)
    assert monotonicity(rising) == pytest.approx(1)
    assert monotonicity(falling) == pytest.approx(-1)
    assert monotonicity(np.ones(5)) is None
    assert backtrack(rising) == 0
    assert backtrack(np.array([0, 0.5, 0.3, 0.9, 0.8, 1.0])) == pytest.approx(0.3)


def test_progress_curve_error_compares_at_equal_normalised_times():
    times = np.linspace(0, 1, 50)
    assert progress_curve_error(times, np.linspace(0, 1, 13)) == pytest.approx(0, abs=1e-9)
    # ∫ (t − t²) dt = 1/6
    assert progress_curve_error(times, np.linspace(0, 1, 1001) ** 2, points=1000) == pytest.approx(1 / 6, abs=1e-3)


def test_calibration_finds_the_step_that_is_off(drawn):
    true = drawn[[20, 50, 80]]
    exact = operation_step_calibration(true, true, drawn[-1])
    assert exact.error == 0
    assert exact.psnr == [np.inf] * 3
    assert exact.progress == sorted(exact.progress)
    late = operation_step_calibration(drawn[[20, 70, 80]], true, drawn[-1])
    assert late.progress[1] > late.true_progress[1]
    assert late.error > 0.02
    assert late.psnr[1] < 30
    with pytest.raises(ValueError, match="different shapes"):
        operation_step_calibration(true[:2], true, drawn[-1])
    with pytest.raises(ValueError, match="blank"):
        operation_step_calibration(true, true, np.full_like(drawn[-1], 255))
