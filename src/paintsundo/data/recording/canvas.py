"""Where the canvas lies: the blank sheet at the beginning on which the drawing gradually appears."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.recording.spool import Spool
from paintsundo.data.source import Unusable

BARRIER = 7  # difference between neighbouring pixels, in levels, that ends a smooth region
FAINT = 2  # the same, for canvases that hardly differ from what lies around them
DIFFERENT = 22  # levels by which a pixel differs from an earlier one
LEAST_AREA = 0.03  # of a frame
LEAST_FILL = 0.8  # share of its bounding box that a blank sheet fills, cursors and palettes lying on it
BLANK = 0.004  # share of the canvas that may differ on a blank one: a cursor
JUMP = 0.12  # of the canvas: more at once is a cut or a zoom, not drawing
REFERENCES = 16  # frames in which a blank sheet is looked for
STEPS = 240  # samples at which growth is measured
DENSER = 1.3  # times as much of a sheet that lies within another must be drawn on, to be taken instead
CARD = 3.0  # the same, of a sheet seen later than what was a card, not a canvas
LATER = 2.0  # times as much must be drawn on a blank sheet seen later, to be taken instead
LEAST_GROWTH = 0.01  # of the canvas: less is no drawing

Corners = NDArray[np.float64]  # (4, 2) x, y: top left, top right, bottom right, bottom left; pixel edges, not centres


@dataclass(frozen=True)
class Home:
    """The canvas as it lies at the beginning.

    Attributes:
        corners: in pixels of the small frames.
        start: the sample at which the canvas is last blank.
        blank: whether it is blank there; otherwise the recording begins with something drawn.
        paper: the colour of the blank canvas, (3,).
        straight: whether the canvas is a rectangle parallel to the frame.
        whole: whether it fills the frame.
        exact: whether the corners were given, not found.
    """

    corners: Corners
    start: int
    blank: bool
    paper: NDArray[np.uint8]
    straight: bool
    whole: bool
    exact: bool = False

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Bounding box: left, top, right, bottom."""
        (left, top), (right, bottom) = self.corners.min(axis=0), self.corners.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    def mask(self, shape: tuple[int, int]) -> NDArray[np.uint8]:
        """255 inside, (height, width)."""
        return polygon_mask(self.corners, shape)


def rectangle(left: float, top: float, right: float, bottom: float) -> Corners:
    """The corners of a box."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)


def polygon_mask(corners: Corners, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """255 on pixels whose middle lies in a convex polygon, (height, width)."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, np.round((corners - 0.5) * 256).astype(np.int32), 255, cv2.LINE_8, 8)
    return mask


def different(first: Picture, second: Picture, levels: int = DIFFERENT) -> NDArray[np.bool_]:
    """Pixels (H, W) that differ by more in some channel."""
    return np.asarray(cv2.inRange(cv2.absdiff(first, second), (0, 0, 0), (levels, levels, levels)) == 0)


def sheets(frame: Picture, noise: int = 0, limit: int = BARRIER) -> Iterator[Corners]:
    """Blank four-sided sheets in a frame, the largest first: smooth regions that fill a rectangle or quadrilateral."""
    calm = cv2.medianBlur(frame, 5) if noise else frame
    barrier = np.zeros(frame.shape[:2], np.uint8)
    limit += noise
    barrier[:, 1:] |= (cv2.absdiff(calm[:, 1:], calm[:, :-1]).max(axis=2) > limit).astype(np.uint8)
    barrier[1:] |= (cv2.absdiff(calm[1:], calm[:-1]).max(axis=2) > limit).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(1 - barrier, connectivity=4)
    least = LEAST_AREA * barrier.size
    order = sorted(range(1, count), key=lambda label: -int(stats[label, cv2.CC_STAT_AREA]))
    for label in order[:12]:
        x, y, width, height, area = (int(value) for value in stats[label])
        if area < least:
            return
        if area >= LEAST_FILL * width * height:
            yield _settled(labels == label, x, y, width, height)
            continue
        corners = _quadrilateral((labels == label).astype(np.uint8))
        if corners is not None:
            yield corners


