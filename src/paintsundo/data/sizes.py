"""Which few sizes stand for the many that a data set has, and which of them each sample is brought to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]  # (height, width) in pixels
# A further size must bring samples this much nearer on average (see `distances`): about one in a hundred of them
# from one standard photograph format to the next.
LEAST_GAIN = 0.002


def distances(sizes: NDArray[np.int64], buckets: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far (N, 2) sizes are from (M, 2) buckets, (N, M): |log of the ratio of aspects|, which is about the share
    cropped away, and a quarter of |log of the ratio of areas|, what scaling loses.
    """
    own, other = np.log(sizes.astype(np.float64)), np.log(np.asarray(buckets, np.float64))
    aspect = np.abs((own[:, 0] - own[:, 1])[:, None] - (other[:, 0] - other[:, 1])[None])
    area = np.abs(own.sum(1)[:, None] - other.sum(1)[None])
    return aspect + area / 4


def assign(
    heights: NDArray[np.int32], widths: NDArray[np.int32], buckets: Sequence[Sequence[int]]
) -> NDArray[np.int64]:
    """Number of the nearest bucket of each sample, (N,); of equally near ones the first."""
    sizes = np.stack([heights, widths], axis=1).astype(np.int64)
    return distances(sizes, np.array(buckets, np.int64)).argmin(1)


def choose_sizes(
    heights: NDArray[np.int32], widths: NDArray[np.int32], most: int, multiple: int = 8, least: int = 0
) -> list[Size]:
    """At most so many (height, width) that the samples lose little by, the one of the most samples first.

    Candidates are the samples' own sizes brought to multiples of `multiple`; one after the other the one joins that
    brings samples nearest on average, while that is worth a graph of its own. None has a side below `least` where any
    other is possible. Data of one size keep it as it is.
    Raises ValueError for no samples, or no sizes wanted.
    """
    if len(heights) == 0 or most < 1:
        raise ValueError("sizes are chosen for one sample or more, and at least one of them")
    sizes, counts = np.unique(np.stack([heights, widths], axis=1).astype(np.int64), axis=0, return_counts=True)
    if len(sizes) == 1:
        return [(int(sizes[0, 0]), int(sizes[0, 1]))]
    rounded = np.maximum(1, np.round(sizes / multiple)).astype(np.int64) * multiple
    candidates = np.unique(rounded, axis=0)
    if (candidates.min(1) >= least).any():
        candidates = candidates[candidates.min(1) >= least]
    cost = distances(sizes, candidates)
    share = counts / counts.sum()
    chosen: list[int] = []
    nearest = np.full(len(sizes), np.inf)
    while len(chosen) < min(most, len(candidates)):
        totals = share @ np.minimum(nearest[:, None], cost)
        best = int(totals.argmin())
        if chosen and share @ nearest - totals[best] < LEAST_GAIN:
            break
        chosen.append(best)
        nearest = np.minimum(nearest, cost[:, best])
    samples = np.bincount(cost[:, chosen].argmin(1), weights=counts, minlength=len(chosen))
    order = np.argsort(-samples, kind="stable")
    return [(int(height), int(width)) for height, width in candidates[chosen][order]]
