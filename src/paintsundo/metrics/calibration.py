"""Which operation step a generated state shows, read off the true process of the same picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from paintsundo.metrics.fidelity import psnr
from paintsundo.metrics.films import CHANGE_THRESHOLD, Film, check_film, difference, prepare

LAST_STEP = 999


class StepReading(NamedTuple):
    """Of K states: asked for and read steps, |read − asked| in steps of 1000, their mean, read − asked on average, PSNR
    in dB to the true states, and slope: steps that the state moves for each step asked for, by least squares (1 = as it
    should, 0 = the operation step changes nothing; None for a single state)."""

    asked: list[int]
    read: list[float]
    errors: list[float]
    error: float
    bias: float
    psnr: list[float]
    slope: float | None


def shown_progress(states: Film, finished: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How much of the way from white to the finished picture (H,W,3) each state (K,H,W,3) shows, 1 = all: (K,).

    1 − Σ_p max(0, d_p(x) − τ) / Σ_p max(0, d_p(white) − τ); d: largest channel difference to the finished picture of a
    slightly blurred copy, τ = 0.08, so that an autoencoder's loss of detail is no lack of work. Below 0 where a state
    is farther from the end than white. Fooled by the right amount of work in the wrong places (read PSNR beside it).
    Raises ValueError where the finished picture is white.
    """
    end = prepare(finished[None])[0]
    whole = np.maximum(difference(np.ones_like(end), end) - CHANGE_THRESHOLD, 0).sum(dtype=np.float64)
    if whole == 0:
        raise ValueError("the finished picture is blank")
    left = [np.maximum(difference(s, end) - CHANGE_THRESHOLD, 0).sum(dtype=np.float64) for s in prepare(states)]
    return 1.0 - np.asarray(left) / whole


def read_steps(asked: Sequence[int], states: Film, true_states: Film, true_film: Film) -> StepReading:
    """Error of generated states (K,H,W,3), asked for at K operation steps, in steps.

    Args:
        true_states: what truly stood at these steps, (K,H,W,3).
        true_film: the true process at M ≥ 11 equally spaced steps, blank → finished, (M,H,W,3).

    The step that a state shows is where the true process' progress passes the state's own; of several such places the
    one nearest to the step asked for: a true state has no error. Fooled by a process whose progress stands still
    or swings, where any step fits; the nearest end is read for progress that never occurs.
    """
    true_film = check_film(true_film, 11)
    if states.shape[1:] != true_film.shape[1:] or states.shape != true_states.shape or len(states) != len(asked):
        shapes = f"states {states.shape}, true states {true_states.shape}, film {true_film.shape}"
        raise ValueError(f"{len(asked)} steps, {shapes}")
    curve = shown_progress(true_film, true_film[-1])
    steps = np.linspace(LAST_STEP, 0, len(true_film))
    shown = shown_progress(states, true_film[-1])
    read = [_nearest(curve, steps, value, step) for value, step in zip(shown, asked, strict=True)]
    errors = [abs(found - step) for found, step in zip(read, asked, strict=True)]
    likeness = [min(99.0, psnr(s, t)) for s, t in zip(states, true_states, strict=True)]
    bias = float(np.mean(np.subtract(read, asked)))
    slope = float(np.polyfit(asked, read, 1)[0]) if len(set(asked)) > 1 else None
    return StepReading(list(asked), read, errors, float(np.mean(errors)), bias, likeness, slope)


def _nearest(curve: NDArray[np.float64], steps: NDArray[np.float64], value: float, asked: float) -> float:
    """Where the curve takes a value, nearest to `asked`; linear between points."""
    value = float(np.clip(value, curve.min(), curve.max()))
    best = float("inf")
    for a, b, first, second in zip(curve[:-1], curve[1:], steps[:-1], steps[1:], strict=True):
        if not min(a, b) <= value <= max(a, b):
            continue
        # A level piece fits with all its steps; a slope with one.
        found = float(np.clip(asked, second, first)) if a == b else first + (second - first) * (value - a) / (b - a)
        if abs(found - asked) < abs(best - asked):
            best = float(found)
    return best
