"""Small true processes (shapes drawn stroke by stroke, then coloured, then shaded); a picture and a place for films."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tiny_models import drawing

Film = NDArray[np.uint8]
SIZE = 96
SHAPES = (
    ((30, 34), (20, 26), (222, 80, 60)),
    ((66, 30), (18, 16), (70, 150, 220)),
    ((60, 68), (28, 20), (240, 190, 70)),
)


def _draw(frames: int) -> Film:
    """uint8 (frames,96,96,3): outlines by arc length, fills by a sweeping brush, dark patches by a sweeping
    brush."""
    states = [np.full((SIZE, SIZE, 3), 255, np.uint8)]
    for centre, axes, _ in SHAPES:
        points = cv2.ellipse2Poly(centre, axes, 20, 0, 360, 6).astype(np.int32)
        for start in range(0, len(points) - 1, 3):
            canvas = states[-1].copy()
            cv2.polylines(canvas, [points[start : start + 4]], False, (25, 25, 30), 2, cv2.LINE_AA)
            states.append(canvas)
    paper = (states[-1].min(axis=-1) >= 200)[..., None]
    for shade in (False, True):
        for centre, axes, colour in SHAPES:
            inside = np.zeros((SIZE, SIZE, 1), np.uint8)
            middle = (centre[0] + axes[0] // 4, centre[1] + axes[1] // 3) if shade else centre
            cv2.ellipse(inside, middle, (axes[0] // 2, axes[1] // 3) if shade else axes, 20, 0, 360, 1, -1)
            paint = (np.array(colour) * (0.72 if shade else 1.0)).astype(np.uint8)
            for columns in np.array_split(np.flatnonzero(inside.any(axis=(0, 2))), 8 if shade else 20):
                mask = np.zeros_like(paper)
                mask[:, columns] = inside[:, columns] > 0
                states.append(np.where(mask & paper, paint, states[-1]))
    return np.stack(states)[np.round(np.linspace(0, len(states) - 1, frames)).astype(int)]


@pytest.fixture(scope="session")
def drawn() -> Film:
    """A true process of 105 frames: the default film's length, seven clips of 15."""
    return _draw(105)


@pytest.fixture(scope="session")
def with_noise() -> Callable[[Film], Film]:
    """Adds smooth noise of 5 levels, different in each frame, as an autoencoder leaves it."""

    def add(film: Film, sigma: float = 5.0, seed: int = 0) -> Film:
        rng = np.random.default_rng(seed)
        noise = np.stack([cv2.GaussianBlur(rng.normal(size=f.shape).astype(np.float32), (0, 0), 0.8) for f in film])
        return np.clip(film + noise * (sigma / noise.std()), 0, 255).astype(np.uint8)

    return add


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A file with a drawing."""
    file = tmp_path / "picture.png"
    drawing().save(file)
    return file


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A folder for films, not made yet."""
    return tmp_path / "films"
