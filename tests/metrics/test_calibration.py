import numpy as np
import pytest

from paintsundo.metrics import null_baselines, read_steps, shown_progress

STEPS = list(range(100, 1000, 100))


def at(film, steps):
    return film[[round((1 - step / 999) * (len(film) - 1)) for step in steps]]


def test_true_states_have_no_error_and_neighbours_read_as_themselves(drawn, with_noise):
    true = at(drawn, STEPS)
    exact = read_steps(STEPS, true, true, drawn)
    assert exact.error < 10  # frames of the film are 9.6 steps apart
    noisy = read_steps(STEPS, with_noise(true), true, drawn)
    assert noisy.error < 25
    assert min(noisy.psnr) > 30
    late = at(drawn, [step + 60 for step in STEPS[:-1]])
    read = read_steps(STEPS[:-1], late, true[:-1], drawn)
    assert read.bias == pytest.approx(60, abs=12)
    assert read.error == pytest.approx(60, abs=12)


def test_states_that_ignore_the_step_are_off(drawn):
    true = at(drawn, STEPS)
    for fixed, shown in ((drawn[-1], 0), (drawn[0], 999)):
        read = read_steps(STEPS, np.stack([fixed] * 9), true, drawn)
        assert read.error > 300
        assert read.read[0] == pytest.approx(shown, abs=60)


def test_nulls_are_worse_than_the_truth(drawn):
    true = at(drawn, STEPS)
    films = null_baselines(drawn)
    exact = read_steps(STEPS, true, true, drawn).error
    for name in ("cross_fade", "wipe", "blur_to_sharp"):
        assert read_steps(STEPS, at(films[name], STEPS), true, drawn).error > exact + 20, name


def test_shown_progress_ends_and_blank_pictures(drawn):
    shown = shown_progress(drawn, drawn[-1])
    assert shown[0] == pytest.approx(0, abs=1e-6)
    assert shown[-1] == pytest.approx(1, abs=1e-6)
    with pytest.raises(ValueError, match="blank"):
        shown_progress(drawn, np.full_like(drawn[0], 255))
    with pytest.raises(ValueError, match="steps"):
        read_steps([100], drawn[:2], drawn[:2], drawn)
