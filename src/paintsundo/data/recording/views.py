"""How the canvas is seen in each sample: zoomed, moved, turned or mirrored, or not at all.

A model of the canvas follows the drawing; each sample is explained by the model under the view of the sample before or,
where that fails, under other views: earlier ones, mirrored ones, and what matching of features proposes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.recording.canvas import Home
from paintsundo.data.recording.canvas_model import CanvasModel
from paintsundo.data.recording.local_range import local_range
from paintsundo.data.recording.similarity import Matrix, identity, is_identity, moved
from paintsundo.data.recording.spool import Spool
from paintsundo.data.recording.view_proposals import proposals, refined, turns

FINE = 0.94  # share of the structure still in its place below which slight movements are looked for
KEPT = 0.82  # share below which quite other views are, and nothing is learnt
BETTER = 0.012  # by how much a slight movement must explain more
STILL = 0.4  # pixels at the canvas' corners by which a view must move to be another
RESTING = 6  # samples after a search in vain before the next
GAIN = 0.12  # by how much another view must explain more
GOOD = 0.55  # what a new view must explain at least
LOST = 0.35  # structure still in its place below which, with LOST_COLOUR, a sample shows something else
LOST_COLOUR = 0.5
REMEMBERED = 8  # earlier views tried again
ENOUGH = 0.92  # explained: no other view is tried


@dataclass(frozen=True)
class View:
    """How one sample shows the canvas.

    Attributes:
        matrix: pixels at the beginning -> pixels of this sample.
        explained: share of the structure explained, 0 ... 1.
        shown: whether the canvas is there at all; False for cuts to something else.
    """

    matrix: Matrix
    explained: float
    shown: bool


class Tracker:
    """Follows the canvas through the small frames, forward from the blank canvas."""

    def __init__(self, home: Home, first: Picture) -> None:
        self.model = CanvasModel(home, first)
        self.homes = [identity(), *list(turns(home.corners))[:3]]
        self.views: list[Matrix] = [identity()]
        self.current = identity()
        self._rest = 0  # samples for which no view is searched for thoroughly, after that was in vain
        self._failed = 1.0  # what was explained then

    def see(self, frame: Picture) -> View:
        """The view of the next sample; the model learns what is new in it."""
        low, high = local_range(frame)
        kept, _, colour = self.model.explained(frame, low, high, self.current)
        home = self.model.surroundings.in_place(frame, self.model.snapshot)
        if home and not (self._is_home(self.current) and kept > FINE):
            found = self._at_home(frame, low, high)
            if found is not None and _worth(*found[1:]) > _worth(kept, colour) - GAIN:
                self._adopt(found[0])
                kept, colour = found[1:]
        if kept < FINE or not self._is_home(self.current):
            near = self._near(frame, low, high, kept, colour)
            if near is not None:
                self._adopt(near[0])
                kept, colour = near[1:]
        settled = home and self._is_home(self.current) and kept >= (LOST if is_identity(self.current) else GOOD)
        if kept < KEPT and not settled:
            far = self._far(frame, low, high, kept, colour)
            if far is not None:
                self._adopt(far[0])
                kept, colour = far[1:]
        if not settled and not self._believable(frame, kept, colour):
            return View(self.current, kept, False)
        self.model.learn(frame, self.current)
        return View(self.current, kept, True)

    def _believable(self, frame: Picture, kept: float, colour: float) -> bool:
        """Whether a sample shows the canvas under the current view, where its border does not tell."""
        if not self._is_home(self.current):
            return kept >= KEPT
        if self.model.surroundings.faded(frame):
            return False
        return kept >= LOST or colour >= LOST_COLOUR

    def _is_home(self, matrix: Matrix) -> bool:
        """Whether the canvas lies where it lay at the beginning, mirrored or not."""
        return any(np.allclose(matrix, other, atol=1e-6) for other in self.homes)

    def _at_home(self, frame: Picture, low: Picture, high: Picture) -> tuple[Matrix, float, float] | None:
        """The best of the views with the canvas in its first place, by the model as it was last seen there, or None."""
        before = self.model.picture
        best: tuple[Matrix, float, float] | None = None
        for picture in (before, self.model.snapshot):
            self.model.picture = picture
            for matrix in self.homes if self.model.has_content() else self.homes[:1]:
                recall, _, share = self.model.explained(frame, low, high, matrix)
                least = LOST if is_identity(matrix) else GOOD
                if recall >= least and (best is None or _worth(recall, share) > _worth(*best[1:]) + BETTER):
                    best, chosen = (matrix, recall, share), picture
        self.model.picture = before if best is None else chosen.copy()
        return best

    def _adopt(self, matrix: Matrix) -> None:
        self.current = matrix
        if not any(matrix is known for known in self.views):
            self.views = [*self.views[-REMEMBERED + 1 :], matrix]
            if not any(is_identity(known) for known in self.views):
                self.views[0] = identity()

    def _near(
        self, frame: Picture, low: Picture, high: Picture, kept: float, colour: float
    ) -> tuple[Matrix, float, float] | None:
        """The view of before a little moved, or a known one, if it explains more."""
        best: tuple[Matrix, float, float] | None = None
        worth = _worth(kept, colour) + BETTER
        known = self.views[::-1] if kept < KEPT else [identity()]
        for matrix in known:
            recall, _, share = self.model.explained(frame, low, high, matrix)
            if _worth(recall, share) > worth and recall > GOOD:
                best, worth = (matrix, recall, share), _worth(recall, share)
        if best is not None and best[1] > FINE:
            return best
        matrix = self.current if best is None else best[0]
        for _ in range(2):
            followed = refined(self.model, frame, matrix)
            if followed is None or moved(followed, matrix, self.model.corners) < STILL:
                break
            recall, _, share = self.model.explained(frame, low, high, followed)
            if _worth(recall, share) < worth - 2 * BETTER:  # points followed are more exact than what is explained
                break
            best, worth, matrix = (followed, recall, share), _worth(recall, share), followed
        return best

    def _far(
        self, frame: Picture, low: Picture, high: Picture, kept: float, colour: float
    ) -> tuple[Matrix, float, float] | None:
        """Quite another view that explains a sample much better than that of before; None: there is none."""
        self._rest -= 1
        if self._rest > 0 and kept >= self._failed - GAIN:
            return None
        best: tuple[Matrix, float, float] | None = None
        worth = _worth(kept, colour) + GAIN
        for matrix in proposals(self.model, frame, self.current):
            recall, precision, share = self.model.explained(frame, low, high, matrix)
            structure = 0.5 * (recall + precision)
            if _worth(structure, share) > worth and structure >= GOOD:
                best, worth = (matrix, recall, share), _worth(structure, share)
            if worth > ENOUGH:
                break
        self._rest, self._failed = (RESTING, kept) if best is None else (0, 1.0)
        return best


def _worth(structure: float, colour: float) -> float:
    return 0.7 * structure + 0.3 * colour


def track(frames: Spool, home: Home) -> tuple[list[View], NDArray[np.uint8]]:
    """The view of every sample (N), and where on the screen the canvas was seen, 255 (height, width).

    Samples before the blank canvas do not show it.
    """
    tracker = Tracker(home, frames[home.start])
    views = [View(identity(), 0.0, False)] * home.start
    views.append(View(identity(), 1.0, True))
    views.extend(tracker.see(frames[number]) for number in range(home.start + 1, len(frames)))
    return views, tracker.model.window.astype(np.uint8) * 255
