"""The kit that makes screen recordings of known drawing processes: its films must show what its truth says."""

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from support.recording_kit import Truth, prepare, render  # type: ignore[import-not-found]
from support.recording_levels import LEVELS  # type: ignore[import-not-found]
from support.recording_long import render_long  # type: ignore[import-not-found]
from support.recording_subjects import Strokes, subject  # type: ignore[import-not-found]

SHORT: dict[str, Any] = {"seconds": (3, 3), "rates": (10,), "sizes": ((480, 300),), "crf": (12, 12)}


def strokes(seed: int = 0) -> Any:
    return Strokes(np.random.default_rng(seed), (160, 200), 40)


def frames(truth: Truth) -> list[np.ndarray]:
    with av.open(str(truth.path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.mean((one.astype(float) - other) ** 2))))


def seen(truth: Truth, frame: np.ndarray, number: int) -> np.ndarray:
    """The canvas in a frame by the truth's corners alone, at the process's size."""
    height, width = truth.process.size
    plain = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(truth.corners[number].astype(np.float32) - 0.5, plain - 0.5)
    return cv2.warpPerspective(frame, matrix, (width, height), flags=cv2.INTER_AREA)


@pytest.mark.parametrize("difficulty", ["plain", "zoom", "rotation", "flip", "cuts", "containers", "shapes"])
def test_frames_show_the_true_state_at_the_true_place(difficulty: str, tmp_path: Path) -> None:
    shape = {**SHORT, "sizes": ((300, 480),)} if difficulty == "shapes" else SHORT
    truth = render(strokes(), tmp_path / "film", 7, difficulty, **shape, cursor=False)
    film = frames(truth)
    assert len(film) == len(truth.times) == len(truth.works)
    assert {frame.shape[:2] for frame in film} == {truth.size}
    assert truth.at_home().any()
    height, width = truth.process.size
    margin = 6
    compared = 0
    for number in range(0, len(film), 3):
        left, top, wide, high = truth.viewport
        from_corner = truth.corners[number] - (left, top)
        inside = ((from_corner > -0.1) & (from_corner < (wide + 0.1, high + 0.1))).all()
        if truth.cards[number] > 0 or not inside:
            continue
        found = seen(truth, film[number], number)
        true = truth.process.state(float(truth.works[number]))
        part = (slice(margin, height - margin), slice(margin, width - margin))
        assert psnr(found[part], true[part]) > 24, number
        compared += 1
    assert compared > 5


def test_equal_seeds_give_equal_frames() -> None:
    one, other, third = (prepare(strokes(), seed, "everything", **SHORT) for seed in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(one.frames(), other.frames(), strict=True))
    assert one.hidden == other.hidden
    assert third.scene.script.rows != one.scene.script.rows


@pytest.mark.parametrize("difficulty", sorted(LEVELS))
def test_every_level_can_be_recorded(difficulty: str, tmp_path: Path) -> None:
    truth = render(strokes(1), tmp_path / "film", 1, difficulty, **{**SHORT, "rates": (6,), "seconds": (2, 2)})
    assert len(frames(truth)) == len(truth.times)
    assert (np.diff(truth.times) > 0).all()
    assert truth.works[-1] == 1
    level = LEVELS[difficulty]
    assert (truth.hidden.max() > 0) == (level.cursor or level.palettes[1] > 0)


def test_cursor_lies_where_it_is_drawn(tmp_path: Path) -> None:
    truth = render(strokes(), tmp_path / "film", 3, "cursor", **SHORT)
    assert 0 < truth.hidden[truth.drawn].mean() < 0.1


def test_undo_goes_back_and_comes_again(tmp_path: Path) -> None:
    truth = render(strokes(), tmp_path / "film", 2, "undo", **SHORT)
    steps = np.diff(truth.works)
    assert (steps < 0).sum() >= 3
    assert truth.works[-1] == 1


@pytest.mark.parametrize("kind", ["svg", "picture", "strokes"])
def test_subjects_begin_blank_and_end_drawn(kind: str) -> None:
    process = subject(4, kind, 96)
    assert max(process.size) == 96
    assert (process.state(0.0) == 255).all()
    assert (process.state(1.0) != 255).any(axis=2).mean() > 0.05
    again = subject(4, kind, 96)
    assert np.array_equal(process.state(0.4), again.state(0.4))


def test_long_recordings_repeat_their_pauses(tmp_path: Path) -> None:
    truth = render_long(strokes(), tmp_path / "long", 3, 1 / 60, size=(480, 300), rate=10, drawn=6, bouts=4)
    film = frames(truth)
    assert [path.name for path in tmp_path.iterdir()] == ["long.mp4"]
    assert len(film) == pytest.approx(600, abs=10)
    assert (np.diff(truth.times) > 0).all()
    assert truth.times[-1] == pytest.approx(60, abs=1)
    assert (np.diff(truth.works) >= 0).all()
    assert truth.works[-1] == 1
    for time in (0.2, 15.3, 31.0, 59.5):
        found = seen(truth, film[round(time * 10)], 0)
        true = truth.state_at(time)
        assert psnr(found[6:-6, 6:-6], true[6:-6, 6:-6]) > 17  # a cursor may lie over it
    with av.open(str(truth.path)) as again:
        stamps = [frame.pts for frame in again.decode(video=0)]
    assert len(set(np.diff(stamps))) == 1