def _settled(inside: NDArray[np.bool_], x: int, y: int, width: int, height: int) -> Corners:
    """The rectangle most rows and columns of a region agree on; a thread of like colour may hang out of it."""
    columns = inside[y : y + height, x : x + width].mean(axis=0) > 0.5
    rows = inside[y : y + height, x : x + width].mean(axis=1) > 0.5
    across, down = np.flatnonzero(columns), np.flatnonzero(rows)
    if not len(across) or not len(down):
        return rectangle(x, y, x + width, y + height)
    return rectangle(x + across[0], y + down[0], x + across[-1] + 1, y + down[-1] + 1)


def _quadrilateral(inside: NDArray[np.uint8]) -> Corners | None:
    """A convex four-sided outline of a region, or None."""
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = cv2.convexHull(max(contours, key=cv2.contourArea))
    area = float(cv2.contourArea(hull))
    if area <= 0 or inside.sum() < 0.85 * area:
        return None
    length = cv2.arcLength(hull, True)
    for share in (0.01, 0.02, 0.03, 0.05, 0.08):
        outline = cv2.approxPolyDP(hull, share * length, True)
        if len(outline) == 4:
            if cv2.contourArea(outline) < 0.9 * area:
                return None
            return ordered(outline.reshape(4, 2) + 0.5)
    return None


def ordered(points: NDArray[np.float64]) -> Corners:
    """Four corners, the one nearest the top left first, clockwise."""
    middle = points.mean(axis=0)
    turn = np.arctan2(points[:, 1] - middle[1], points[:, 0] - middle[0])
    around = points[np.argsort(turn)]
    return np.asarray(np.roll(around, -int(np.argmin(around.sum(axis=1))), axis=0), np.float64)


class Course:
    """Some samples from the whole recording at half size, to measure how areas change."""

    def __init__(self, frames: Spool) -> None:
        self.numbers = np.unique(np.round(np.linspace(0, len(frames) - 1, STEPS)).astype(np.intp))
        self.pictures = [_half(frames[int(number)]) for number in self.numbers]

    def changed(self, reference: Picture, since: int = 0) -> NDArray[np.bool_]:
        """Where each of the samples after `since` differs from a small frame: (K, h, w)."""
        before = _half(reference)
        later = [picture for number, picture in zip(self.numbers, self.pictures, strict=True) if number >= since]
        return np.stack([different(picture, before) for picture in [before, *later]])


