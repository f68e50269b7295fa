"""Which changes that pass are things lying over the canvas: cursors, palettes, hands; and which are undone drawing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.recording.plateaus import Covers, Onsets, Rules, to_lab

TOGETHER = 2  # samples within which the pixels of one thing come or go
UNDONE = 0.0008  # of the canvas, the least that goes at once as an undone stroke
AT_ONCE = 0.6  # share that came within a few samples: no stroke but a thing
ALIKE = 0.7  # overlap (intersection over union) of a panel's places when it comes and when it goes
RETURNED = 0.08  # share of a panel's place that shows after it what was there before
FILLED = 0.65  # share of a panel's box that changes when it comes or goes


def undone(found: Covers, samples: int, area: int) -> NDArray[np.bool_]:
    """Which of some covers are undone drawing: they go all at once, but came little by little."""
    marked = np.zeros(len(found.pixels), bool)
    counts = np.bincount(found.ends, minlength=samples + 2)
    sums = np.convolve(counts, np.ones(3, int), "same")
    order = np.argsort(found.ends, kind="stable")
    ends = found.ends[order]
    for end in np.argsort(-sums, kind="stable"):
        if sums[end] < max(12.0, UNDONE * area):
            break
        group = order[np.searchsorted(ends, end - 1) : np.searchsorted(ends, end + 1, side="right")]
        group = group[~marked[group]]
        if len(group) < max(12.0, UNDONE * area):
            continue
        came = np.bincount(found.begins[group], minlength=samples + 1)
        most = int(np.convolve(came, np.ones(3, int), "same").max())
        if most < AT_ONCE * len(group):
            marked[group] = True
    return marked


def pieces(found: Covers, size: tuple[int, int], samples: int, least: float) -> Iterator[Covers]:
    """Larger things that came at once and went at once, whole: also where something was drawn beneath meanwhile.

    Args:
        found: pixels whose earlier colour returned.
        size: (height, width).
        samples: how many there are.
        least: share of the canvas that such a thing covers.
    """
    height, width = size
    counts = np.zeros((samples + 1, samples + 1), np.float32)
    np.add.at(counts, (found.begins, found.ends), 1)
    side = 2 * TOGETHER + 1
    free = np.ones(len(found.pixels), bool)
    while True:
        sums = cv2.boxFilter(counts, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
        begin, end = np.unravel_index(int(np.argmax(sums)), sums.shape)
        if sums[begin, end] < least * height * width:
            return
        own = free & (np.abs(found.begins - begin) <= TOGETHER) & (np.abs(found.ends - end) <= TOGETHER)
        free &= ~own
        counts[max(0, begin - TOGETHER) : begin + TOGETHER + 1, max(0, end - TOGETHER) : end + TOGETHER + 1] = 0
        mask = np.zeros((height, width), np.uint8)
        mask.ravel()[found.pixels[own]] = 1
        covered = np.flatnonzero(filled(mask, least))
        since, until = int(found.begins[own].min()), int(found.ends[own].max())
        whole = np.full(len(covered), since, np.int32), np.full(len(covered), until, np.int32)
        yield Covers(covered.astype(np.int32), *whole)


def filled(mask: NDArray[np.uint8], least: float) -> NDArray[np.bool_]:
    """The convex hulls of the larger parts of a mask (H, W) that fill half of them."""
    shape = mask.shape
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    count, labels = cv2.connectedComponents(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, around))
    found = np.zeros(shape, np.uint8)
    for label in range(1, count):
        part = (labels == label).astype(np.uint8)
        held = int((part & mask).sum())
        if held < 0.3 * least * mask.size:
            continue
        points = cv2.findNonZero(part)
        hull = np.zeros(shape, np.uint8)
        cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
        found |= hull if held >= 0.5 * int(hull.sum()) else part
    return found > 0


def panels(
    onsets: Onsets, picture: Callable[[int], Picture], size: tuple[int, int], samples: int, rules: Rules
) -> Iterator[Covers]:
    """Boxes that came at once and went at once, even where nearly all beneath was painted anew meanwhile.

    Args:
        onsets: all changes of colour.
        picture: the canvas as seen at a sample.
        size: (height, width).
        samples: how many there are.
        rules: `piece` and `long` are used.
    """
    boxes = list(_sudden_boxes(onsets, size, samples, rules.piece))
    used: set[int] = set()
    for number, (begin, box) in enumerate(boxes):
        if number in used:
            continue
        for other in range(number + 1, len(boxes)):
            end, place = boxes[other]
            if end - begin > rules.long:
                break
            if other in used or end - begin < 2 * TOGETHER or overlap(box, place) < ALIKE:
                continue
            left, top = min(box[0], place[0]), min(box[1], place[1])
            right, bottom = max(box[2], place[2]), max(box[3], place[3])
            inside = np.s_[top:bottom, left:right]
            before, after, during = (
                to_lab(picture(int(np.clip(at, 0, samples - 1)))[inside])
                for at in (begin - 3, end + 3, (begin + end) // 2)
            )

            def alike(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
                return float((((one - two) ** 2).sum(axis=2) < rules.threshold**2).mean())

            back = alike(before, after)
            if back >= RETURNED and back > alike(during, after):
                used |= {number, other}
                rows, columns = np.mgrid[top:bottom, left:right]
                covered = (rows * size[1] + columns).ravel().astype(np.int32)
                since = np.full(len(covered), max(0, begin - TOGETHER), np.int32)
                yield Covers(covered, since, np.full(len(covered), min(samples, end + TOGETHER), np.int32))
                break


Box = tuple[int, int, int, int]  # left, top, right, bottom


def overlap(one: Box, two: Box) -> float:
    """Intersection over union."""
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    shared = max(0, width) * max(0, height)
    return shared / ((one[2] - one[0]) * (one[3] - one[1]) + (two[2] - two[0]) * (two[3] - two[1]) - shared)


def _sudden_boxes(onsets: Onsets, size: tuple[int, int], samples: int, least: float) -> Iterator[tuple[int, Box]]:
    """Samples at which a whole box changes, by sample."""
    height, width = size
    area = height * width
    counts = np.convolve(np.bincount(onsets.samples, minlength=samples), np.ones(2 * TOGETHER + 1, int), "same")
    order = np.argsort(onsets.samples, kind="stable")
    ordered = onsets.samples[order]
    around = np.ones((5, 5), np.uint8)
    for sample in range(samples):
        near = counts[max(0, sample - TOGETHER) : sample + TOGETHER + 1]
        if counts[sample] < least * area or counts[sample] < near.max() or (near[:TOGETHER] == counts[sample]).any():
            continue
        low, high = np.searchsorted(ordered, (sample - TOGETHER, sample + TOGETHER + 1))
        mask = np.zeros(size, np.uint8)
        mask.ravel()[onsets.pixels[order[low:high]]] = 1
        count, _, stats, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, around))
        for label in range(1, count):
            x, y, wide, high_, held = (int(value) for value in stats[label])
            if held >= least * area and held >= FILLED * wide * high_ and wide * high_ < 0.6 * area:
                yield sample, (x, y, x + wide, y + high_)


def masks(covers: Covers, size: tuple[int, int], samples: int) -> list[NDArray[np.uint8]]:
    """What is covered at each sample, small gaps closed: packed bits of (H * W)."""
    height, width = size
    on, off = np.argsort(covers.begins, kind="stable"), np.argsort(covers.ends, kind="stable")
    first_on = np.searchsorted(covers.begins[on], np.arange(samples + 1))
    first_off = np.searchsorted(covers.ends[off], np.arange(samples + 1))
    active = np.zeros(height * width, np.int32)
    side = 2 * max(1, round(0.012 * min(height, width))) + 1
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    rows = []
    for sample in range(samples):
        np.add.at(active, covers.pixels[on[first_on[sample] : first_on[sample + 1]]], 1)
        np.subtract.at(active, covers.pixels[off[first_off[sample] : first_off[sample + 1]]], 1)
        mask = (active > 0).astype(np.uint8).reshape(height, width)
        rows.append(np.packbits(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, around)))
    return rows
