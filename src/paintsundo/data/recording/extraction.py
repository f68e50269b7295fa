"""The canvas of each frame brought to one size and place, whatever the view."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.recording.canvas import Corners
from paintsundo.data.recording.views import Matrix, correlated, follow, identity

LEVELS = 12  # within which a pixel seen in another view is the one known already
SLACK = 0.12  # share of the contrast around a pixel that another sharpness may add to this
CLEARLY = 24  # levels beyond that, by which a pixel and those next to it are changed in any case
SHIFTS = [(x / 2, y / 2) for y in (-1, 0, 1) for x in (-1, 0, 1)]  # inexact views, in pixels
GOOD = 0.9  # such a share, with which no better alignment is looked for
PATIENCE = 12  # frames left out in a row, after which the canvas is taken to be another
AGREEING = 0.6  # share of the known canvas' structure that a camera's frame must show, or it is left out
FINEST = 8  # samples a pixel and direction in scaling down
FAR = 6.0  # pixels by which a view may be corrected
MARGIN = 0.06  # of the canvas' shorter side, seen around it in front of a camera
POINTS = 24  # to follow, below which frames are aligned by correlation
WHITE = 150  # paper at least this light counts as white in front of a camera


class Extractor:
    """Brings frames of full size to the canvas (height, width).

    Args:
        corners: of the canvas at the beginning, in pixels of the frame.
        size: (height, width) of the extracted canvas.
        straight: whether the canvas is parallel to the frame.
        camera: whether the view trembles and light changes, so that each frame needs its own alignment.
    """

    def __init__(self, corners: Corners, size: tuple[int, int], straight: bool, camera: bool) -> None:
        self.corners, self.size, self.straight, self.camera = corners, size, straight, camera
        height, width = size
        self.margin = round(MARGIN * min(size)) if camera else 0  # the canvas' border helps to align
        self._whole = (height + 2 * self.margin, width + 2 * self.margin)
        own = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32) - 0.5 + self.margin
        self.place = cv2.getPerspectiveTransform(own, (corners - 0.5).astype(np.float32)).astype(np.float64)
        self.known: Picture | None = None
        self.light: NDArray[np.float32] | None = None  # factors (H, W, 3) that make the blank paper even
        self._before = self.place  # where the frame before lay
        self._lost = 0
        self._corrected: dict[bytes, NDArray[np.float64]] = {}

    def see(
        self, frame: Picture, matrix: Matrix, window: NDArray[np.uint8] | None = None
    ) -> tuple[Picture, NDArray[np.bool_]]:
        """The canvas (H, W, 3) of a frame and where it is seen (H, W).

        Args:
            frame: uint8, full size.
            matrix: pixels of the frame at the beginning -> pixels of this frame.
            window: 255 where the screen may show the canvas, of the frame's shape; None: anywhere.
        """
        if np.array_equal(matrix, identity()) and not self.camera:
            self.known = self._direct(frame) if self.straight else self._warped(frame, self.place)
            return self.known, np.ones(self.size, bool)
        place = np.vstack([matrix, [0, 0, 1]]) @ self.place
        key = np.ascontiguousarray(matrix).tobytes()
        if key in self._corrected:
            place = place @ self._corrected[key]
        picture, seen = self._warped(frame, place), self._seen(frame, place, window)
        if self.known is not None and key not in self._corrected:
            correction = self._correction(self.known, picture, seen)
            if correction is not None:
                place = place @ correction
                picture, seen = self._warped(frame, place), self._seen(frame, place, window)
                if not self.camera:
                    self._corrected[key] = correction
        if self.known is not None:
            held = same(picture, self.known)
            picture = np.where((held | ~seen)[..., None], self.known, picture)
        self.known = picture
        return picture, seen

    def film(self, frame: Picture, matrix: Matrix) -> tuple[Picture, NDArray[np.bool_]]:
        """As `see`, of a camera that trembles: each frame is aligned by itself, to the frames before.

        A frame that cannot be aligned counts as not seen.
        """
        guess = np.vstack([matrix, [0, 0, 1]]) @ self.place
        nothing = np.zeros(self.size, bool)
        if self.known is None:
            self.known, self._before = self._warped(frame, guess), guess
            return self._inner(self.known), ~nothing
        best: tuple[float, Picture, NDArray[np.bool_], NDArray[np.float64]] | None = None
        for place in (guess, self._before):
            picture, seen = self._lit(frame, place)
            correction = self._correction(self.known, picture, seen)
            if correction is not None:
                place = place @ correction
                picture, seen = self._lit(frame, place)
            held = same(picture, self.known)
            agreement = self._agreement(held, seen)
            if best is None or agreement > best[0]:
                best = agreement, np.where((held | ~seen)[..., None], self.known, picture), seen, place
            if agreement > GOOD:
                break
        assert best is not None
        agreement, picture, seen, place = best
        self._lost = self._lost + 1 if agreement < AGREEING else 0
        if 0 < self._lost < PATIENCE:
            return self._inner(self.known), nothing
        self.known, self._before = picture, place
        return self._inner(picture), self._inner(seen)

    def _lit(self, frame: Picture, place: NDArray[np.float64]) -> tuple[Picture, NDArray[np.bool_]]:
        """The canvas at a place, under the light of the frames before, and where it is seen."""
        picture, seen = self._warped(frame, place), self._seen(frame, place, None)
        if self.light is not None:
            picture = np.clip(picture * self.light + 0.5, 0, 255).astype(np.uint8)
        return self._even(picture, seen), seen

    def _agreement(self, held: NDArray[np.bool_], seen: NDArray[np.bool_]) -> float:
        """Share of the structure of what is known that is seen again."""
        assert self.known is not None
        around = np.ones((3, 3), np.uint8)
        contrast = cv2.subtract(cv2.dilate(self.known, around), cv2.erode(self.known, around))
        structure = (cv2.inRange(contrast, (0, 0, 0), (30, 30, 30)) == 0) & seen
        return float(held[structure].mean()) if structure.any() else 1.0

    def _inner(self, array: NDArray[Any]) -> NDArray[Any]:
        """Without the margin."""
        height, width = self.size
        return array[self.margin : self.margin + height, self.margin : self.margin + width]

    def _correction(self, known: Picture, picture: Picture, seen: NDArray[np.bool_]) -> NDArray[np.float64] | None:
        """How far (3, 3) the canvas of a frame is from its place, by what was known before."""
        mask = seen.astype(np.uint8) * 255
        change = follow(known, picture, mask, 15, POINTS if self.camera else 8)
        if change is None and self.camera:
            change = correlated(known, picture, mask)
        if change is None or _reach(change, self.size) > FAR:
            return None
        return np.vstack([change, [0, 0, 1]])

    def flatten(self) -> None:
        """Take the canvas known now for blank paper, evenly lit, and white if it is about white: so will all frames."""
        assert self.known is not None
        blank = self._inner(self.known)
        side = 2 * (min(self.size) // 16) + 1
        smooth = cv2.GaussianBlur(cv2.medianBlur(blank, 5), (side, side), 0).astype(np.float32)
        paper = np.median(smooth.reshape(-1, 3), axis=0)
        target = np.full(3, 255.0) if paper.min() > WHITE and np.ptp(paper) < 0.2 * paper.max() else paper
        gain = (target / np.maximum(smooth, 1)).astype(np.float32)
        self.light = cv2.copyMakeBorder(gain, *(self.margin,) * 4, cv2.BORDER_REPLICATE)
        self.known = np.clip(self.known * self.light + 0.5, 0, 255).astype(np.uint8)

    def _direct(self, frame: Picture) -> Picture:
        left, top = np.round(self.corners.min(axis=0)).astype(int)
        right, bottom = np.round(self.corners.max(axis=0)).astype(int)
        part = frame[top:bottom, left:right]
        height, width = self.size
        smaller = part.shape[0] * part.shape[1] > height * width
        return np.asarray(
            cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
        )

    def _warped(self, frame: Picture, place: NDArray[np.float64]) -> Picture:
        """Sampled several times a pixel where the frame shows the canvas larger."""
        height, width = self._whole
        fine = self._fineness(place)
        within = np.array([[1 / fine, 0, 0.5 / fine - 0.5], [0, 1 / fine, 0.5 / fine - 0.5], [0, 0, 1]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        size = (width * fine, height * fine)
        found = cv2.warpPerspective(frame, place @ within, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(found if fine == 1 else cv2.resize(found, (width, height), interpolation=cv2.INTER_AREA))

    def _fineness(self, place: NDArray[np.float64]) -> int:
        height, width = self._whole
        own = np.array([[(0, 0), (width, 0), (width, height), (0, height)]], np.float64)
        area = abs(cv2.contourArea(cv2.perspectiveTransform(own, place)[0].astype(np.float32)))
        return int(np.clip(math.ceil(math.sqrt(area / (height * width)) - 0.05), 1, FINEST))

    def _seen(self, frame: Picture, place: NDArray[np.float64], window: NDArray[np.uint8] | None) -> NDArray[np.bool_]:
        mask = np.full(frame.shape[:2], 255, np.uint8) if window is None else window.copy()
        mask[0], mask[-1], mask[:, 0], mask[:, -1] = 0, 0, 0, 0
        height, width = self._whole
        found = cv2.warpPerspective(mask, place, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        return np.asarray(cv2.erode((found > 250).astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0)

    def _even(self, picture: Picture, seen: NDArray[np.bool_]) -> Picture:
        """Brightness and tint as in the frame before: the median change of what is about the same."""
        assert self.known is not None
        near = seen & (cv2.absdiff(picture, self.known).max(axis=2) < 40) & (self.known.min(axis=2) > 40)
        if near.sum() < 0.2 * near.size:
            return picture
        gain = np.median(self.known[near].astype(np.float32) / np.maximum(picture[near], 1), axis=0)
        return np.clip(picture * gain + 0.5, 0, 255).astype(np.uint8)


def _reach(change: Matrix, size: tuple[int, int]) -> float:
    height, width = size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    apart = corners @ (change - identity())[:, :2].T + change[:, 2]
    return float(np.abs(apart).max())


def same(picture: Picture, known: Picture) -> NDArray[np.bool_]:
    """Pixels (H, W) at which a picture shows what is known, but for noise and views inexact by half a pixel."""
    around = np.ones((3, 3), np.uint8)
    contrast = cv2.subtract(cv2.dilate(known, around), cv2.erode(known, around))
    allowed = cv2.add(cv2.multiply(contrast, np.ones_like(contrast), scale=SLACK), np.full_like(contrast, LEVELS))
    found, nearly = np.zeros(picture.shape[:2], bool), np.zeros(picture.shape[:2], bool)
    for shift in SHIFTS:
        moved = known
        if any(shift):
            matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64)
            size = (known.shape[1], known.shape[0])
            moved = cv2.warpAffine(known, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        over = cv2.subtract(cv2.absdiff(picture, moved), allowed)
        found |= cv2.inRange(over, (0, 0, 0), (0, 0, 0)) > 0
        nearly |= cv2.inRange(over, (0, 0, 0), (CLEARLY, CLEARLY, CLEARLY)) > 0
    # What changed has no thin gaps or rims: there, new and old only happen to be alike.
    changed = cv2.morphologyEx((~found).astype(np.uint8), cv2.MORPH_CLOSE, around)
    return np.asarray((changed | cv2.dilate((~nearly).astype(np.uint8), around)) == 0)
