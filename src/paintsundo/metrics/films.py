"""What every measure does with a film first: check it, scale it, take decoder noise off it.

A film is uint8 (N,H,W,3), blank → finished. Measures work on float32 in [0,1]; those that ask *what changed*
look at a smaller, slightly blurred copy, since every frame of a generated film carries a little decoder
noise.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Film = NDArray[np.uint8]
Floats = NDArray[np.float32]
Kept = TypeVar("Kept")

CHANGE_THRESHOLD = 0.08
"""Largest channel difference, of 1, from which a pixel counts as changed (about 20 of 255 levels)."""
MEASURE_SIDE = 256
"""Longer side, in pixels, of the copy on which changes are measured, so that sizes compare."""
NOISE_BLUR = 1.0
"""Sigma, in pixels of that copy, of the blur that takes decoder noise down."""


def check_film(film: Film, least: int = 2) -> Film:
    """The film itself, or ValueError where it is not uint8 (N≥least, H, W, 3)."""
    film = np.asarray(film)
    if film.ndim != 4 or film.shape[-1] != 3 or film.dtype != np.uint8:
        raise ValueError(f"a film is uint8 (N,H,W,3), this is {film.dtype} {film.shape}")
    if len(film) < least:
        raise ValueError(f"this measure needs at least {least} frames, the film has {len(film)}")
    return film


def as_float(frames: NDArray[np.uint8]) -> Floats:
    """uint8 pictures of any shape → float32 in [0,1]."""
    return np.asarray(frames, dtype=np.float32) / np.float32(255)


def prepare(film: Film, side: int = MEASURE_SIDE, blur: float = NOISE_BLUR) -> Floats:
    """uint8 (N,H,W,3) → float32 (N,h,w,3) in [0,1], longer side at most `side`, Gaussian blur of `blur`
    px."""
    film = check_film(film, least=1)
    height, width = film.shape[1:3]
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    out = np.empty((len(film), size[1], size[0], 3), dtype=np.float32)
    for index, frame in enumerate(film):
        small = frame if scale == 1.0 else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        np.divide(small, np.float32(255), out=out[index], dtype=np.float32)
        if blur > 0:
            cv2.GaussianBlur(out[index], (7, 7), blur, dst=out[index])
    return out


def over_channels(values: Floats) -> Floats:
    """The largest channel (…,3) → (…). Pairwise: a reduction over an axis of three is many times slower."""
    return np.maximum(np.maximum(values[..., 0], values[..., 1]), values[..., 2])


def difference(first: Floats, second: Floats) -> Floats:
    """Largest absolute channel difference of two stacks (…,H,W,3) → (…,H,W), in [0,1]."""
    return over_channels(np.abs(first - second))


def step_changes(frames: Floats) -> Floats:
    """Prepared frames (N,h,w,3) → change of each pixel at each step (N−1,h,w), in [0,1]."""
    out = np.empty((len(frames) - 1, *frames.shape[1:3]), dtype=np.float32)
    for step in range(len(out)):
        out[step] = over_channels(cv2.absdiff(frames[step + 1], frames[step]))
    return out


def frame_numbers(length: int, count: int) -> NDArray[np.int_]:
    """`count` frame numbers of a film of `length` frames, equally spaced, both ends included."""
    return np.round(np.linspace(0, length - 1, count)).astype(int)


def at_times(film: Film, count: int) -> Film:
    """The film at `count` equally spaced normalised times, both ends included, nearest frame each."""
    return film[frame_numbers(len(film), count)]


class PreparedFilm:
    """A film with what several measures need of it, each computed once; every measure takes it in a film's
    place.

    `kept` holds what measures have found, so that a true film that many are compared with is measured once.
    """

    def __init__(self, film: Film) -> None:
        self.film = check_film(film)
        self.kept: dict[Any, Any] = {}

    def once(self, key: Any, make: Callable[[], Kept]) -> Kept:
        """What `make` gives, made at the first call with this key."""
        if key not in self.kept:
            self.kept[key] = make()
        kept: Kept = self.kept[key]
        return kept

    @cached_property
    def frames(self) -> Floats:
        """(N,h,w,3) in [0,1]: scaled and blurred, see `prepare`."""
        return prepare(self.film)

    @cached_property
    def changes(self) -> Floats:
        """(N−1,h,w): change of each pixel at each step of `frames`."""
        return step_changes(self.frames)


def prepared(film: Film | PreparedFilm) -> PreparedFilm:
    """The prepared film, which it may be already. ValueError where it is no film of at least two frames."""
    return film if isinstance(film, PreparedFilm) else PreparedFilm(film)
