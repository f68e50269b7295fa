"""Where a film changes, and where it should not: change masks, their agreement with a true process,
flicker."""

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.metrics.films import (
    CHANGE_THRESHOLD,
    Film,
    PreparedFilm,
    frame_numbers,
    prepare,
    prepared,
    step_changes,
)


def changed_share(film: Film | PreparedFilm, threshold: float = CHANGE_THRESHOLD) -> NDArray[np.float64]:
    """Share of the canvas that changes by more than `threshold` at each step: (N−1,), in [0,1].

    Fooled by slow fades: a step of 1/100 of the way stays below any threshold that clears decoder noise, so a
    long cross-fade shows no change at all here. `locality.effective_changed_share` sees it.
    """
    return (prepared(film).changes > threshold).mean(axis=(1, 2), dtype=np.float64)


def change_masks(film: Film | PreparedFilm, intervals: int, threshold: float = CHANGE_THRESHOLD) -> NDArray[np.bool_]:
    """What changed by more than `threshold` in each of `intervals` equal spans of time: bool
    (intervals,h,w)."""
    whole = prepared(film)

    def masks() -> NDArray[np.bool_]:
        frames = whole.frames[frame_numbers(len(whole.frames), intervals + 1)]
        return step_changes(frames) > threshold

    return whole.once(("change masks", intervals, threshold), masks)


def change_region_iou(
    film: Film | PreparedFilm, true_film: Film | PreparedFilm, intervals: int = 10, threshold: float = CHANGE_THRESHOLD
) -> float | None:
    """Mean intersection over union of generated and true change masks over equal spans of time, in [0,1].

    Spans in which neither film changes are left out; None if that is all of them. Change-mask IoU as in
    Inverse Painting (SIGGRAPH Asia 2024). Fooled by changing everything always when the true masks are large;
    a correct process in another order scores low, so read it as agreement with *this* process. Raises
    ValueError where the films' pictures differ in size.
    """
    film, true_film = prepared(film), prepared(true_film)
    sizes = film.film.shape[1:], true_film.film.shape[1:]
    if sizes[0] != sizes[1]:
        raise ValueError(f"films of different sizes: {sizes[0]} and {sizes[1]}")
    ours, true = change_masks(film, intervals, threshold), change_masks(true_film, intervals, threshold)
    union = (ours | true).sum(axis=(1, 2))
    both = (ours & true).sum(axis=(1, 2))
    seen = union > 0
    return float((both[seen] / union[seen]).mean()) if seen.any() else None


def flicker(film: Film | PreparedFilm, threshold: float = CHANGE_THRESHOLD, margin: int = 3) -> float | None:
    """Mean |x_t − x_{t−1}| outside the change mask of each step, in [0,1]; 0 = what is not painted stands
    still.

    The mask is what changes by more than `threshold`, grown by `margin` px. Not blurred before averaging, so
    decoder noise counts fully. Fooled by freezing (0 for still film) and by flicker above the threshold,
    which counts as painting. None if every step changes everything.
    """
    film = prepared(film)
    changes = film.changes
    sharp = prepare(film.film, blur=0.0)
    kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    total, count = 0.0, 0
    for step, change in enumerate(changes):
        still = 1 - cv2.dilate((change > threshold).astype(np.uint8), kernel)
        total += cv2.norm(sharp[step + 1], sharp[step], cv2.NORM_L1, still) / 3
        count += cv2.countNonZero(still)
    return total / count if count else None
