"""Is the canvas painted, one paint after the other, or is the finished picture uncovered?"""

from itertools import pairwise

import numpy as np

from paintsundo.metrics.films import CHANGE_THRESHOLD, Film, PreparedFilm, difference, frame_numbers, prepared

LEAST_VARIANCE = 0.01
"""Variance of the colours laid down, summed over channels, below which a picture has no palette to speak of."""


def palette_spread(film: Film | PreparedFilm, steps: int = 10) -> float | None:
    """Share of the variance of all colours laid down that lies within single steps, in [0,1]; small = few paints.

    Σ_t Σ_{p∈M_t} |x_t(p) − m_t|² / Σ_t Σ_{p∈M_t} |x_t(p) − m|² over `steps` equal steps; M_t: pixels that change by
    more than 0.08, m_t and m: mean new colour of the step and of all steps (1 − η² of a one-way analysis of variance).
    Who draws has one brush in hand: lines, then this area, then that shade. A picture uncovered by tiles or a wipe
    shows its whole palette all the time, near 1. Fooled by uncovering colour after colour (edges then colour: near 0)
    and by pictures sorted by colour along the wipe. None without change, or where all paints are nearly one.
    """
    frames = prepared(film).frames
    frames = frames[frame_numbers(len(frames), min(steps, len(frames) - 1) + 1)]
    laid = [b[difference(a, b) > CHANGE_THRESHOLD].astype(np.float64) for a, b in pairwise(frames)]
    laid = [colours for colours in laid if len(colours)]
    if not laid:
        return None
    paints = np.concatenate(laid)
    total = ((paints - paints.mean(axis=0)) ** 2).sum()
    if total / len(paints) < LEAST_VARIANCE:
        return None
    return float(sum(((colours - colours.mean(axis=0)) ** 2).sum() for colours in laid) / total)
