import numpy as np
import pytest

from paintsundo.metrics import change_masks, change_region_iou, changed_share, flicker
from paintsundo.metrics.baselines import cross_fade, wipe


def half_painted():
    film = np.full((3, 64, 64, 3), 255, np.uint8)
    film[1:, :32] = 0
    return film


def test_changed_share_of_a_half(drawn):
    assert changed_share(half_painted()) == pytest.approx([0.5, 0.0], abs=0.03)
    assert changed_share(cross_fade(drawn[0], drawn[-1], 105)).max() == 0  # as its docstring warns


def test_iou_of_equal_disjoint_and_still_films(drawn):
    film = half_painted()
    assert change_region_iou(film, film, intervals=2) == 1
    other = film[:, ::-1].copy()
    assert change_region_iou(film, other, intervals=2) < 0.1
    still = np.repeat(film[:1], 3, axis=0)
    assert change_region_iou(still, still) is None
    assert change_masks(film, 2).shape == (2, 64, 64)
    with pytest.raises(ValueError, match="different sizes"):
        change_region_iou(film, drawn)


def test_iou_prefers_the_true_process(drawn, with_noise):
    generated = with_noise(drawn)
    assert change_region_iou(generated, drawn) > 0.8
    assert change_region_iou(wipe(drawn[0], drawn[-1], 105), drawn) < 0.4
    assert change_region_iou(cross_fade(drawn[0], drawn[-1], 105), drawn) < 0.4


def test_flicker_is_the_noise_beside_the_painting(drawn, with_noise):
    assert flicker(drawn) < 1e-3
    assert flicker(with_noise(drawn, 8.0)) > 1.5 * flicker(with_noise(drawn, 4.0)) > 5e-3
    assert flicker(np.stack([np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)])) is None
