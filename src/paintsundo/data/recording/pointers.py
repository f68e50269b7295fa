"""The pointer learnt from moments at which it alone moves, and found where it rests.

A pointer that rests looks like something drawn. While it moves it is what a sample shows, and neither the sample some
time before nor the one some time after; the shape that appears again and again that way is its look.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.recording.looks import APART, LEAST, Look, Scores, alike, apart
from paintsundo.data.recording.plateaus import Covers

WHOLE = 24  # pixels, the smallest pointer
LONGEST = 0.25  # of the canvas' shorter side, the largest
MUCH = 0.03  # of the canvas: more that only passes is no pointer
ALONE = 3  # times as large as anything else that only passes
INSTANCES = 120  # at which looks are compared
EXEMPLARS = 16
OFTEN = 6  # instances that make a look
USUAL = 0.2  # of the samples, in which a pointer is seen to move where there is one
SUDDEN = 4  # samples within which a pointer comes to its place
LOOKS = 2  # kinds of pointers in a recording
AGREES = 0.8  # share of a pointer's pixels that is seen where it is
STAYS = 0.7  # the same, for one seen at the place before
ABSENT = 0.4  # share of it seen by chance, at most, before it comes and after it goes
STRIDE = 4  # samples between searches of the whole canvas
AROUND = 2  # pixels about a pointer that its rim and shadow take

See = Callable[[int], Picture]


@dataclass(frozen=True)
class Instance:
    """A small thing that only passes at a sample: its box, and its pixels as 255 on the canvas (H, W)."""

    sample: int
    box: tuple[int, int, int, int]  # left, top, right, bottom
    mask: NDArray[np.uint8]


@dataclass(frozen=True)
class Rest:
    """A pointer at one place from a sample to another, both included."""

    first: int
    last: int
    left: int
    top: int


def resting(see: See, size: tuple[int, int], samples: int, lag: int) -> list[Covers]:
    """Where pointers rest on the canvas.

    Args:
        see: the canvas (H, W, 3) as seen at a sample.
        size: (height, width).
        samples: how many there are.
        lag: samples in which a moving pointer has left its place.
    """
    instances = list(_instances(see, size, samples, lag))
    looks = _looks(see, instances)
    moving = {instance.sample: instance.box for _, seen in looks for instance in seen}
    covers = []
    for look, _ in looks:
        for rest in _rests(look, see, samples, lag):
            if not _elsewhere(moving, rest, look):
                covers.append(_cover(look, rest, size, samples))
    if len(instances) >= USUAL * samples and not any(int(cover.ends[0]) == samples for cover in covers):
        at_end = _last(see, size, samples, lag)
        if at_end is not None:
            covers.append(_cover(*at_end, size, samples))
    return covers


def _last(see: See, size: tuple[int, int], samples: int, lag: int) -> tuple[Look, Rest] | None:
    """The one small thing that came at once at the end, after which nothing is drawn: a pointer of any look."""
    final = see(samples - 1)
    for back in range(lag, 4 * lag + 1, max(1, lag // 2)):
        if back + lag >= samples:
            return None
        before, earlier = see(samples - 1 - back), see(samples - 1 - back - lag)
        came = cv2.bitwise_and(apart(final, before), apart(final, earlier))
        thing = _alone(cv2.bitwise_and(came, alike(before, earlier)), size)
        if thing is None:
            continue
        instance = Instance(samples - 1, *thing)
        look, (left, top, _, _) = _cut(final, instance), instance.box
        first = samples - 1
        while first > samples - 1 - back and look.share(see(first - 1), left, top) >= STAYS:
            first -= 1
        at_once = look.share(see(max(0, first - SUDDEN)), left, top) <= ABSENT
        long_enough = samples - first >= lag // 2
        alone = _comes_alone(look, see(max(0, first - lag)), final, left, top)
        if np.count_nonzero(look.mask) >= WHOLE and at_once and long_enough and alone:
            return look, Rest(first, samples - 1, left, top)
        return None
    return None


def _instances(see: See, size: tuple[int, int], samples: int, lag: int) -> Iterator[Instance]:
    """Samples at which one small thing shows that is there neither some time before nor some time after."""
    held: deque[Picture] = deque(maxlen=2 * lag + 1)
    for last in range(samples):
        held.append(see(last))
        if len(held) <= 2 * lag:
            continue
        before, now, after = held[0], held[lag], held[-1]
        passes = cv2.bitwise_and(apart(now, before), apart(now, after))
        passes = cv2.bitwise_and(passes, alike(before, after))
        thing = _alone(passes, size)
        if thing is not None:
            yield Instance(last - lag, *thing)


def _alone(
    mask: NDArray[np.uint8], size: tuple[int, int]
) -> tuple[tuple[int, int, int, int], NDArray[np.uint8]] | None:
    """The box and the pixels (H, W) of the one small thing that a mask of 0 and 255 shows; None: more, or nothing."""
    if not LEAST <= cv2.countNonZero(mask) <= MUCH * mask.size:
        return None
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(closed)
    areas = stats[1:, cv2.CC_STAT_AREA]
    label = int(np.argmax(areas)) + 1
    x, y, wide, high, _ = (int(value) for value in stats[label])
    if max(wide, high) > LONGEST * min(size) or ALONE * (areas.sum() - areas.max()) > areas.max():
        return None
    return (x, y, x + wide, y + high), mask & ((labels == label) * np.uint8(255))


def _looks(see: See, instances: list[Instance]) -> list[tuple[Look, list[Instance]]]:
    """The looks that instances have in common, the commonest first, and the instances of each."""
    found: list[tuple[Look, list[Instance]]] = []
    while len(instances) >= OFTEN and len(found) < LOOKS:
        some = [instances[k] for k in _evenly(len(instances), INSTANCES)]
        known = {instance.sample: see(instance.sample) for instance in some}
        best: tuple[int, Look] | None = None
        for k in _evenly(len(some), EXEMPLARS):
            look = _cut(known[some[k].sample], some[k])
            held = sum(_shown(look, other, known[other.sample])[0] >= AGREES for other in some)
            if best is None or held > best[0]:
                best = held, look
        if best is None or best[0] < max(OFTEN, 0.1 * len(some)):
            break
        common = _common(best[1], some, known)
        if common is None:
            break
        shown = [_shown(common, instance, see(instance.sample))[0] >= STAYS for instance in instances]
        found.append((common, [instance for instance, is_ in zip(instances, shown, strict=True) if is_]))
        if not any(shown):
            break
        instances = [instance for instance, is_ in zip(instances, shown, strict=True) if not is_]
    return found


def _evenly(count: int, most: int) -> list[int]:
    return [int(k) for k in np.unique(np.linspace(0, count - 1, min(count, most)).round())]


def _cut(picture: Picture, instance: Instance) -> Look:
    left, top, right, bottom = instance.box
    mask = (instance.mask[top:bottom, left:right] > 0).astype(np.uint8)
    return Look(np.ascontiguousarray(picture[top:bottom, left:right]), mask)


def _shown(look: Look, instance: Instance, picture: Picture) -> tuple[float, int, int]:
    """The share, left and top of a look about an instance."""
    left, top, right, bottom = instance.box
    high, wide = look.mask.shape
    x, y = max(0, min(left, right - wide) - 3), max(0, min(top, bottom - high) - 3)
    part = picture[y : max(bottom, top + high) + 3, x : max(right, left + wide) + 3]
    share, u, v = look.best(np.ascontiguousarray(part))
    return share, x + u, y + v


def _common(look: Look, some: Sequence[Instance], known: dict[int, Picture]) -> Look | None:
    """What all instances of a look have in common; None: too little."""
    pictures, passes = [], []
    high, wide = look.mask.shape
    for instance in some:
        picture = known[instance.sample]
        share, left, top = _shown(look, instance, picture)
        whole = 0 <= left <= picture.shape[1] - wide and 0 <= top <= picture.shape[0] - high
        if share >= AGREES and whole:
            pictures.append(picture[top : top + high, left : left + wide].astype(np.int16))
            passes.append(instance.mask[top : top + high, left : left + wide] > 0)
    if len(pictures) < OFTEN:
        return None
    middle = np.median(pictures, axis=0)
    spread = np.median(np.abs(np.stack(pictures) - middle), axis=0).max(axis=2)
    mask = (np.mean(passes, axis=0) >= 0.4) & (spread <= APART / 2)
    if mask.sum() < WHOLE:
        return None
    return Look(middle.astype(np.uint8), mask.astype(np.uint8))


def _rests(look: Look, see: See, samples: int, lag: int) -> list[Rest]:
    """Where a look stays at one place for a while, was not before, and goes in the end if the recording goes on."""
    found: list[Rest] = []
    until = -1
    before: tuple[float, int, int] | None = None
    earlier: deque[Scores] = deque(maxlen=2 + lag // STRIDE)
    for sample in range(0, samples, STRIDE):
        picture = see(sample)
        scores = look.scores(picture)
        left, top = scores.lowest(earlier[0] if earlier and len(earlier) == earlier.maxlen else None)
        earlier.append(scores)
        if sample <= until:
            before = None
            continue
        now = look.share(picture, left, top), left, top
        stays = before is not None and min(now[0], before[0]) >= AGREES
        stays = stays and before is not None and max(abs(left - before[1]), abs(top - before[2])) <= 1
        before = now
        if not stays:
            continue
        first, last = sample - STRIDE, sample
        while first > 0 and look.share(see(first - 1), left, top) >= STAYS:
            first -= 1
        while last < samples - 1 and look.share(see(last + 1), left, top) >= STAYS:
            last += 1
        came = first == 0 or look.share(see(max(0, first - lag)), left, top) <= ABSENT
        went = last == samples - 1 or look.share(see(min(samples - 1, last + lag)), left, top) <= ABSENT
        alone = first == 0 or _comes_alone(look, see(max(0, first - lag)), see(min(first + 2, last)), left, top)
        if came and went and alone:
            until = last if last < samples - 1 else until  # at the end there may be another one, the true one
            if not any(last == it.last and max(abs(left - it.left), abs(top - it.top)) <= 2 for it in found):
                found.append(Rest(first, last, left, top))
    return found


def _comes_alone(look: Look, before: Picture, after: Picture, left: int, top: int) -> bool:
    """Whether most of what changes about a place is the pointer itself, and not say an area in its colour."""
    (high, wide), (height, width) = look.mask.shape, before.shape[:2]
    around = max(high, wide) // 2
    own = np.zeros((high + 2 * around, wide + 2 * around), np.uint8)
    own[around : around + high, around : around + wide] = look.mask
    own = cv2.dilate(own, np.ones((3, 3), np.uint8))
    x0, y0 = max(0, left - around), max(0, top - around)
    x1, y1 = min(width, left + wide + around), min(height, top + high + around)
    changed = apart(before[y0:y1, x0:x1], after[y0:y1, x0:x1]) > 0
    within = own[y0 - top + around : y1 - top + around, x0 - left + around : x1 - left + around] > 0
    return bool((changed & ~within).sum() <= (changed & within).sum())


def _elsewhere(moving: dict[int, tuple[int, int, int, int]], rest: Rest, look: Look) -> bool:
    """Whether the pointer moves somewhere else in the meantime: there is but one."""
    high, wide = look.mask.shape
    away = 0
    for sample, (left, top, right, bottom) in moving.items():
        if rest.first + 1 < sample < rest.last - 1:
            apart_x = max(left - (rest.left + wide), rest.left - right)
            apart_y = max(top - (rest.top + high), rest.top - bottom)
            away += max(apart_x, apart_y) > 0
    return away > max(1, 0.05 * (rest.last - rest.first))


def _cover(look: Look, rest: Rest, size: tuple[int, int], samples: int) -> Covers:
    """The hull of the pointer, its rim and shadow with it, as something that passes."""
    mask = np.zeros(size, np.uint8)
    points = cv2.findNonZero(look.mask) + np.array([[[rest.left, rest.top]]], np.int32)
    cv2.fillPoly(mask, [cv2.convexHull(points)], 1)  # clipped where it lies outside
    side = 2 * (AROUND + round(0.004 * min(size))) + 1
    mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    pixels = np.flatnonzero(mask).astype(np.int32)
    begin, end = max(0, rest.first - 2), min(samples, rest.last + 3)
    return Covers(
        pixels,
        np.full(len(pixels), begin, np.int32),
        np.full(len(pixels), end, np.int32),
        np.zeros((len(pixels), 3), np.float32),
    )
