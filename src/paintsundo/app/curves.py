"""Curves beneath the film: how far it is, how much of it is outline, how much is colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from paintsundo.metrics import progress

_SIDE = 256  # pixels of the longer side at which it is measured
_LOW, _HIGH = 60, 120  # Canny thresholds, of 255 levels
_COLOURED = 24  # levels between a pixel's channels from which it counts as coloured


def film_curves(frames: Sequence[Path]) -> dict[str, list[float]]:
    """Curves of a film's frames (PNG or JPEG files, blank … finished), each 0…1.

    progress: `metrics.progress`, 0 where the film does not change; kept within 0…1.
    edges: share of pixels on an edge (Canny 1986), relative to the most of any frame.
    colour: share of pixels whose channels differ clearly, relative to the most of any frame.
    """
    film = np.stack([_small(file) for file in frames])
    edges = np.array([np.mean(cv2.Canny(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), _LOW, _HIGH) > 0) for frame in film])
    spread = film.max(axis=-1).astype(int) - film.min(axis=-1)
    colour = (spread > _COLOURED).mean(axis=(1, 2))
    done = np.nan_to_num(progress(film)).clip(0, 1) if len(film) > 1 else np.zeros(len(film))
    return {
        "progress": _rounded(done),
        "edges": _rounded(edges / max(edges.max(), 1e-9)),
        "colour": _rounded(colour / max(colour.max(), 1e-9)),
    }


def _small(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        frame = picture.convert("RGB")
    frame.thumbnail((_SIDE, _SIDE))
    return np.asarray(frame)


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]
