"""The canvas of each frame of a screen brought to one size and place, whatever the view."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.recording.alignment import follow
from paintsundo.data.recording.canvas import Corners
from paintsundo.data.recording.similarity import Matrix, identity

LEVELS = 12  # within which a pixel seen in another view is the one known already
SLACK = 0.12  # share of the contrast around a pixel that another sharpness may add to this
CLEARLY = 24  # levels beyond that, by which a pixel and those next to it are changed in any case
SHIFTS = [(x / 2, y / 2) for y in (-1, 0, 1) for x in (-1, 0, 1)]  # inexact views, in pixels
FINEST = 8  # samples a pixel and direction in scaling down
FAR = 6.0  # pixels by which a view may be corrected
SETTLED = 4  # samples after which a changed pixel is known: a passing cursor never is
RIM = 2  # pixels at the border of the canvas that other views than the first are too inexact for

Place = NDArray[np.float64]  # (3, 3), pixels of the canvas -> pixels of a frame


class Memory:
    """The canvas as known from the frames before (H, W, 3); what changes is taken over once it lasts."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture.copy()
        self._next = picture.copy()
        self._lasted = np.zeros(picture.shape[:2], np.uint8)

    def learn(self, picture: Picture, changed: NDArray[np.bool_]) -> None:
        """Take a frame's canvas into account where it is changed (H, W)."""
        again = cv2.inRange(cv2.absdiff(picture, self._next), (0, 0, 0), (LEVELS, LEVELS, LEVELS)) > 0
        self._lasted = np.where(changed, np.where(again, self._lasted + 1, 1), 0).astype(np.uint8)
        cv2.copyTo(picture, (changed & ~again).astype(np.uint8), self._next)
        settled = self._lasted >= SETTLED
        cv2.copyTo(picture, settled.astype(np.uint8), self.picture)
        self._lasted[settled] = 0


class Extractor:
    """Brings frames of full size to the canvas (height, width).

    Args:
        corners: of the canvas at the beginning, in pixels of the frame.
        size: (height, width) of the extracted canvas.
        straight: whether the canvas is parallel to the frame.
        margin: pixels extracted around the canvas, of which nothing is returned.
    """

    def __init__(self, corners: Corners, size: tuple[int, int], straight: bool, margin: int = 0) -> None:
        self.corners, self.size, self.straight, self.margin = corners, size, straight, margin
        height, width = size
        self._whole = (height + 2 * margin, width + 2 * margin)
        own = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32) - 0.5 + margin
        self.place: Place = cv2.getPerspectiveTransform(own, (corners - 0.5).astype(np.float32)).astype(np.float64)
        self.memory: Memory | None = None
        self._corrected: dict[bytes, Place] = {}

    def see(
        self, frame: Picture, matrix: Matrix, window: NDArray[np.uint8] | None = None
    ) -> tuple[Picture, NDArray[np.bool_]]:
        """The canvas (H, W, 3) of a frame and where it is seen (H, W).

        Args:
            frame: uint8, full size.
            matrix: pixels of the frame at the beginning -> pixels of this frame.
            window: 255 where the screen may show the canvas, of the frame's shape; None: anywhere.
        """
        if np.array_equal(matrix, identity()):
            picture = self._direct(frame) if self.straight else self._warped(frame, self.place)
            if self.memory is None:
                self.memory = Memory(picture)
            near = cv2.inRange(cv2.absdiff(picture, self.memory.picture), (0, 0, 0), (LEVELS, LEVELS, LEVELS))
            cv2.copyTo(picture, near, self.memory.picture)
            self.memory.learn(picture, near == 0)
            return picture, np.ones(self.size, bool)
        place = np.vstack([matrix, [0, 0, 1]]) @ self.place
        key = np.ascontiguousarray(matrix).tobytes()
        place = place @ self._corrected.get(key, np.eye(3))
        picture, seen = self._warped(frame, place), self._seen(frame, place, window)
        if self.memory is None:
            self.memory = Memory(picture)
            return picture, seen
        if key not in self._corrected:
            correction = self.correction(self.memory.picture, picture, seen)
            if correction is not None:
                place, self._corrected[key] = place @ correction, correction
                picture, seen = self._warped(frame, place), self._seen(frame, place, window)
        seen[:RIM], seen[-RIM:], seen[:, :RIM], seen[:, -RIM:] = False, False, False, False
        held = same(picture, self.memory.picture)
        picture = np.where((held | ~seen)[..., None], self.memory.picture, picture)
        self.memory.learn(picture, ~held & seen)
        return picture, seen

    def correction(self, known: Picture, picture: Picture, seen: NDArray[np.bool_], least: int = 8) -> Place | None:
        """How far the canvas of a frame is from its place, by what was known before; None: that cannot be told."""
        change = follow(known, picture, seen.astype(np.uint8) * 255, 15, least)
        if change is None or reach(change, self.size) > FAR:
            return None
        return np.vstack([change, [0, 0, 1]])

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


def reach(change: Matrix, size: tuple[int, int]) -> float:
    """How many pixels a change of view moves the corners of a canvas (height, width), at most."""
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
