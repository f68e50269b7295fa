"""The canvas in front of a camera: each frame is aligned by itself, under light that changes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.recording.alignment import correlated
from paintsundo.data.recording.canvas import Corners
from paintsundo.data.recording.extraction import FAR, Extractor, Memory, Place, reach, same
from paintsundo.data.recording.similarity import Matrix

GOOD = 0.9  # such a share, with which no better alignment is looked for
PATIENCE = 12  # frames left out in a row, after which the canvas is taken to be another
AGREEING = 0.6  # share of the known canvas' structure that a camera's frame must show, or it is left out
MARGIN = 0.06  # of the canvas' shorter side, seen around it in front of a camera
POINTS = 24  # to follow, below which frames are aligned by correlation
WHITE = 150  # paper at least this light counts as white in front of a camera


class CameraExtractor(Extractor):
    """Brings frames of a camera to the canvas (height, width).

    Args:
        corners: of the canvas at the beginning, in pixels of the frame.
        size: (height, width) of the extracted canvas.
        blank: whether the canvas is blank in the first frame: its light is then taken for even, and about white paper
            for white.
    """

    def __init__(self, corners: Corners, size: tuple[int, int], blank: bool) -> None:
        super().__init__(corners, size, False, round(MARGIN * min(size)))  # the canvas' border helps to align
        self.blank = blank
        self.light: NDArray[np.float32] | None = None  # factors (H, W, 3) that make the blank paper even
        self._before = self.place  # where the frame before lay
        self._lost = 0

    def see(
        self, frame: Picture, matrix: Matrix, window: NDArray[np.uint8] | None = None
    ) -> tuple[Picture, NDArray[np.bool_]]:
        """As of a screen; a frame that cannot be aligned to those before counts as not seen."""
        guess = np.vstack([matrix, [0, 0, 1]]) @ self.place
        nothing = np.zeros(self.size, bool)
        if self.memory is None:
            picture, self._before = self._warped(frame, guess), guess
            if self.blank:
                self.light = self._light(picture)
                picture = np.clip(picture * self.light + 0.5, 0, 255).astype(np.uint8)
            self.memory = Memory(picture)
            return self._inner(picture), ~nothing
        known = self.memory.picture
        best: tuple[float, Picture, NDArray[np.bool_], NDArray[np.bool_], Place] | None = None
        for place in (guess, self._before):
            picture, seen = self._lit(frame, place, known)
            correction = self._aligned(known, picture, seen)
            if correction is not None:
                place = place @ correction
                picture, seen = self._lit(frame, place, known)
            held = same(picture, known)
            agreement = _agreement(known, held, seen)
            if best is None or agreement > best[0]:
                best = agreement, picture, held, seen, place
            if agreement > GOOD:
                break
        assert best is not None
        agreement, picture, held, seen, place = best
        self._lost = self._lost + 1 if agreement < AGREEING else 0
        if 0 < self._lost < PATIENCE:
            return self._inner(known).copy(), nothing
        self._before = place
        picture = np.where((held | ~seen)[..., None], known, picture)
        self.memory.learn(picture, ~held & seen)
        return self._inner(picture), self._inner(seen)

    def _aligned(self, known: Picture, picture: Picture, seen: NDArray[np.bool_]) -> Place | None:
        found = self.correction(known, picture, seen, POINTS)
        if found is not None:
            return found
        change = correlated(known, picture, seen.astype(np.uint8) * 255)
        return None if change is None or reach(change, self.size) > FAR else np.vstack([change, [0, 0, 1]])

    def _inner(self, array: NDArray[Any]) -> NDArray[Any]:
        """Without the margin."""
        height, width = self.size
        return array[self.margin : self.margin + height, self.margin : self.margin + width]

    def _lit(self, frame: Picture, place: Place, known: Picture) -> tuple[Picture, NDArray[np.bool_]]:
        """The canvas at a place, under the light of the frames before, and where it is seen."""
        picture, seen = self._warped(frame, place), self._seen(frame, place, None)
        if self.light is not None:
            picture = np.clip(picture * self.light + 0.5, 0, 255).astype(np.uint8)
        near = seen & (cv2.absdiff(picture, known).max(axis=2) < 40) & (known.min(axis=2) > 40)
        if near.sum() >= 0.2 * near.size:
            gain = np.median(known[near].astype(np.float32) / np.maximum(picture[near], 1), axis=0)
            picture = np.clip(picture * gain + 0.5, 0, 255).astype(np.uint8)
        return picture, seen

    def _light(self, picture: Picture) -> NDArray[np.float32]:
        """What makes blank paper evenly lit, and white if it is about white."""
        side = 2 * (min(self.size) // 16) + 1
        smooth = cv2.GaussianBlur(cv2.medianBlur(self._inner(picture), 5), (side, side), 0).astype(np.float32)
        paper = np.median(smooth.reshape(-1, 3), axis=0)
        target = np.full(3, 255.0) if paper.min() > WHITE and np.ptp(paper) < 0.2 * paper.max() else paper
        gain = (target / np.maximum(smooth, 1)).astype(np.float32)
        return np.asarray(cv2.copyMakeBorder(gain, *(self.margin,) * 4, cv2.BORDER_REPLICATE))


def _agreement(known: Picture, held: NDArray[np.bool_], seen: NDArray[np.bool_]) -> float:
    """Share of the structure of what is known that is seen again."""
    around = np.ones((3, 3), np.uint8)
    contrast = cv2.subtract(cv2.dilate(known, around), cv2.erode(known, around))
    structure = (cv2.inRange(contrast, (0, 0, 0), (30, 30, 30)) == 0) & seen
    return float(held[structure].mean()) if structure.any() else 1.0
