"""When what was drawn beneath a panel was drawn: with the nearest strokes of the same colour around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from paintsundo.data.process import Picture
from paintsundo.data.recording.plateaus import Changes, to_lab

LEAST = 3  # samples a pixel must have been covered for
FEW = 12  # pixels that appear together, below which they are left
COLOUR = 3.0  # canvas pixels (of 256) that a Lab distance of 1 counts for
REACH = 70.0  # canvas pixels (of 256) at which nothing is near any more


def hidden_since(changes: Changes, pixels: NDArray[np.intp], valid: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The sample since which each change may have been there unseen (N,); its own where the pixel was in view.

    Args:
        changes: of some pixels.
        pixels: those pixels (P,), ascending.
        valid: where they are in view (T, P).
    """
    samples = np.arange(len(valid), dtype=np.int32)[:, None]
    last = np.maximum.accumulate(np.where(valid, samples, -1), axis=0)
    own = np.searchsorted(pixels, changes.pixels)
    before = np.maximum(changes.samples - 1, 0)
    since = last[before, own] + 1
    return np.where((changes.samples - since >= LEAST) & (since > 0), since, changes.samples).astype(np.int32)


def doubt(changes: Changes, since: NDArray[np.int32], first: Picture, samples: int, short: int) -> NDArray[np.float64]:
    """The mean square, in levels, of what may be wrong at each sample (T,): what appears and may have been there.

    Args:
        changes: of the whole canvas.
        since: of `hidden_since` (N,).
        first: uint8 (H, W, 3), the canvas at the beginning.
        samples: how many there are.
        short: samples for which hiding does not matter: as long as a cursor takes to pass.
    """
    since = np.where(changes.samples - since <= short, changes.samples, since)
    order = np.lexsort((changes.samples, changes.pixels))
    colours, pixels = changes.colours[order].astype(np.float32), changes.pixels[order]
    before = first.reshape(-1, 3)[pixels].astype(np.float32)
    same = np.flatnonzero(pixels[1:] == pixels[:-1])
    before[same + 1] = colours[same]
    squares = ((colours - before) ** 2).mean(axis=1)
    steps = np.bincount(since[order], squares, samples + 1) - np.bincount(changes.samples[order], squares, samples + 1)
    return np.asarray(np.maximum(0, np.cumsum(steps)[:samples]) / (first.size / 3))


def dated(changes: Changes, since: NDArray[np.int32], width: int) -> Changes:
    """Changes with those unseen put where the nearest like change in view happened meanwhile, if there is one.

    Args:
        changes: of the whole canvas.
        since: of `hidden_since` (N,).
        width: of the canvas, pixels.
    """
    hidden = np.flatnonzero(since < changes.samples)
    if not len(hidden):
        return changes
    scale = width / 256
    lab = to_lab(changes.colours) * (COLOUR * scale)
    places = np.column_stack([changes.pixels % width, changes.pixels // width, lab]).astype(np.float32)
    seen = np.flatnonzero(since == changes.samples)
    seen = seen[np.argsort(changes.samples[seen], kind="stable")]
    times = changes.samples[seen]
    samples = changes.samples.copy()
    groups = np.stack([since[hidden] // 4, changes.samples[hidden] // 2], axis=1)
    _, group = np.unique(groups, axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    for part in np.split(hidden[order], np.flatnonzero(np.diff(group.ravel()[order])) + 1):
        if len(part) < FEW:
            continue
        first, last = int(since[part].min()), int(changes.samples[part].max())
        around = seen[np.searchsorted(times, first) : np.searchsorted(times, last)]
        if len(around) < FEW:
            continue
        apart, nearest = cKDTree(places[around]).query(places[part], distance_upper_bound=REACH * scale)
        found = np.isfinite(apart)
        when = changes.samples[around[np.minimum(nearest, len(around) - 1)]]
        samples[part] = np.where(found, np.clip(when, since[part], samples[part]), samples[part])
    return Changes(samples, changes.pixels, changes.colours)
