"""Which stretches of a pixel's colours only pass: cursors, panels, what is undone and done again.

A stretch passes if it is short; if it came and went while nothing was drawn; if it came by one event and went by
another; or if it is part of a small thing that came and went at once, as of a cursor at rest.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from paintsundo.data.recording.events import Events
from paintsundo.data.recording.plateaus import Covers, Onsets, Rules

SPREAD = 4  # samples within which all of a small thing comes, or goes
STEP = 1  # samples by which neighbours of one thing come or go apart
SMALL = 12  # pixels, the least thing
RESTING = 0.1  # of the samples, for which a small thing lies at one place; what is drawn mostly lasts longer
AGAIN = 1.5  # thresholds within which what is done again is what was undone


def passing(
    found: Covers, onsets: Onsets, events: Events, samples: int, size: tuple[int, int], rules: Rules
) -> list[Covers]:
    """What passes, of stretches after which the colour of before returned.

    Args:
        found: the stretches.
        onsets: all changes to other colours.
        events: changes of larger pieces at once.
        samples: how many there are.
        size: (height, width).
        rules: when something counts as passing.
    """
    height, width = size
    drawn = np.concatenate([[0], np.cumsum(np.bincount(onsets.samples, minlength=samples))])
    first = np.clip(found.begins + rules.settle, 0, samples)
    last = np.clip(found.ends - rules.settle, 0, samples)
    quiet = drawn[last] - drawn[first] <= rules.quiet * height * width
    came, went = events.at(found.pixels, found.begins), events.at(found.pixels, found.ends)
    undone = (came < 0) & (went >= 0) & (found.ends - found.begins > rules.short)
    short = found.ends - found.begins <= rules.short
    kept = short | (quiet & ~undone) | ((came >= 0) & (went >= 0))
    rest = np.flatnonzero(~kept & ~undone & (found.ends - found.begins <= RESTING * samples))
    kept[rest[small_things(found[rest], width)]] = True
    return [found[kept], done_again(found[undone], onsets, events, rules)]


def replaced(found: Covers, events: Events, rules: Rules) -> Covers:
    """What passes, of stretches between two other colours: what came by one event and went by another."""
    at_once = (events.at(found.pixels, found.begins) >= 0) & (events.at(found.pixels, found.ends) >= 0)
    return found[at_once & (found.ends - found.begins <= rules.long)]


def done_again(undone: Covers, onsets: Onsets, events: Events, rules: Rules) -> Covers:
    """The stretches in which what was drawn and undone is gone before it is done again, by another event."""
    samples = len(events.nearest) + 1
    order = np.argsort(onsets.pixels.astype(np.int64) * samples + onsets.samples, kind="stable")
    keys = onsets.pixels[order].astype(np.int64) * samples + onsets.samples[order]
    place = np.searchsorted(keys, undone.pixels.astype(np.int64) * samples + undone.ends + 1)
    has = place < len(keys)
    later = order[np.minimum(place, len(keys) - 1)] if len(keys) else np.zeros(len(undone), np.intp)
    has &= onsets.pixels[later] == undone.pixels if len(keys) else False
    apart = np.linalg.norm(onsets.colours[later] - undone.colours, axis=1) if len(keys) else np.zeros(len(undone))
    until = onsets.samples[later] if len(keys) else undone.ends
    has &= (apart <= AGAIN * rules.threshold) & (until - undone.ends <= rules.long)
    has &= events.at(undone.pixels, until) >= 0
    return Covers(undone.pixels[has], undone.ends[has], until[has], undone.colours[has])


def small_things(found: Covers, width: int) -> NDArray[np.bool_]:
    """Which stretches (N,) are of a thing all of which came within a few samples and went within a few.

    Neighbours belong together that come and go together; a line drawn and later painted over is a long chain of them.
    """
    count = len(found)
    if not count:
        return np.zeros(0, bool)
    one, other = [], []
    for first, second in _neighbours(found, width):
        one.append(first)
        other.append(second)
    a, b = np.concatenate(one), np.concatenate(other)
    graph = coo_matrix((np.ones(len(a), bool), (a, b)), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    size = np.bincount(label)
    spread = []
    for values in (found.begins, found.ends):
        high, low = np.full(len(size), -1), np.full(len(size), 1 << 30)
        np.maximum.at(high, label, values)
        np.minimum.at(low, label, values)
        spread.append(high - low)
    thing = (size >= SMALL) & (spread[0] <= SPREAD) & (spread[1] <= SPREAD)
    return np.asarray(thing[label])


def _neighbours(found: Covers, width: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Pairs of stretches of neighbouring pixels that come and go together."""
    span = int(found.ends.max()) + 2 * STEP + 2
    keys = found.pixels.astype(np.int64) * span + found.begins + STEP
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    own = np.arange(len(keys))
    for step in (1, width - 1, width, width + 1):
        low = np.searchsorted(keys, keys + step * span - STEP)
        high = np.searchsorted(keys, keys + step * span + STEP, side="right")
        for more in range(int((high - low).max(initial=0))):
            has = low + more < high
            first, second = order[own[has]], order[low[has] + more]
            near = np.abs(found.ends[first] - found.ends[second]) <= STEP
            yield first[near], second[near]
        yield own[:0], own[:0]


def whole(found: Covers, events: Events, size: tuple[int, int], least: float) -> Iterator[Covers]:
    """Larger things that came by one event and went by another, with all that lies inside their outline."""
    came, went = events.at(found.pixels, found.begins), events.at(found.pixels, found.ends)
    both = (came >= 0) & (went >= 0)
    pairs = came[both].astype(np.int64) * max(1, len(events)) + went[both]
    pixels = found.pixels[both]
    order = np.argsort(pairs, kind="stable")
    pairs, pixels = pairs[order], pixels[order]
    for part in np.split(np.arange(len(pairs)), np.flatnonzero(np.diff(pairs)) + 1):
        if len(part) < max(1, least * size[0] * size[1]):
            continue
        mask = np.zeros(size, np.uint8)
        mask.ravel()[pixels[part]] = 1
        covered = np.flatnonzero(filled(mask, least)).astype(np.int32)
        begin, end = divmod(int(pairs[part[0]]), len(events))
        since, until = (np.full(len(covered), events.samples[k], np.int32) for k in (begin, end))
        yield Covers(covered, since - 1, until + 1, np.zeros((len(covered), 3), np.float32))


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
