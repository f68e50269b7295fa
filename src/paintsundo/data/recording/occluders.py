"""Which changes that pass are things lying over the canvas: cursors, palettes, hands; and which are undone drawing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.recording.plateaus import Covers, Onsets, Rules

TOGETHER = 2  # samples within which the pixels of one thing come or go
UNDONE = 0.0008  # of the canvas, the least that goes at once as an undone stroke
AT_ONCE = 0.6  # share that came within a few samples: no stroke but a thing
FILLED = 0.65  # share of a panel's box that changes when it comes
LARGEST = 0.7  # of the canvas, that a panel covers
PEAK = 2.5  # how many times as much changes when a panel comes as around that sample
SETTLED = 3  # samples after which a panel's content is taken
HELD = 0.6  # share of a panel's content that is seen while it is there
MOVED = 0.85  # share below which it is looked for near by
REACH = 4  # pixels by which a panel moves from one sample to the next, at most
AGREE = 22  # levels within which a panel's content is the same
GRAIN = 8.0  # levels by which a panel's content varies at least: a plain area may be a fill, and painted over later
RIM = 0.008  # of the canvas' shorter side: the border and shadow of a panel


def undone(found: Covers, onsets: Onsets, samples: int, area: int) -> tuple[NDArray[np.bool_], list[Covers]]:
    """Which covers are drawing that was undone: they go all at once, but came little by little (N,).

    What was undone and soon done again, which comes back at once, was never gone: also the stretches in which it was.
    """
    marked = np.zeros(len(found.pixels), bool)
    gone: list[Covers] = []
    least = max(12.0, UNDONE * area)
    sums = np.convolve(np.bincount(found.ends, minlength=samples + 2), np.ones(3, int), "same")
    order = np.argsort(found.ends, kind="stable")
    ends = found.ends[order]
    for end in np.argsort(-sums, kind="stable"):
        if sums[end] < least:
            break
        group = order[np.searchsorted(ends, end - 1) : np.searchsorted(ends, end + 1, side="right")]
        group = group[~marked[group]]
        if len(group) < least:
            continue
        came = np.bincount(found.begins[group], minlength=samples + 1)
        if np.convolve(came, np.ones(3, int), "same").max() >= AT_ONCE * len(group):
            continue
        marked[group] = True
        inside = np.zeros(area, bool)
        inside[found.pixels[group]] = True
        later = onsets.samples[inside[onsets.pixels] & (onsets.samples > end + 1)]
        back = np.convolve(np.bincount(later, minlength=samples), np.ones(3, int), "same")
        again = np.flatnonzero(back >= AT_ONCE * len(group))
        if len(again):
            pixels = np.flatnonzero(inside).astype(np.int32)
            since, until = np.full_like(pixels, end - 1), np.full_like(pixels, int(again[0]) + 1)
            gone.append(Covers(pixels, since, until))
    return marked, gone


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


Box = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass
class Panel:
    """A box that came at once, followed from sample to sample."""

    begin: int
    picture: Picture  # (h, w, 3)
    grain: float  # standard deviation, levels
    boxes: list[Box]
    left: int
    top: int


def panels(
    onsets: Onsets, pictures: Iterable[Picture], size: tuple[int, int], samples: int, rules: Rules
) -> dict[int, list[Box]]:
    """Where panels lie at each sample: boxes that came at once, kept their content, moved or not, and went at once.

    Whatever was drawn beneath them meanwhile does not matter.

    Args:
        onsets: all changes of colour.
        pictures: the canvas (H, W, 3) as seen at each sample.
        size: (height, width).
        samples: how many there are.
        rules: `piece` and `long` are used.
    """
    coming = dict[int, list[Box]]()
    for sample, box in _sudden_boxes(onsets, size, samples, rules.piece):
        coming.setdefault(sample, []).append(box)
    followed: list[Panel] = []
    gone: list[Panel] = []
    for sample, picture in enumerate(pictures):
        going = []
        for panel in followed:
            share = _follow(panel, picture)
            if share >= HELD:
                going.append(panel)
            elif share < HELD / 2 and panel.grain > GRAIN and sample - panel.begin <= rules.long:
                gone.append(panel)
        followed = going
        for left, top, right, bottom in coming.get(sample - SETTLED, []):
            part = picture[top:bottom, left:right].copy()
            grain = float(part.reshape(-1, 3).std(axis=0).max())
            followed.append(Panel(sample - SETTLED, part, grain, [(left, top, right, bottom)] * SETTLED, left, top))
    found = dict[int, list[Box]]()
    rim = 1 + round(RIM * min(size))
    for panel in gone:
        boxes = [panel.boxes[0]] * TOGETHER + panel.boxes + [panel.boxes[-1]] * TOGETHER
        for sample, (left, top, right, bottom) in enumerate(boxes, panel.begin - TOGETHER):
            if 0 <= sample < samples:
                found.setdefault(sample, []).append((left - rim, top - rim, right + rim, bottom + rim))
    return found


def _follow(panel: Panel, picture: Picture) -> float:
    """The share of a panel that is still seen, at its place or near it; its box there is added."""
    share = _held(panel, picture, 0, 0)
    if share < MOVED:
        reach = range(-REACH, REACH + 1)
        tried = [(_held(panel, picture, x, y), -abs(x) - abs(y), x, y) for x in reach for y in reach]
        share, _, x, y = max(tried)
        panel.left, panel.top = panel.left + x, panel.top + y
    high, wide = panel.picture.shape[:2]
    panel.boxes.append((panel.left, panel.top, panel.left + wide, panel.top + high))
    return share


def _held(panel: Panel, picture: Picture, x: int, y: int) -> float:
    """The share of a panel's pixels that agree with the canvas, the panel moved by x, y; parts outside do not count."""
    (height, width), (high, wide) = picture.shape[:2], panel.picture.shape[:2]
    left, top = panel.left + x, panel.top + y
    right, bottom = min(width, left + wide), min(height, top + high)
    cut_x, cut_y = max(0, -left), max(0, -top)
    if right - left - cut_x < 4 or bottom - top - cut_y < 4:
        return 0.0
    part = picture[top + cut_y : bottom, left + cut_x : right]
    own = panel.picture[cut_y : bottom - top, cut_x : right - left]
    agree = cv2.inRange(cv2.absdiff(part, own), (0, 0, 0), (AGREE, AGREE, AGREE))
    return cv2.countNonZero(agree) / agree.size


