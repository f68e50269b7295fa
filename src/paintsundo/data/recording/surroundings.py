"""The screen around the canvas as it looked at the beginning, and whether it still does."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.recording.canvas import Home, different
from paintsundo.data.recording.local_range import NEAR

RIM_KEPT = 0.85  # share of what lies just outside the canvas that looks as at the beginning
SCREEN_KEPT = 0.6  # share of all the rest of the screen that does so while the canvas is in its first place
RIM_CONTRAST = 0.7  # share of the border at which canvas and surroundings must differ for that to say anything


class Surroundings:
    """What lies around the canvas in its first place.

    Attributes:
        inside: 255 on the canvas (height, width).
        around: 255 on the canvas and its border (height, width).
        colour: of what lies next to the canvas, (3,); None where that has more than one.
    """

    def __init__(self, home: Home, first: Picture) -> None:
        self.background = first.copy()
        self.inside = home.mask((first.shape[0], first.shape[1]))
        self.around = self._dilated(5)
        self.colour: NDArray[np.uint8] | None = None
        rim = (self._dilated(9) > 0) & (self.around == 0)
        if rim.any():
            colour = np.median(first[rim], axis=0)
            if (np.abs(first[rim] - colour).max(axis=1) <= NEAR).mean() > 0.7:
                self.colour = colour.astype(np.uint8)
        self._rim, self._edge = self._borders(first, home.paper)
        self._outside = self._dilated(13) == 0

    def _dilated(self, side: int) -> NDArray[np.uint8]:
        return np.asarray(cv2.dilate(self.inside, np.ones((side, side), np.uint8)))

    def _borders(self, first: Picture, paper: NDArray[np.uint8]) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_]]:
        """Pixels just outside and just inside the canvas; no outside where it cannot be told from the inside."""
        wide, narrow = (self._dilated(side) > 0 for side in (13, 5))
        deep, shallow = (cv2.erode(self.inside, np.ones((side, side), np.uint8)) > 0 for side in (13, 5))
        rim, edge = wide & ~narrow, shallow & ~deep
        if rim.sum() < 100 or self.colour is None:
            return None, edge
        away = np.abs(first[rim].astype(np.int16) - paper).max(axis=1) > NEAR
        return (rim if away.mean() >= RIM_CONTRAST else None), edge

    def unchanged(self, frame: Picture) -> NDArray[np.bool_]:
        """Pixels (H, W) that look as at the beginning."""
        return ~different(frame, self.background, NEAR)

    def on_top(self, frame: Picture) -> NDArray[np.bool_]:
        """Pixels (H, W) of the program's window, which covers a canvas moved beneath it."""
        return (self.inside == 0) & self.unchanged(frame)

    def in_place(self, frame: Picture, known: Picture) -> bool:
        """Whether what is just outside the canvas looks as at the beginning, and what is just inside like canvas.

        Args:
            frame: the sample.
            known: the canvas as last seen in its first place.
        """
        if self._rim is None or self.colour is None:
            return False
        if self.unchanged(frame)[self._rim].mean() < RIM_KEPT:
            return False
        bare, before = (
            (np.abs(picture[self._edge].astype(np.int16) - self.colour).max(axis=1) <= NEAR // 2).mean()
            for picture in (frame, known)
        )
        return bool(bare <= before + 0.3)

    def faded(self, frame: Picture) -> bool:
        """Whether the program's window changed too; False where canvas and surroundings cannot be told apart."""
        return self._rim is not None and bool(self.unchanged(frame)[self._outside].mean() < SCREEN_KEPT)