def _half(frame: Picture) -> Picture:
    height, width = frame.shape[:2]
    return np.asarray(cv2.resize(frame, (width // 2, height // 2), interpolation=cv2.INTER_AREA))


def gradual(shares: NDArray[np.float64]) -> tuple[float, float]:
    """How much of an area changes little by little, and over what share of the time; shares changed (K,)."""
    if len(shares) < 3:
        return 0.0, 0.0
    window = max(1, len(shares) // 40)
    calm = np.array([np.median(shares[max(0, k - window) : k + window + 1]) for k in range(len(shares))])
    rises = np.diff(calm)
    rises[(rises > JUMP) | (rises < 0)] = 0
    total = float(rises.sum())
    if total <= 0:
        return 0.0, 0.0
    done = np.cumsum(rises) / total
    spread = float(np.searchsorted(done, 0.9) - np.searchsorted(done, 0.1)) / len(shares)
    return min(total, float(np.ptp(calm))), spread  # a trembling camera changes much and to no end


def find(frames: Spool, noise: int = 0) -> Home:
    """Find the canvas in the small frames of a recording.

    Of all blank sheets in some of the frames, the one on which most appears little by little. Where none is blank:
    the region in which the picture gradually changes, out to the nearest long lines.

    Raises:
        Unusable: nothing is drawn.
    """
    best: tuple[float, float, Corners, int] | None = None
    course = Course(frames)
    for reference in _cuts(frames):
        found = _candidates(frames[reference], noise)
        if not found:
            continue
        changed = course.changed(frames[reference], reference)
        for corners in found:
            mask = polygon_mask(corners / 2, changed.shape[1:]) > 0  # type: ignore[arg-type]
            if not mask.any():
                continue
            total, spread = gradual(changed[:, mask].mean(axis=1))
            score = total * float(mask.sum()) * min(1.0, spread / 0.25)
            if total <= LEAST_GROWTH:
                continue
            if best is not None:
                inside, first = _contains(best[2], corners), reference == best[3]
                if first:
                    needed = 0.5 if inside and total > DENSER * best[1] else 1.1
                else:  # a blank sheet seen enlarged later is the same one; but a title card is none
                    needed = 1.0 if inside and total > CARD * best[1] else LATER
                if score <= needed * best[0]:
                    continue
            best = score, total, corners, reference
    height, width = frames.shape[:2]
    if best is None:
        return _without_blank(frames, course)
    _, _, corners, reference = best
    start, paper = _last_blank(frames, corners, reference)
    corners = grown(frames[start], corners)
    straight = bool(np.ptp(corners[[0, 3], 0]) + np.ptp(corners[[1, 2], 0]) + np.ptp(corners[[0, 1], 1]) < 1e-6)
    left, top = corners.min(axis=0)
    right, bottom = corners.max(axis=0)
    whole = straight and left <= 1 and top <= 1 and right >= width - 1 and bottom >= height - 1
    return Home(corners, start, True, paper, straight, whole)


def _candidates(frame: Picture, noise: int) -> list[Corners]:
    """Blank sheets, also those that hardly differ from what lies around them."""
    found = list(sheets(frame, noise))
    if not noise:
        for corners in sheets(frame, limit=FAINT):
            if all(np.abs(corners - other).max() > 3 for other in found):
                found.append(corners)
    return found


def _contains(outer: Corners, inner: Corners) -> bool:
    (left, top), (right, bottom) = outer.min(axis=0) - 2, outer.max(axis=0) + 2
    return bool((inner >= (left, top)).all() and (inner <= (right, bottom)).all())


def given(frames: Spool, corners: Corners) -> Home:
    """A canvas whose corners, in pixels of the small frames, are known."""
    height, width = frames.shape[:2]
    start, paper = _last_blank(frames, corners, 0)
    left, top = np.floor(corners.min(axis=0)).astype(int)
    right, bottom = np.ceil(corners.max(axis=0)).astype(int)
    part = frames[start][top:bottom, left:right]
    blank = bool(different(part, np.broadcast_to(paper, part.shape)).mean() < 0.05)
    whole = left <= 0 and top <= 0 and right >= width and bottom >= height
    return Home(corners, start if blank else 0, blank, paper, True, whole, exact=True)


def grown(frame: Picture, corners: Corners) -> Corners:
    """The smooth inside of a sheet ends a pixel before its border: the rectangle out to the frame where it is near."""
    height, width = frame.shape[:2]
    found = corners.copy()
    found[:, 0] = np.where(found[:, 0] <= 1.5, 0, np.where(found[:, 0] >= width - 1.5, width, found[:, 0]))
    found[:, 1] = np.where(found[:, 1] <= 1.5, 0, np.where(found[:, 1] >= height - 1.5, height, found[:, 1]))
    return found


def _cuts(frames: Spool) -> list[int]:
    """Samples at which to look for a blank sheet: the first, those after great changes, and some in between."""
    count = len(frames)
    chosen = {0, min(3, count - 1)}
    sizes = []
    before = _half(frames[0])
    for number in range(1, count):
        after = _half(frames[number])
        sizes.append(float(different(before, after).mean()))
        before = after
    great = [number + 1 for number in np.argsort(sizes)[::-1][: REFERENCES // 2] if sizes[number] > 0.15]
    for number in great:
        chosen |= {number, min(number + 2, count - 1)}
    chosen |= {int(number) for number in np.linspace(0, 0.4 * (count - 1), REFERENCES // 2)}
    return sorted(chosen)


def _last_blank(frames: Spool, corners: Corners, reference: int) -> tuple[int, NDArray[np.uint8]]:
    """The last sample before the drawing at which the sheet is blank, and its colour."""
    left, top = np.ceil(corners.min(axis=0)).astype(int)
    right, bottom = np.floor(corners.max(axis=0)).astype(int)
    mask = polygon_mask(corners, frames.shape[:2])[top:bottom, left:right] > 0  # type: ignore[arg-type]
    mask = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    first = frames[reference][top:bottom, left:right]
    paper = np.median(first[mask], axis=0).astype(np.uint8)
    shares = []
    for number in range(reference, len(frames)):
        part = frames[number][top:bottom, left:right]
        shares.append(float(different(part, first)[mask].mean()))
        if len(shares) > 0.5 * len(frames) and len(shares) > 20:
            break
    values = np.array(shares)
    window = max(2, len(values) // 60)
    calm = np.array([np.median(values[max(0, k - window) : k + window + 1]) for k in range(len(values))])
    drawn = np.flatnonzero(calm > max(0.03, 6 * BLANK))
    until = int(drawn[0]) if len(drawn) else len(values)
    low = float(values[: max(1, until)].min())
    blank = np.flatnonzero(values[: max(1, until)] <= max(low + 0.0004, BLANK / 8))
    return reference + int(blank[-1]), paper


def _without_blank(frames: Spool, course: Course) -> Home:
    """The canvas of a recording that begins with something drawn: where the picture changes and keeps changing."""
    count = len(frames)
    height, width = frames.shape[:2]
    first = _median(frames, np.arange(0, max(1, min(5, count))))
    last = _median(frames, np.arange(max(0, count - 5), count))
    half = _half(first)
    changed = course.changed(first)
    lasting = different(_half(last), half) & (changed.mean(axis=0) > 0.1)
    if lasting.mean() < 0.002:
        raise Unusable("nothing is drawn: the picture stays the same")
    total, spread = gradual(changed[:, lasting].mean(axis=1))
    if total < 0.2 or spread < 0.05:
        raise Unusable("no canvas found on which a drawing gradually appears")
    columns, rows = lasting.sum(axis=0), lasting.sum(axis=1)
    across, down = np.flatnonzero(columns > 0.03 * columns.max()), np.flatnonzero(rows > 0.03 * rows.max())
    box = [2.0 * across[0], 2.0 * down[0], 2.0 * across[-1] + 2, 2.0 * down[-1] + 2]
    left, top, right, bottom = _out_to_lines(first, last, box)
    paper = np.median(first[round(top) : round(bottom), round(left) : round(right)].reshape(-1, 3), axis=0)
    whole = left <= 0 and top <= 0 and right >= width and bottom >= height
    return Home(rectangle(left, top, right, bottom), 0, False, paper.astype(np.uint8), True, whole)


def _median(frames: Spool, numbers: NDArray[np.intp]) -> Picture:
    return np.median(np.stack([frames[int(number)] for number in numbers]), axis=0).astype(np.uint8)


def _out_to_lines(first: Picture, last: Picture, box: Sequence[float]) -> tuple[float, float, float, float]:
    """A box widened to the nearest straight lines present at the beginning and at the end, else to the frame."""
    height, width = first.shape[:2]
    left, top, right, bottom = (round(value) for value in box)
    along_x, along_y = slice(left, max(right, left + 1)), slice(top, max(bottom, top + 1))
    steps_x = np.minimum(*(np.abs(np.diff(f.astype(np.int16), axis=1)).max(axis=2) for f in (first, last)))
    steps_y = np.minimum(*(np.abs(np.diff(f.astype(np.int16), axis=0)).max(axis=2) for f in (first, last)))
    lines_x = (steps_x[along_y] > BARRIER).mean(axis=0) > 0.6  # step between column k and k + 1
    lines_y = (steps_y[:, along_x] > BARRIER).mean(axis=1) > 0.6

    def outward(lines: NDArray[np.bool_], low: int, high: int, end: int) -> tuple[float, float]:
        before = np.flatnonzero(lines[: max(0, low + 3)])
        after = np.flatnonzero(lines[max(0, high - 4) :]) + max(0, high - 4)
        return (float(before[-1] + 1) if len(before) else 0.0), (float(after[0] + 1) if len(after) else float(end))

    left_, right_ = outward(lines_x, left, right, width)
    top_, bottom_ = outward(lines_y, top, bottom, height)
    return left_, top_, right_, bottom_
