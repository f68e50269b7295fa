import numpy as np
import pytest

from paintsundo.metrics import (
    abruptness,
    between_keyframes,
    effective_changed_share,
    keyframe_positions,
    null_baselines,
)
from paintsundo.metrics.baselines import cross_fade, faded_keyframes, wipe


def test_positions_of_the_default_film():
    assert keyframe_positions(105, 8) == [0, 14, 29, 44, 59, 74, 89, 104]
    assert keyframe_positions(15, 2) == [0, 14]
    assert keyframe_positions(106, 8) is None
    assert keyframe_positions(7, 8) is None
    assert keyframe_positions(10, 1) is None


@pytest.mark.parametrize("positions", [[0], [0, 0, 5], [5, 0], [0, 105], [-1, 5]])
def test_impossible_positions_are_refused(drawn, positions):
    with pytest.raises(ValueError, match="keyframe positions"):
        between_keyframes(drawn, positions)


def test_analytic_values():
    black, white = np.zeros((40, 40, 3), np.uint8), np.full((40, 40, 3), 255, np.uint8)
    square = white.copy()
    square[10:26, 10:26] = 0
    assert abruptness(cross_fade(white, square, 11)) == pytest.approx(2 / 10, abs=0.01)
    fade = cross_fade(white, black, 11)
    assert abruptness(fade) == 0  # the whole canvas moves, evenly: no step stands out from the median
    assert effective_changed_share(fade) == pytest.approx(1, abs=0.01)
    jump = np.stack([white] * 5 + [black] * 6)
    assert abruptness(jump) == 1
    assert effective_changed_share(jump) == pytest.approx(1)
    rows = wipe(white, black, 41)[::2]  # two of forty rows a step, blurred a little by the measure
    assert effective_changed_share(rows) == pytest.approx(2 / 40, abs=0.06)
    assert abruptness(np.stack([white] * 9)) is None
    assert effective_changed_share(np.stack([white] * 9)) is None
    assert abruptness(np.stack([white, black, black])) is None  # too short to tell a fade from a stroke


@pytest.mark.parametrize("noise", [False, True])
def test_drawing_passes_and_fades_fail_however_many_keyframes(drawn, with_noise, noise):
    dirty = with_noise if noise else (lambda film: film)
    true = dirty(drawn)
    assert abruptness(true) > 0.8
    assert effective_changed_share(true) < 0.25
    fade = dirty(cross_fade(drawn[0], drawn[-1], len(drawn)))
    assert abruptness(fade) < 0.1
    assert effective_changed_share(fade) > 0.8
    for keyframes in (4, 8, 16, 22):
        positions = keyframe_positions(105, keyframes)
        if positions is None:
            continue
        drawn_between = between_keyframes(true, positions)
        faded = between_keyframes(dirty(faded_keyframes([drawn[p] for p in positions], positions)), positions)
        if 105 // (keyframes - 1) >= 7:
            assert drawn_between.abruptness > 0.8
            assert drawn_between.abruptness > faded.abruptness + 0.4
        assert drawn_between.effective_changed_share < faded.effective_changed_share - 0.25
        assert faded.effective_changed_share > 0.6


def test_between_keyframes_weighs_clips_by_what_changes(drawn):
    positions = keyframe_positions(105, 8)
    result = between_keyframes(drawn, positions)
    assert len(result.clip_abruptness) == len(result.clip_changed_area) == 7
    still = np.concatenate([drawn[:1]] * 15 + [drawn])
    longer = between_keyframes(still, [0, *[p + 15 for p in positions]])
    assert longer.clip_abruptness[0] is None
    assert longer.abruptness == pytest.approx(result.abruptness)
    nothing = between_keyframes(np.stack([drawn[0]] * 10), [0, 9])
    assert nothing.abruptness is None
    assert nothing.effective_changed_share is None


def test_every_global_baseline_fails_one_of_the_two_between_keyframes(drawn, with_noise):
    positions = keyframe_positions(105, 8)
    true = between_keyframes(with_noise(drawn), positions)
    films = null_baselines(drawn, positions)
    for name in ("cross_fade", "faded_keyframes", "nearest_keyframe_hold", "blur_to_sharp"):
        null = between_keyframes(with_noise(films[name]), positions)
        worse_area = null.effective_changed_share > 2 * true.effective_changed_share
        less_abrupt = null.abruptness < true.abruptness / 2
        assert worse_area or less_abrupt, name
