"""What is known of the canvas in its first place: how much of a sample it explains, and what it learns from one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.recording.canvas import Home, different
from paintsundo.data.recording.local_range import NEAR, local_range, outside, structure
from paintsundo.data.recording.similarity import Matrix, is_identity
from paintsundo.data.recording.surroundings import Surroundings

CONTENT = 200  # pixels of structure inside the canvas, without which turns and mirroring cannot be told


class CanvasModel:
    """A model of the canvas that follows the drawing.

    Attributes:
        picture: the canvas as known, on the screen of the beginning (height, width, 3).
        snapshot: the same when the canvas was last in its first place.
        surroundings: what lies around that place.
        window: where on the screen the canvas may be seen (height, width).
        corners: of the canvas in its first place (4, 2).
        size: (width, height).
    """

    def __init__(self, home: Home, first: Picture) -> None:
        self.picture = first.copy()
        self.snapshot = first.copy()
        self.surroundings = Surroundings(home, first)
        self.window = self.surroundings.inside > 0
        self.corners = home.corners
        self.size = (first.shape[1], first.shape[0])

    def explained(self, frame: Picture, low: Picture, high: Picture, matrix: Matrix) -> tuple[float, float, float]:
        """Shares 0 ... 1 that a view explains: of the model's structure, of the frame's, of all the canvas.

        Args:
            frame: the sample.
            low: its lowest values around each pixel.
            high: its highest.
            matrix: the view.
        """
        inside, surround = self.surroundings.inside, self.surroundings.colour
        shown = cv2.warpAffine(self.picture, matrix, self.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        foot = cv2.warpAffine(self.surroundings.around, matrix, self.size, flags=cv2.INTER_NEAREST) > 0
        counted = foot & ~self.surroundings.on_top(frame)
        bare = (inside > 0) & ~foot  # of the canvas' first place: its surroundings show
        seen = cv2.countNonZero(counted.view(np.uint8))
        if seen < 0.02 * cv2.countNonZero(inside):
            return 0.0, 0.0, 0.0
        shown_low, shown_high = local_range(shown)
        wrong = (outside(shown, low, high) | outside(frame, shown_low, shown_high)) & counted
        mine, theirs = structure(shown_low, shown_high) & counted, structure(low, high) & counted
        total, bad = seen, cv2.countNonZero(wrong.view(np.uint8))
        if surround is not None and bare.any():
            total += cv2.countNonZero(bare.view(np.uint8))
            bad += int((np.abs(frame[bare].astype(np.int16) - surround).max(axis=1) > NEAR).sum())
        colour = 1 - bad / max(1, total)
        found = [
            1 - cv2.countNonZero((wrong & edges).view(np.uint8)) / max(1, cv2.countNonZero(edges.view(np.uint8)))
            for edges in (mine, mine | theirs)
        ]
        if cv2.countNonZero(mine.view(np.uint8)) < 30:
            return colour, colour, colour
        return found[0], found[1], colour

    def has_content(self) -> bool:
        """Whether enough is drawn to tell turns and mirroring."""
        inner = cv2.erode(self.surroundings.inside, np.ones((9, 9), np.uint8)) > 0
        return int((structure(*local_range(self.picture)) & inner).sum()) >= CONTENT

    def learn(self, frame: Picture, matrix: Matrix) -> None:
        """Bring what is new in the frame into the model, where the canvas is seen in this view."""
        inside = self.surroundings.inside
        if is_identity(matrix):
            cv2.copyTo(frame, inside, self.picture)
            self.snapshot = self.picture.copy()
            return
        size = self.size
        foot = cv2.warpAffine(inside, matrix, size, flags=cv2.INTER_NEAREST) > 0
        shown = cv2.warpAffine(self.picture, matrix, size, flags=cv2.INTER_LINEAR)
        changed = ~self.surroundings.unchanged(frame)
        outer = foot & (inside == 0) & changed & ~different(frame, shown, NEAR)
        self.window = _widened(self.window, outer)
        seen = (foot & self.window).astype(np.uint8) * 255
        back = cv2.warpAffine(frame, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        there = cv2.warpAffine(seen, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP) > 250
        low, high = local_range(self.picture)
        back_low, back_high = local_range(back)
        new = (outside(back, low, high) | outside(self.picture, back_low, back_high)) & there & (inside > 0)
        cv2.copyTo(back, new.astype(np.uint8) * 255, self.picture)


def _widened(window: NDArray[np.bool_], seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The smallest box around a window and where else the canvas is seen; single pixels do not count."""
    if seen.sum() < 50:
        return window
    across = np.flatnonzero(seen.sum(axis=0) >= 0.12 * seen.shape[0])
    down = np.flatnonzero(seen.sum(axis=1) >= 0.12 * seen.shape[1])
    mine_x, mine_y = np.flatnonzero(window.any(axis=0)), np.flatnonzero(window.any(axis=1))
    x, y = np.concatenate([across, mine_x]), np.concatenate([down, mine_y])
    found = np.zeros_like(window)
    found[y.min() : y.max() + 1, x.min() : x.max() + 1] = True
    return found
