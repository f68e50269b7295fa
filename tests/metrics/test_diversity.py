import numpy as np
import pytest

from paintsundo.metrics import diversity
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
