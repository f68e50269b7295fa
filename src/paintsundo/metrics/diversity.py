"""How much films of the same picture differ between seeds."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from paintsundo.metrics.films import Film, as_float, at_times, check_film


def diversity(films: Sequence[Film], points: int = 11) -> float | None:
    """Mean L1 distance between films of one picture at equal normalised times, over all pairs; in [0,1].

    Films (N_i,H,W,3) may differ in length, not in size. 0 = the seed changes nothing. None for fewer than two
    films. Fooled by noise and by failure: broken films are diverse. Raises ValueError where sizes differ.
    """
    if len(films) < 2:
        return None
    if len({check_film(film).shape[1:] for film in films}) > 1:
        raise ValueError("films of different sizes")
    states = [as_float(at_times(film, points)) for film in films]
    return float(np.mean([np.abs(a - b).mean(dtype=np.float64) for a, b in combinations(states, 2)]))
