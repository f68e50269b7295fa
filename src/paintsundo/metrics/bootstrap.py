"""How sure a mean is: bootstrap intervals over subjects, of one run or of the difference of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 5000


class Interval(NamedTuple):
    """A mean with its interval; `subjects`: how many it was taken over."""

    mean: float
    low: float
    high: float
    subjects: int

    def apart(self, other: Interval) -> bool:
        """Whether two intervals do not overlap."""
        return self.low > other.high or self.high < other.low


def bootstrap(
    values: Sequence[float], groups: Sequence[str] | None = None, level: float = 0.95, seed: int = 0
) -> Interval | None:
    """Percentile bootstrap (Efron 1979) of a mean, 5,000 resamples of whole groups; None without values.

    Args:
        values: any finite numbers, N of them.
        groups: what each belongs to, N; values of one group (films of one subject) are averaged first, for they are
            not independent. By default each is its own.

    Fooled by few groups: below ten the interval is too narrow. Raises ValueError for numbers that are not finite.
    """
    means = _group_means(values, groups)
    if len(means) == 0:
        return None
    rows = np.random.default_rng(seed).integers(0, len(means), (RESAMPLES, len(means)))
    low, high = np.quantile(means[rows].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(means.mean()), float(low), float(high), len(means))


def paired_difference(
    ours: Mapping[str, float], theirs: Mapping[str, float], groups: Mapping[str, str] | None = None, seed: int = 0
) -> Interval | None:
    """Mean of ours − theirs over what both measured, with its 95 % interval; None where they share nothing.

    Keys name the films, `groups` their subjects. An interval without 0 in it is a difference.
    """
    shared = [key for key in ours if key in theirs]
    differences = [ours[key] - theirs[key] for key in shared]
    return bootstrap(differences, None if groups is None else [groups[key] for key in shared], seed=seed)


def _group_means(values: Sequence[float], groups: Sequence[str] | None) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError("an interval needs finite numbers")
    if groups is None:
        return numbers
    if len(groups) != len(numbers):
        raise ValueError(f"{len(numbers)} values and {len(groups)} groups")
    found: dict[str, list[float]] = {}
    for value, group in zip(numbers.tolist(), groups, strict=True):
        found.setdefault(group, []).append(value)
    return np.array([np.mean(found[group]) for group in sorted(found)])
