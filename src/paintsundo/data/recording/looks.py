"""How a pointer looks, and where in a picture it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture

APART = 40  # levels between a pointer and what it lies on, or between that before and after
ALIKE = 45  # levels within which two pictures of a pointer agree
LEAST = 14  # pixels, the smallest pointer in part
WITHIN = 0.5  # share of a pointer that lies on the canvas, at least
WORSE = 3.0  # times as far in mean squares, that a place is without a pointer


@dataclass(frozen=True)
class Scores:
    """Mean squares by which a picture differs from a look, by place, of which the first is (-x, -y)."""

    squares: NDArray[np.float32]
    x: int
    y: int

    def lowest(self, before: Scores | None = None) -> tuple[int, int]:
        """Left and top of the best place; of those only that were much worse before."""
        squares = self.squares
        if before is not None:
            squares = np.where(before.squares > WORSE * squares, squares, np.float32(np.inf))
        top, left = np.unravel_index(int(np.argmin(squares)), squares.shape)
        return int(left) - self.x, int(top) - self.y


@dataclass(frozen=True)
class Look:
    """How a pointer looks: uint8 (h, w, 3), and where that is the pointer itself, 0 or 1 (h, w)."""

    picture: Picture
    mask: NDArray[np.uint8]
    _known: dict[tuple[tuple[int, int], int, int], tuple[NDArray[np.float32], NDArray[np.float32]]] = field(
        default_factory=dict, repr=False
    )

    def share(self, picture: Picture, left: int, top: int) -> float:
        """The share of it that a picture shows at a place; parts outside the picture do not count."""
        (high, wide), (height, width) = self.mask.shape, picture.shape[:2]
        x0, y0, x1, y1 = max(0, -left), max(0, -top), min(wide, width - left), min(high, height - top)
        if x0 >= x1 or y0 >= y1:
            return 0.0
        counted = self.mask[y0:y1, x0:x1]
        if cv2.countNonZero(counted) < max(LEAST, WITHIN * cv2.countNonZero(self.mask)):
            return 0.0
        part = picture[top + y0 : top + y1, left + x0 : left + x1]
        shown = cv2.bitwise_and(alike(part, self.picture[y0:y1, x0:x1]), counted)
        return cv2.countNonZero(shown) / cv2.countNonZero(counted)

    def scores(self, picture: Picture) -> Scores:
        """How well a picture shows it at each place, some of which reach beyond the border."""
        high, wide = self.mask.shape
        y, x = round(high * (1 - WITHIN)), round(wide * (1 - WITHIN))
        padded = cv2.copyMakeBorder(_grey(picture), y, y, x, x, cv2.BORDER_CONSTANT)
        squares = cv2.matchTemplate(padded, _grey(self.picture), cv2.TM_SQDIFF, mask=self.mask)
        outside, within = self._beyond(picture.shape[:2], y, x)
        return Scores(np.maximum(0, squares - outside) / within, x, y)

    def best(self, picture: Picture) -> tuple[float, int, int]:
        """The share, left and top of the place in a picture that shows it best; it may reach beyond the border."""
        high, wide = self.mask.shape
        if picture.shape[0] < high or picture.shape[1] < wide:
            return 0.0, 0, 0
        left, top = self.scores(picture).lowest()
        return self.share(picture, left, top), left, top

    def _beyond(self, size: tuple[int, int], y: int, x: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """At each place in a padded picture of black around: what the part outside adds, and the pixels within."""
        if (size, y, x) not in self._known:
            inside = cv2.copyMakeBorder(np.ones(size, np.float32), y, y, x, x, cv2.BORDER_CONSTANT)
            squares = _grey(self.picture).astype(np.float32) ** 2 * self.mask
            outside = cv2.matchTemplate(1 - inside, squares, cv2.TM_CCORR)
            within = cv2.matchTemplate(inside, self.mask.astype(np.float32), cv2.TM_CCORR)
            few = within < WITHIN * self.mask.sum()
            outside[few], within[few] = -np.inf, 1  # nowhere as bad
            self._known[size, y, x] = outside, within
        return self._known[size, y, x]


def _grey(picture: Picture) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))


def apart(one: Picture, other: Picture) -> NDArray[np.uint8]:
    """255 where two pictures differ (H, W)."""
    return cv2.bitwise_not(cv2.inRange(cv2.absdiff(one, other), (0, 0, 0), (APART, APART, APART)))


def alike(one: Picture, other: Picture) -> NDArray[np.uint8]:
    """255 where two pictures agree (H, W)."""
    return np.asarray(cv2.inRange(cv2.absdiff(one, other), (0, 0, 0), (ALIKE, ALIKE, ALIKE)))
