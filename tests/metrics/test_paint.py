import numpy as np
import pytest

from paintsundo.metrics import null_baselines, palette_spread


def test_analytic_values():
    white = np.full((40, 40, 3), 255, np.uint8)
    red, blue = white.copy(), white.copy()
    red[:20] = (255, 0, 0)
    blue[:] = red
    blue[20:] = (0, 0, 255)
    assert palette_spread(np.stack([white, red, blue])) < 0.15  # a paint a step; the measure's blur mixes a few
    assert palette_spread(np.stack([white, blue])) == pytest.approx(1)
    assert palette_spread(np.stack([white, white])) is None
    assert palette_spread(np.stack([white, np.zeros_like(white)])) is None  # one paint is no palette


def test_drawing_is_below_and_uncovering_above(drawn, with_noise):
    films = null_baselines(drawn)
    for dirty in (lambda film: film, with_noise):
        true = palette_spread(dirty(drawn))
        assert true < 0.75
        for name in ("random_tiles", "wipe"):
            assert palette_spread(dirty(films[name])) > true + 0.15, name
        assert palette_spread(dirty(films["edges_then_colour"])) < 0.75  # as the docstring warns