def _sudden_boxes(onsets: Onsets, size: tuple[int, int], samples: int, least: float) -> Iterator[tuple[int, Box]]:
    """Samples at which a whole box changes, by sample."""
    area = size[0] * size[1]
    counts = np.bincount(onsets.samples, minlength=samples)
    order = np.argsort(onsets.samples, kind="stable")
    ordered = onsets.samples[order]
    around = np.ones((5, 5), np.uint8)
    for sample in range(samples):
        near = counts[max(0, sample - 4) : sample + 5]
        if counts[sample] < max(least * area, PEAK * np.median(near)):
            continue
        low, high = np.searchsorted(ordered, (sample - 1, sample + 2))
        mask = np.zeros(size, np.uint8)
        mask.ravel()[onsets.pixels[order[low:high]]] = 1
        count, _, stats, _ = cv2.connectedComponentsWithStats(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, around))
        for label in range(1, count):
            x, y, wide, tall, held = (int(value) for value in stats[label])
            if held >= least * area and held >= FILLED * wide * tall and wide * tall < LARGEST * area:
                yield sample, (x, y, x + wide, y + tall)


def masks(
    covers: Covers, boxes: Mapping[int, Sequence[Box]], size: tuple[int, int], samples: int
) -> list[NDArray[np.uint8]]:
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
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, around)
        for left, top, right, bottom in boxes.get(sample, ()):
            mask[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = 1
        rows.append(np.packbits(mask))
    return rows
