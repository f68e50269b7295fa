"""What lies over the canvas at each sample: panels followed as they move, and all that only passes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.recording.events import TOGETHER, Events
from paintsundo.data.recording.plateaus import Covers, Rules

FILLED = 0.65  # share of a panel's box that changes when it comes
LARGEST = 0.7  # of the canvas, that a panel covers
SETTLED = 3  # samples after which a panel's content is taken
DISTINCT = 0.15  # share of a panel that differs from what lay there before, at least
HELD = 0.6  # share of that which is seen while the panel is there
MOVED = 0.85  # share below which it is looked for near by
REACH = 4  # pixels by which a panel moves from one sample to the next, at most
AT_ONCE = 4  # samples within which it goes
GONE = 0.3  # share of what goes with it that an event must change
AGREE = 22  # levels within which a panel's content is the same
RIM = 0.008  # of the canvas' shorter side: the border and shadow of a panel


Box = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass
class Panel:
    """A box that came at once, followed from sample to sample."""

    begin: int
    picture: Picture  # (h, w, 3)
    distinct: NDArray[np.uint8]  # 255 where it differs from what was there before (h, w)
    boxes: list[Box]
    left: int
    top: int
    seen: int  # the sample at which it was last seen as a whole


def panels(
    events: Events, pictures: Iterable[Picture], size: tuple[int, int], samples: int, rules: Rules
) -> dict[int, list[Box]]:
    """Where panels lie at each sample: boxes that came at once, kept their content, moved or not, and went at once.

    Whatever was drawn beneath them meanwhile does not matter.

    Args:
        events: changes of larger pieces at once.
        pictures: the canvas (H, W, 3) as seen at each sample.
        size: (height, width).
        samples: how many there are.
        rules: `piece` and `long` are used.
    """
    coming = dict[int, list[Box]]()
    for sample, box in _sudden_boxes(events, size, rules.piece):
        coming.setdefault(sample, []).append(box)
    followed: list[Panel] = []
    gone: list[Panel] = []
    earlier: list[Picture] = []
    for sample, picture in enumerate(pictures):
        going = []
        for panel in followed:
            share = _follow(panel, picture)
            if share >= HELD:
                panel.seen = sample
            if share >= HELD / 2 and sample - panel.begin <= rules.long:
                going.append(panel)
            elif sample - panel.seen <= AT_ONCE and _leaves(panel, sample, events, size):
                gone.append(panel)
        followed = going
        earlier = [*earlier[-SETTLED - TOGETHER :], picture]
        for left, top, right, bottom in coming.get(sample - SETTLED, []):
            part = picture[top:bottom, left:right].copy()
            distinct = ~_like(part, earlier[0][top:bottom, left:right])
            if np.count_nonzero(distinct) >= DISTINCT * distinct.size:
                boxes = [(left, top, right, bottom)] * SETTLED
                followed.append(Panel(sample - SETTLED, part, distinct, boxes, left, top, sample))
    found = dict[int, list[Box]]()
    rim = 1 + round(RIM * min(size))
    for panel in gone:
        lay = panel.boxes[: panel.seen + 1 - panel.begin]
        boxes = [lay[0]] * TOGETHER + lay + [lay[-1]] * TOGETHER
        for sample, (left, top, right, bottom) in enumerate(boxes, panel.begin - TOGETHER):
            if 0 <= sample < samples:
                found.setdefault(sample, []).append((left - rim, top - rim, right + rim, bottom + rim))
    return found


def _leaves(panel: Panel, sample: int, events: Events, size: tuple[int, int]) -> bool:
    """Whether an event changes much of a panel's place when it is no longer seen."""
    left, top, right, bottom = panel.boxes[-1]
    near = {int(events.nearest[k]) for k in range(max(0, panel.seen - 1), min(len(events.nearest), sample + 3))} - {-1}
    for event in near:
        part = events.mask(event, size)[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
        if part.size and part.sum() >= GONE * np.count_nonzero(panel.distinct):
            return True
    return False


def _like(one: Picture, other: Picture) -> NDArray[np.uint8]:
    """255 where two pictures agree."""
    return np.asarray(cv2.inRange(cv2.absdiff(one, other), (0, 0, 0), (AGREE, AGREE, AGREE)))


def _follow(panel: Panel, picture: Picture) -> float:
    """The share of a panel that is still seen, at its place or near it; its box there is added."""
    share, x, y = _held(panel, picture, 0, 0), 0, 0
    if share < MOVED:
        for _ in range(REACH):
            steps = [(x + a, y + b) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]
            better, u, v = max((_held(panel, picture, u, v), u, v) for u, v in steps)
            if better <= share:
                break
            share, x, y = better, u, v
        panel.left, panel.top = panel.left + x, panel.top + y
    high, wide = panel.picture.shape[:2]
    panel.boxes.append((panel.left, panel.top, panel.left + wide, panel.top + high))
    return share


def _held(panel: Panel, picture: Picture, x: int, y: int) -> float:
    """The share of what is distinct of a panel, moved by x, y, that agrees; parts outside the canvas do not count."""
    (height, width), (high, wide) = picture.shape[:2], panel.picture.shape[:2]
    left, top = panel.left + x, panel.top + y
    right, bottom = min(width, left + wide), min(height, top + high)
    cut_x, cut_y = max(0, -left), max(0, -top)
    if right - left - cut_x < 4 or bottom - top - cut_y < 4:
        return 0.0
    part = picture[top + cut_y : bottom, left + cut_x : right]
    inner = slice(cut_y, bottom - top), slice(cut_x, right - left)
    counted = panel.distinct[inner]
    agree = cv2.bitwise_and(_like(part, panel.picture[inner]), counted)
    return cv2.countNonZero(agree) / max(1, cv2.countNonZero(counted))


def _sudden_boxes(events: Events, size: tuple[int, int], least: float) -> Iterator[tuple[int, Box]]:
    """Samples at which a whole box changes, by sample."""
    area = size[0] * size[1]
    around = np.ones((5, 5), np.uint8)
    for number, sample in enumerate(events.samples):
        mask = cv2.morphologyEx(events.mask(number, size), cv2.MORPH_CLOSE, around)
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        for label in range(1, count):
            x, y, wide, tall, held = (int(value) for value in stats[label])
            if held >= least * area and held >= FILLED * wide * tall and wide * tall < LARGEST * area:
                yield int(sample), (x, y, x + wide, y + tall)


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
