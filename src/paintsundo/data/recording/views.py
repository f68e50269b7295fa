"""How the canvas is seen in each sample: zoomed, moved, turned or mirrored, or not at all.

A model of the canvas follows the drawing; each sample is explained by the model under the view of the sample before or,
where that fails, under other views: earlier ones, mirrored ones, and what matching of features proposes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.recording.canvas import Home, different
from paintsundo.data.recording.spool import Spool

Matrix = NDArray[np.float64]  # (2, 3), pixels at the beginning -> pixels of a sample

EDGE = 30  # levels of contrast that make a pixel part of the drawing's structure
NEAR = 20  # levels within which a pixel agrees with the model
FINE = 0.94  # share of the structure still in its place below which slight movements are looked for
KEPT = 0.82  # share below which quite other views are, and nothing is learnt
BETTER = 0.012  # by how much a slight movement must explain more
RIM_KEPT = 0.85  # share of what lies just outside the canvas that looks as at the beginning
SCREEN_KEPT = 0.6  # share of all the rest of the screen that does so while the canvas is in its first place
RIM_CONTRAST = 0.7  # share of the border at which canvas and surroundings must differ for that to say anything
STILL = 0.4  # pixels at the canvas' corners by which a view must move to be another
RESTING = 6  # samples after a search in vain before the next
GAIN = 0.12  # by how much another view must explain more
GOOD = 0.55  # what a new view must explain at least
LOST = 0.35  # structure still in its place below which, with LOST_COLOUR, a sample shows something else
LOST_COLOUR = 0.5
REMEMBERED = 8  # earlier views tried again
FEATURES = 600
SCALES = 0.2, 8.0  # possible enlargement
ENOUGH = 0.92  # explained: no other view is tried
CONTENT = 200  # pixels of structure inside the canvas, without which turns and mirroring cannot be told


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


def identity() -> Matrix:
    """The view of the beginning."""
    return np.eye(2, 3)


def kind(matrix: Matrix) -> dict[str, float | bool]:
    """Zoom factor, rotation in degrees and whether it mirrors, of a similarity."""
    turn = matrix[:, :2]
    mirrored = bool(np.linalg.det(turn) < 0)
    if mirrored:
        turn = turn @ np.diag([-1.0, 1.0])
    angle = float(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))
    return {"zoom": float(np.sqrt(abs(np.linalg.det(turn)))), "degrees": angle, "mirrored": mirrored}


def compose(after: Matrix, before: Matrix) -> Matrix:
    """First `before`, then `after`."""
    return np.asarray((np.vstack([after, [0, 0, 1]]) @ np.vstack([before, [0, 0, 1]]))[:2])


def moved(matrix: Matrix, other: Matrix, points: NDArray[np.float64]) -> float:
    """How far apart, in pixels, two views bring some points (N, 2), at most."""
    apart = (points @ (matrix - other)[:, :2].T) + (matrix - other)[:, 2]
    return float(np.hypot(apart[:, 0], apart[:, 1]).max())


class Tracker:
    """Follows the canvas through the small frames, forward from the blank canvas."""

    def __init__(self, home: Home, first: Picture) -> None:
        self.home = home
        self.size = (first.shape[1], first.shape[0])
        self.background = first.copy()
        self.model = first.copy()
        self.inside = home.mask(first.shape[:2])  # type: ignore[arg-type]
        around = cv2.dilate(self.inside, np.ones((5, 5), np.uint8))
        self.around = around
        self.corners = home.corners
        self.window = self.inside > 0  # where on the screen the canvas may be seen
        rim = (cv2.dilate(self.inside, np.ones((9, 9), np.uint8)) > 0) & (around == 0)
        self.surround: NDArray[np.uint8] | None = None
        if rim.any():
            colour = np.median(first[rim], axis=0)
            if (np.abs(first[rim] - colour).max(axis=1) <= NEAR).mean() > 0.7:
                self.surround = colour.astype(np.uint8)
        self.snapshot = first.copy()  # the model when the canvas was last in its first place
        self.rim, self.edge = self._borders(first)
        self.outside = cv2.dilate(self.inside, np.ones((13, 13), np.uint8)) == 0
        self.homes = [identity(), *list(self._turns())[:3]]
        self.views: list[Matrix] = [identity()]
        self.current = identity()
        self._rest = 0  # samples for which no view is searched for thoroughly, after that was in vain
        self._failed = 1.0  # what was explained then

    def _borders(self, first: Picture) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_]]:
        """Pixels just outside and just inside the canvas; no outside where it cannot be told from the inside."""
        wide, narrow = (cv2.dilate(self.inside, np.ones((side, side), np.uint8)) > 0 for side in (13, 5))
        deep, shallow = (cv2.erode(self.inside, np.ones((side, side), np.uint8)) > 0 for side in (13, 5))
        rim, edge = wide & ~narrow, shallow & ~deep
        if rim.sum() < 100 or self.surround is None:
            return None, edge
        away = np.abs(first[rim].astype(np.int16) - self.home.paper).max(axis=1) > NEAR
        return (rim if away.mean() >= RIM_CONTRAST else None), edge

    def see(self, frame: Picture) -> View:
        """The view of the next sample; the model learns what is new in it."""
        low, high = _range(frame)
        kept, _, colour = self._explained(frame, low, high, self.current)
        home = self._rim_in_place(frame)
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
        settled = home and self._is_home(self.current) and kept >= (LOST if self._is_first(self.current) else GOOD)
        if kept < KEPT and not settled:
            far = self._far(frame, low, high, kept, colour)
            if far is not None:
                self._adopt(far[0])
                kept, colour = far[1:]
        if not settled and not self._believable(frame, kept, colour):
            return View(self.current, kept, False)
        self._learn(frame)
        if self._is_first(self.current):
            self.snapshot = self.model.copy()
        return View(self.current, kept, True)

    def _believable(self, frame: Picture, kept: float, colour: float) -> bool:
        """Whether a sample shows the canvas under the current view, where its border does not tell."""
        if not self._is_home(self.current):
            return kept >= KEPT
        if self.rim is not None and (~different(frame, self.background, NEAR))[self.outside].mean() < SCREEN_KEPT:
            return False  # a fade: the program's window changes too
        return kept >= LOST or colour >= LOST_COLOUR

    @staticmethod
    def _is_first(matrix: Matrix) -> bool:
        return bool(np.array_equal(matrix, identity()))

    def _is_home(self, matrix: Matrix) -> bool:
        """Whether the canvas lies where it lay at the beginning, mirrored or not."""
        return any(np.allclose(matrix, other, atol=1e-6) for other in self.homes)

    def _rim_in_place(self, frame: Picture) -> bool:
        """Whether what is just outside the canvas looks as at the beginning, and what is just inside like canvas."""
        if self.rim is None or self.surround is None:
            return False
        same = ~different(frame, self.background, NEAR)
        if same[self.rim].mean() < RIM_KEPT:
            return False
        bare, known = (
            (np.abs(picture[self.edge].astype(np.int16) - self.surround).max(axis=1) <= NEAR // 2).mean()
            for picture in (frame, self.snapshot)
        )
        return bool(bare <= known + 0.3)

    def _at_home(self, frame: Picture, low: Picture, high: Picture) -> tuple[Matrix, float, float] | None:
        """The best of the views with the canvas in its first place, by the model as it was last seen there, or None."""
        before = self.model
        best: tuple[Matrix, float, float] | None = None
        for model in (before, self.snapshot):
            self.model = model
            for matrix in self.homes if self._has_content() else self.homes[:1]:
                recall, _, share = self._explained(frame, low, high, matrix)
                least = LOST if self._is_first(matrix) else GOOD
                if recall >= least and (best is None or _worth(recall, share) > _worth(*best[1:]) + BETTER):
                    best, chosen = (matrix, recall, share), model
        self.model = before if best is None else chosen.copy()
        return best

    def _adopt(self, matrix: Matrix) -> None:
        self.current = matrix
        if not any(matrix is known for known in self.views):
            self.views = [*self.views[-REMEMBERED + 1 :], matrix]
            if not any(np.array_equal(known, identity()) for known in self.views):
                self.views[0] = identity()

    def _near(
        self, frame: Picture, low: Picture, high: Picture, kept: float, colour: float
    ) -> tuple[Matrix, float, float] | None:
        """The view of before a little moved, or a known one, if it explains more."""
        best: tuple[Matrix, float, float] | None = None
        worth = _worth(kept, colour) + BETTER
        known = self.views[::-1] if kept < KEPT else [identity()]
        for matrix in known:
            recall, _, share = self._explained(frame, low, high, matrix)
            if _worth(recall, share) > worth and recall > GOOD:
                best, worth = (matrix, recall, share), _worth(recall, share)
        if best is not None and best[1] > FINE:
            return best
        matrix = self.current if best is None else best[0]
        for _ in range(2):
            followed = self.refined(frame, matrix)
            if followed is None or moved(followed, matrix, self.corners) < STILL:
                break
            recall, _, share = self._explained(frame, low, high, followed)
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
        for matrix in self._proposals(frame):
            recall, precision, share = self._explained(frame, low, high, matrix)
            structure = 0.5 * (recall + precision)
            if _worth(structure, share) > worth and structure >= GOOD:
                best, worth = (matrix, recall, share), _worth(structure, share)
            if worth > ENOUGH:
                break
        self._rest, self._failed = (RESTING, kept) if best is None else (0, 1.0)
        return best

    def _explained(self, frame: Picture, low: Picture, high: Picture, matrix: Matrix) -> tuple[float, float, float]:
        """Shares 0 ... 1 that this view explains: of the model's structure, of the frame's, of all the canvas."""
        shown = cv2.warpAffine(self.model, matrix, self.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        foot = cv2.warpAffine(self.around, matrix, self.size, flags=cv2.INTER_NEAREST) > 0
        screen = (self.inside == 0) & ~different(frame, self.background, NEAR)  # the program's window, on top
        counted = foot & ~screen
        bare = (self.inside > 0) & ~foot  # of the canvas' first place: its surroundings show
        seen = cv2.countNonZero(counted.view(np.uint8))
        if seen < 0.02 * cv2.countNonZero(self.inside):
            return 0.0, 0.0, 0.0
        shown_low, shown_high = _range(shown)
        wrong = (_outside(shown, low, high) | _outside(frame, shown_low, shown_high)) & counted
        mine, theirs = _strong(shown_low, shown_high) & counted, _strong(low, high) & counted
        total, bad = seen, cv2.countNonZero(wrong.view(np.uint8))
        if self.surround is not None and bare.any():
            total += cv2.countNonZero(bare.view(np.uint8))
            bad += int((np.abs(frame[bare].astype(np.int16) - self.surround).max(axis=1) > NEAR).sum())
        colour = 1 - bad / max(1, total)
        found = [
            1 - cv2.countNonZero((wrong & edges).view(np.uint8)) / max(1, cv2.countNonZero(edges.view(np.uint8)))
            for edges in (mine, mine | theirs)
        ]
        if cv2.countNonZero(mine.view(np.uint8)) < 30:
            return colour, colour, colour
        return found[0], found[1], colour

    def _proposals(self, frame: Picture) -> Iterator[Matrix]:
        """Views that may explain a sample."""
        if not self._has_content():
            aligned = self._aligned(frame)
            if aligned is not None:
                yield aligned
            return
        for matrix in self._matched(frame):
            yield matrix
            better = self.refined(frame, matrix)
            if better is not None:
                yield better
                again = self.refined(frame, better)
                if again is not None:
                    yield again
        for base in (self.current, identity()):
            for turn in self._turns():
                yield compose(base, turn)

    def _has_content(self) -> bool:
        inner = cv2.erode(self.inside, np.ones((9, 9), np.uint8)) > 0
        return int((_strong(*_range(self.model)) & inner).sum()) >= CONTENT

    def _aligned(self, frame: Picture) -> Matrix | None:
        """The view of before, shifted and turned: where there is nothing but the canvas' border to follow."""
        shown = cv2.warpAffine(self.model, self.current, self.size, borderMode=cv2.BORDER_REPLICATE)
        foot = cv2.warpAffine(cv2.dilate(self.around, np.ones((7, 7), np.uint8)), self.current, self.size)
        change = correlated(shown, frame, foot)
        return None if change is None else compose(change, self.current)

    def _turns(self) -> Iterator[Matrix]:
        """Mirrored left to right and top to bottom, and turned by quarters, about the middle of the canvas."""
        x, y = self.corners.mean(axis=0) - 0.5
        for a, b, c, d in ((-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1), (0, -1, 1, 0), (0, 1, -1, 0)):
            yield np.array([[a, b, x - a * x - b * y], [c, d, y - c * x - d * y]], np.float64)

    def _matched(self, frame: Picture) -> Iterator[Matrix]:
        """Similarities by features of the model and of its mirror image found in the frame."""
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        model = cv2.cvtColor(self.model, cv2.COLOR_RGB2GRAY)
        screen = ((self.inside == 0) & ~different(frame, self.background, NEAR)).astype(np.uint8)
        free = (1 - cv2.dilate(screen, np.ones((3, 3), np.uint8)) * (self.inside == 0)) * 255
        sift: Any = cv2.SIFT  # its stubs leave `create` out
        detector = sift.create(nfeatures=FEATURES, contrastThreshold=0.02)
        points, marks = detector.detectAndCompute(grey, free.astype(np.uint8))
        if marks is None or len(points) < 6:
            return
        width = self.size[0]
        mirror = np.array([[-1.0, 0, width - 1], [0, 1, 0]])
        for flipped in (False, True):
            picture, mask = (model[:, ::-1], self.inside[:, ::-1]) if flipped else (model, self.inside)
            own, own_marks = detector.detectAndCompute(np.ascontiguousarray(picture), np.ascontiguousarray(mask))
            if own_marks is None or len(own) < 6:
                continue
            pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(own_marks, marks, k=2)
            good = [pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < 0.8 * pair[1].distance]
            if len(good) < 6:
                continue
            source = np.array([own[match.queryIdx].pt for match in good])
            target = np.array([points[match.trainIdx].pt for match in good])
            matrix, inliers = cv2.estimateAffinePartial2D(
                source, target, method=cv2.RANSAC, ransacReprojThreshold=2.0, maxIters=4000, confidence=0.999
            )
            if matrix is None or int(inliers.sum()) < 6 or not sensible(matrix):
                continue
            yield compose(matrix, mirror) if flipped else np.asarray(matrix)

    def refined(self, frame: Picture, matrix: Matrix) -> Matrix | None:
        """A view made more exact by following points of the model into the frame (Lucas and Kanade)."""
        shown = cv2.warpAffine(self.model, matrix, self.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        foot = cv2.warpAffine(self.around, matrix, self.size, flags=cv2.INTER_NEAREST)
        screen = (self.inside == 0) & ~different(frame, self.background, NEAR)
        change = follow(shown, frame, np.where(screen, 0, foot).astype(np.uint8))
        return None if change is None else compose(change, matrix)

    def _learn(self, frame: Picture) -> None:
        """Bring what is new in the frame into the model, where the canvas is seen."""
        if self._is_first(self.current):
            cv2.copyTo(frame, self.inside, self.model)
            return
        foot = cv2.warpAffine(self.inside, self.current, self.size, flags=cv2.INTER_NEAREST) > 0
        shown = cv2.warpAffine(self.model, self.current, self.size, flags=cv2.INTER_LINEAR)
        outer = foot & (self.inside == 0) & different(frame, self.background, NEAR) & ~different(frame, shown, NEAR)
        self.window = widened(self.window, outer)
        seen = (foot & self.window).astype(np.uint8) * 255
        size = self.size
        back = cv2.warpAffine(frame, self.current, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        there = cv2.warpAffine(seen, self.current, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP) > 250
        low, high = _range(self.model)
        back_low, back_high = _range(back)
        new = (_outside(back, low, high) | _outside(self.model, back_low, back_high)) & there & (self.inside > 0)
        cv2.copyTo(back, new.astype(np.uint8) * 255, self.model)


def widened(window: NDArray[np.bool_], seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
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


def sensible(matrix: Matrix) -> bool:
    """Whether an enlargement is possible."""
    return SCALES[0] <= float(np.sqrt(abs(np.linalg.det(matrix[:, :2])))) <= SCALES[1]


def follow(before: Picture, after: Picture, mask: NDArray[np.uint8], reach: int = 21, least: int = 8) -> Matrix | None:
    """The similarity that brings most points of one picture to their places in a slightly different one, or None."""
    first, second = cv2.cvtColor(before, cv2.COLOR_RGB2GRAY), cv2.cvtColor(after, cv2.COLOR_RGB2GRAY)
    points = cv2.goodFeaturesToTrack(first, 300, 0.01, 4, mask=mask)
    if points is None or len(points) < least:
        return None
    ways: dict[str, Any] = {"winSize": (reach, reach), "maxLevel": 3}
    there, found, _ = cv2.calcOpticalFlowPyrLK(first, second, points, None, **ways)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(second, first, there, None, **ways)
    error = np.abs(back - points).reshape(-1, 2).max(axis=1)
    good = (found.ravel() == 1) & (found_back.ravel() == 1) & (error < 0.5)
    if good.sum() < least:
        return None
    matrix, inliers = cv2.estimateAffinePartial2D(
        points.reshape(-1, 2)[good],
        there.reshape(-1, 2)[good],
        method=cv2.RANSAC,
        ransacReprojThreshold=0.7,
        maxIters=2000,
        confidence=0.999,
    )
    if matrix is None or int(inliers.sum()) < max(least, 0.4 * int(good.sum())) or not sensible(matrix):
        return None
    return np.asarray(matrix, np.float64)


def correlated(before: Picture, after: Picture, mask: NDArray[np.uint8]) -> Matrix | None:
    """The shift and turn after which two pictures correlate best (Evangelidis and Psarakis 2008), or None."""
    first, second = cv2.cvtColor(before, cv2.COLOR_RGB2GRAY), cv2.cvtColor(after, cv2.COLOR_RGB2GRAY)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
    change = np.eye(2, 3, dtype=np.float32)
    try:
        _, change = cv2.findTransformECC(first, second, change, cv2.MOTION_EUCLIDEAN, criteria, mask, 5)
    except cv2.error:  # they do not correlate
        return None
    return np.asarray(change, np.float64)


def _range(picture: Picture) -> tuple[Picture, Picture]:
    """Lowest and highest values of each pixel and its eight neighbours."""
    around = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.erode(picture, around)), np.asarray(cv2.dilate(picture, around))


def _outside(picture: Picture, low: Picture, high: Picture) -> NDArray[np.bool_]:
    """Pixels (H, W) that lie outside a range by more than NEAR in some channel."""
    beyond = cv2.max(cv2.subtract(low, picture), cv2.subtract(picture, high))
    return np.asarray(cv2.inRange(beyond, (0, 0, 0), (NEAR, NEAR, NEAR)) == 0)


def _strong(low: Picture, high: Picture) -> NDArray[np.bool_]:
    return np.asarray(cv2.inRange(cv2.subtract(high, low), (0, 0, 0), (EDGE, EDGE, EDGE)) == 0)


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
    return views, tracker.window.astype(np.uint8) * 255
