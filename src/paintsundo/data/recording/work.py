"""Work as the cumulative changed area, and the states worth keeping."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.recording.plateaus import to_lab

MENDED_HUE = 16.0  # of chroma, with about the same lightness: codecs mend what was drawn a while ago
MENDED_LIGHT = 4.0


class ChangedArea:
    """Counts how many pixels change by more than a Lab distance from what they were when they last counted.

    Args:
        first: uint8 (H, W, 3), the canvas no work was done on.
        threshold: Lab distance.
    """

    def __init__(self, first: Picture, threshold: float) -> None:
        self.threshold = threshold
        self.total = 0
        self._last = first.copy()
        self._lab = to_lab(first)
        self._drawn = np.zeros(first.shape[:2], bool)

    def add(self, picture: Picture) -> int:
        """Take the next state; returns how many pixels changed."""
        maybe = cv2.inRange(cv2.absdiff(picture, self._last), (0, 0, 0), (1, 1, 1)) == 0
        if not maybe.any():
            return 0
        lab = to_lab(picture[maybe])
        apart = (lab - self._lab[maybe]) ** 2
        light, hue = apart[:, 0], apart[:, 1] + apart[:, 2]
        mended = self._drawn[maybe] & (light <= MENDED_LIGHT**2) & (hue <= MENDED_HUE**2)
        far = (light + hue > self.threshold**2) & ~mended
        changed = np.zeros_like(maybe)
        changed[maybe] = far
        count = int(far.sum())
        self._lab[changed] = lab[far]
        self._last[changed] = picture[changed]
        self._drawn |= changed
        self.total += count
        return count


def rule(threshold: float) -> str:
    """How the work was counted, in words."""
    return (
        f"cumulative changed area: pixels whose CIE Lab colour differs by more than {threshold:g} from when they last "
        f"counted; less than {MENDED_HUE:g} of chroma alone does not count where something was drawn: codecs keep "
        "mending it; frames without such change are dropped, and cursors, hands and palettes taken off"
    )


def spread(works: NDArray[np.int64], most: int) -> NDArray[np.intp]:
    """Which of some states, with ascending work (N,), to keep: at most so many, evenly in work, the ends included."""
    if len(works) <= most:
        return np.arange(len(works))
    wanted = np.linspace(works[0], works[-1], most)
    return np.unique(np.searchsorted(works, wanted))
