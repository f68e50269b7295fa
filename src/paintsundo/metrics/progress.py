"""How the finished picture is approached over time.

A cross-fade scores perfectly on everything in this file; `locality.py` is what it fails.
"""

import warnings
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import ConstantInputWarning, spearmanr

from paintsundo.metrics.fidelity import psnr
from paintsundo.metrics.films import Film, PreparedFilm, as_float, prepared

Curve = NDArray[np.float64]


def progress(film: Film | PreparedFilm) -> Curve:
    """p_t = 1 − L1(x_t, x_N) / L1(x_0, x_N) for each frame: (N,), 0 at the start, 1 at the end.

    Below 0 where a frame is farther from the end than the blank canvas; all NaN where start equals end.
    Fooled by contrast: painting a large dark area moves it more than all the drawing of a line.
    """
    whole = prepared(film)
    return whole.once("progress", lambda: _progress(whole.film))


def _progress(film: Film) -> Curve:
    # Levels are whole numbers: their sum is exact, and the same in any order.
    distance = np.array([cv2.norm(frame, film[-1], cv2.NORM_L1) for frame in film])
    if distance[0] == 0:
        return np.full(len(film), np.nan)
    return np.asarray(1.0 - distance / distance[0])


def monotonicity(curve: Curve) -> float | None:
    """Spearman's rank correlation of progress with time, in [−1,1]; 1 = rising throughout. None: never
    changes.

    Fooled by any smooth transition; small steps back in a long film hardly lower it (see `backtrack`).
    """
    if len(curve) < 2 or not np.isfinite(curve).all():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        value = float(spearmanr(np.arange(len(curve)), curve).statistic)
    return value if np.isfinite(value) else None


def backtrack(curve: Curve) -> float | None:
    """Σ max(0, p_{t−1} − p_t): all progress that is taken back, ≥ 0, 0 = none. None where progress is
    undefined.

    Grows with the number of frames through noise alone, so compare films of equal length.
    """
    if not np.isfinite(curve).all():
        return None
    return float(np.maximum(0.0, -np.diff(curve)).sum())


def progress_curve_error(curve: Curve, true_curve: Curve, points: int = 100) -> float | None:
    """Mean |p(τ) − p_true(τ)| at `points` equally spaced normalised times τ ∈ [0,1], linear between frames; ≥
    0.

    Only says how fast, not what or where. None where either progress is undefined.
    """
    if not (np.isfinite(curve).all() and np.isfinite(true_curve).all()):
        return None
    times = np.linspace(0.0, 1.0, points)
    sampled = [np.interp(times, np.linspace(0.0, 1.0, len(c)), c) for c in (curve, true_curve)]
    return float(np.abs(sampled[0] - sampled[1]).mean())


class Calibration(NamedTuple):
    """Operation-step calibration, one value a step: PSNR to the true state, and progress of both; mean
    |difference|."""

    psnr: list[float]
    progress: list[float]
    true_progress: list[float]
    error: float


def operation_step_calibration(predicted: Film, true_states: Film, finished: NDArray[np.uint8]) -> Calibration:
    """Does operation step s give the state that truly stood at s? Predicted and true states, both (K,H,W,3).

    Progress is measured from a white canvas to the true finished picture (H,W,3), 1 = finished. Progress
    alone is fooled by the right amount of work in the wrong places; PSNR alone by blur.
    """
    if predicted.shape != true_states.shape:
        raise ValueError(f"states of different shapes: {predicted.shape} and {true_states.shape}")
    end = as_float(finished)
    whole = float(np.abs(1.0 - end).mean(dtype=np.float64))
    if whole == 0:
        raise ValueError("the finished picture is blank")

    def done(state: NDArray[np.uint8]) -> float:
        return 1.0 - float(np.abs(as_float(state) - end).mean(dtype=np.float64)) / whole

    ours, true = [done(s) for s in predicted], [done(s) for s in true_states]
    values = [psnr(p, t) for p, t in zip(predicted, true_states, strict=True)]
    return Calibration(values, ours, true, float(np.abs(np.subtract(ours, true)).mean()))
