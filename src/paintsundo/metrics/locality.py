"""Is it drawn, or does it fade in? Locality and abruptness, of a whole film and between its keyframes.

A drawing hand changes a small area at a time (locality), and changes it at once (abruptness). A cross-fade
does neither; a film that holds each keyframe and then jumps is abrupt but not local; so both are needed. Both
are also taken **between** keyframes, since fading one keyframe into the next looks the more local, the more
keyframes there are.

Random tiles and wipes pass here: they are for `stage_order.py` and for eyes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from paintsundo.metrics.films import (
    Film,
    Floats,
    PreparedFilm,
    difference,
    frame_numbers,
    prepared,
    step_changes,
)

SUBSTANTIAL = 0.12
"""A pixel is looked at if it strays from its first colour by more than this (largest channel, of 1)."""
NOISE_FLOOR = 0.03
"""Steps of a pixel smaller than this are taken for decoder noise in `abruptness`, …"""
NOISE_MEDIANS = 3.0
"""… and so are steps below this many times the median step of all pixels: most pixels stand still at most
steps, so the median is the film's own noise (of Gaussian noise, one step in a thousand exceeds three
medians)."""
FEW_FRAMES = 2


def _excursion(frames: Floats) -> Floats:
    """How far each pixel ever gets from its first colour: (h,w), in [0,1]."""
    out = np.zeros(frames.shape[1:3], dtype=np.float32)
    for frame in frames[1:]:
        np.maximum(out, difference(frame, frames[0]), out=out)
    return out


def _abruptness(frames: Floats, changes: Floats, few: int) -> tuple[float | None, float]:
    """(abruptness, substantial area in pixels) of prepared frames and their changes."""
    reach = _excursion(frames)
    chosen = reach > SUBSTANTIAL
    if len(frames) - 1 < 2 * few or not chosen.any():
        return None, float(chosen.sum())
    floor = max(NOISE_FLOOR, NOISE_MEDIANS * float(np.median(changes)))
    changes = changes[:, chosen]
    changes = np.where(changes > floor, changes, 0)
    largest = np.partition(changes, len(changes) - few, axis=0)[-few:].sum(axis=0, dtype=np.float64)
    total = np.maximum(reach[chosen], changes.sum(axis=0, dtype=np.float64))
    return float(min(1.0, largest.sum() / total.sum())), float(chosen.sum())


def abruptness(film: Film | PreparedFilm, few: int = FEW_FRAMES) -> float | None:
    """How much of the pixels' total change falls into their `few` largest steps, in [0,1]; 1 = changed at
    once.

    Σ_p (sum of the few largest |Δ_t(p)|) / Σ_p max(R_p, Σ_t |Δ_t(p)|), over pixels p whose excursion R_p =
    max_t |x_t(p) − x_0(p)| is substantial; steps |Δ| below 0.03, or below three times the film's median step,
    count as noise, i.e. as 0 above and below, so that a slow fade scores 0 rather than its noise. A fade of T
    equal steps scores few/T at most. None for films of fewer than 2·few steps and where nothing changes.
    Fooled by jumps of the whole picture (see `effective_changed_share`).
    """
    film = prepared(film)
    return _abruptness(film.frames, film.changes, few)[0]


def _effective_share(frames: Floats, changes: Floats) -> tuple[float | None, float]:
    """(effective changed share, substantial area in pixels) of prepared frames and their changes."""
    reach = _excursion(frames)
    chosen = reach > SUBSTANTIAL
    if len(frames) < 3 or not chosen.any():
        return None, float(chosen.sum())
    parts = np.minimum(1.0, changes[:, chosen] / reach[chosen]).astype(np.float64)
    amount = parts.sum(axis=1)
    spread = amount**2 / np.maximum((parts**2).sum(axis=1) * parts.shape[1], 1e-12)
    return (float((amount * spread).sum() / amount.sum()) if amount.sum() > 0 else None), float(chosen.sum())


def effective_changed_share(film: Film | PreparedFilm, steps: int | None = 20) -> float | None:
    """Locality: share of the film's changed area that takes part in a step's change, in (0,1]; small = local.

    With r_t(p) = min(1, |Δ_t(p)| / R_p), the part of pixel p's change made at step t, a step's participation
    ratio is (Σ_p r)² / (n Σ_p r²) over the n substantial pixels: 1 when all take an equal part, a when a
    share a does all of it. The film's value is the mean over steps, weighted by Σ_p r. It has no threshold,
    so a fade cannot creep below one, and decoder noise only adds a little. The film is sampled at `steps`
    equal steps (None: all its frames) so that films of different lengths compare; ideal is about 1/steps.
    None for fewer than 2 steps and where nothing changes. Fooled by scattering: pixels that pop up at random
    everywhere are as local as strokes here.
    """
    film = prepared(film)
    if steps is None or len(film.frames) <= steps + 1:
        return _effective_share(film.frames, film.changes)[0]
    frames = film.frames[frame_numbers(len(film.frames), steps + 1)]
    return _effective_share(frames, step_changes(frames))[0]


@dataclass(frozen=True)
class BetweenKeyframes:
    """Measures of each clip between neighbouring keyframes (None: too short or nothing changes), and of all
    clips.

    The overall value is the mean over clips weighted by their changed area.
    """

    abruptness: float | None
    effective_changed_share: float | None
    clip_abruptness: list[float | None]
    clip_effective_changed_share: list[float | None]
    clip_changed_area: list[float]


def between_keyframes(
    film: Film | PreparedFilm, keyframe_positions: Sequence[int], few: int = FEW_FRAMES
) -> BetweenKeyframes:
    """Abruptness and locality inside each clip, keyframes included; positions = frame numbers of the
    keyframes.

    Clips are taken at all their frames. An interpolation that fades keyframe into keyframe over T steps
    scores few/T and about 1 however many keyframes there are. Raises ValueError where positions are not
    rising or not in the film.
    """
    film = prepared(film)
    positions = list(keyframe_positions)
    if len(positions) < 2 or positions != sorted(set(positions)) or positions[0] < 0 or positions[-1] >= len(film.film):
        raise ValueError(f"keyframe positions must rise and lie within the film's {len(film.film)} frames: {positions}")
    abrupt: list[float | None] = []
    shares: list[float | None] = []
    areas: list[float] = []
    for start, end in pairwise(positions):
        frames, changes = film.frames[start : end + 1], film.changes[start:end]
        value, area = _abruptness(frames, changes, few)
        abrupt.append(value)
        shares.append(_effective_share(frames, changes)[0])
        areas.append(area / (frames.shape[1] * frames.shape[2]))
    return BetweenKeyframes(_weighted(abrupt, areas), _weighted(shares, areas), abrupt, shares, areas)


def _weighted(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    known = [(v, w) for v, w in zip(values, weights, strict=True) if v is not None and w > 0]
    if not known:
        return None
    array: NDArray[np.float64] = np.array(known)
    return float(np.average(array[:, 0], weights=array[:, 1]))


def keyframe_positions(frames: int, keyframes: int) -> list[int] | None:
    """Frame numbers (blank → finished) of the keyframes in a film of equal clips, each without its last
    frame.

    With K keyframes (both ends included) every clip gives N/(K−1) frames and the finished picture is the last
    frame; the blank canvas itself falls just before the first frame, which stands for it here. None where N
    is no multiple.
    """
    pairs = keyframes - 1
    if pairs < 1 or frames % pairs or frames // pairs < 2:
        return None
    length = frames // pairs
    inner = [frames - 1 - length * k for k in range(pairs)]
    return [0, *inner[::-1]]
