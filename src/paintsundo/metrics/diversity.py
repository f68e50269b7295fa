"""How much films of the same picture differ between seeds, and states between prompts."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from paintsundo.metrics.films import Film, as_float, at_times, check_film


class Distances(NamedTuple):
    """L1 distances of all pairs of films, in [0,1]: their mean, and that of the two nearest to each other."""

    mean: float
    least: float


def distances(films: Sequence[Film], points: int = 11) -> Distances | None:
    """Mean L1 distance between films of one picture at equal normalised times, over all pairs; in [0,1].

    Films (N_i,H,W,3) may differ in length, not in size. 0 = the seed changes nothing; `least` is 0 where any two are
    equal. None for fewer than two films. Fooled by noise and by failure: broken films are diverse. Raises ValueError
    where sizes differ.
    """
    if len(films) < 2:
        return None
    if len({check_film(film).shape[1:] for film in films}) > 1:
        raise ValueError("films of different sizes")
    states = [as_float(at_times(film, points)) for film in films]
    found = [float(np.abs(a - b).mean(dtype=np.float64)) for a, b in combinations(states, 2)]
    return Distances(float(np.mean(found)), min(found))


def diversity(films: Sequence[Film], points: int = 11) -> float | None:
    """The mean of `distances`."""
    found = distances(films, points)
    return None if found is None else found.mean


def state_effect(states: Film, others: Film) -> float:
    """Mean L1 distance of two rows of states (K,H,W,3) of one picture, made alike but for one thing; in [0,1].

    What a prompt changes, or a seed, or nothing: 0. Fooled by noise: compare with the effect of a seed. Raises
    ValueError where shapes differ.
    """
    if check_film(states, 1).shape != check_film(others, 1).shape:
        raise ValueError(f"states of different shapes: {states.shape} and {others.shape}")
    return float(np.abs(as_float(states) - as_float(others)).mean(dtype=np.float64))
