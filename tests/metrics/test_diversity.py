import numpy as np
import pytest

from paintsundo.metrics import distances, diversity, state_effect
from paintsundo.metrics.baselines import random_tiles


def test_equal_films_have_none_and_opposites_all():
    black, white = np.zeros((5, 4, 4, 3), np.uint8), np.full((7, 4, 4, 3), 255, np.uint8)
    assert diversity([black, black]) == 0
    assert diversity([black, white]) == pytest.approx(1)
    assert diversity([black]) is None
    with pytest.raises(ValueError, match="different sizes"):
        diversity([black, black[:, :2]])


def test_seeds_make_different_films(drawn):
    films = [random_tiles(drawn[0], drawn[-1], 30, seed=s) for s in range(3)]
    assert diversity(films) > 0.05


def test_nearest_two_and_effects_of_states(drawn):
    other = drawn.copy()
    other[:, :10] = 0
    found = distances([drawn, other, drawn])
    assert found.least == 0
    assert found.mean > 0
    assert state_effect(drawn, drawn) == 0
    assert state_effect(drawn[:5], np.clip(drawn[:5].astype(int) - 51, 0, 255).astype(np.uint8)) <= 0.2
    with pytest.raises(ValueError, match="different shapes"):
        state_effect(drawn[:5], drawn[:4])
