"""Colours of pixels over time, cut into plateaus: stretches of about one colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

DRIFT = 3.0  # Lab distance at which a slowly changing plateau is shown anew
MOST = 80  # plateaus a pixel
DEEP = 8  # plateaus that may lie between a colour and its return
BLEND = 1.3  # of the direct way between two colours, up to which a third lies between them
SMOOTH = 16  # samples a plateau's colour is averaged over

Lab = NDArray[np.float32]


@dataclass(frozen=True)
class Rules:
    """When something is an occluder.

    Attributes:
        threshold: Lab distance that makes another colour.
        settle: samples a colour must last to count.
        short: samples after which a colour that returns was only covered, in any case.
        brief: samples up to which a colour between two others was something passing by.
        long: samples after which a colour that returns was covered by a piece that came and went at once.
        piece: least share of the canvas such a piece covers.
        event: least share of the canvas that changes at once by something that comes, goes, is undone or done again.
        quiet: share of the canvas drawn meanwhile at most, for a small piece to be one that lay there in a pause.
    """

    threshold: float = 10.0
    settle: int = 3
    short: int = 8
    brief: int = 4
    long: int = 120
    piece: float = 0.005
    event: float = 0.001
    quiet: float = 0.001


@dataclass
class Plateaus:
    """Of P pixels: the sample each begins at (K, P), its colour (K, P, 3), and how many there are (P,)."""

    starts: NDArray[np.int32]
    colours: Lab
    counts: NDArray[np.int32]

    def changes(self, pixels: NDArray[np.intp]) -> Changes:
        """As changes of the canvas; `pixels` (P,): their places on it."""
        held = np.arange(len(self.starts))[:, None] < self.counts
        order, own = np.nonzero(held)
        return Changes(self.starts[order, own], pixels[own].astype(np.int32), to_rgb(self.colours[order, own]))

    def between(self, pixels: NDArray[np.intp]) -> Covers:
        """All but the first and the last of each pixel."""
        order, own = np.nonzero(np.arange(1, len(self.starts))[:, None] < self.counts - 1)
        begins, ends = self.starts[order + 1, own], self.starts[np.minimum(order + 2, len(self.starts) - 1), own]
        return Covers(pixels[own].astype(np.int32), begins, ends, self.colours[order + 1, own])


@dataclass
class Changes:
    """Pixels that take a colour at a sample: samples (N,), pixels (N,), colours uint8 (N, 3)."""

    samples: NDArray[np.int32]
    pixels: NDArray[np.int32]
    colours: NDArray[np.uint8]

    @staticmethod
    def concatenated(parts: Sequence[Changes]) -> Changes:
        """All of them."""
        return Changes(
            *(np.concatenate([getattr(p, name) for p in parts]) for name in ("samples", "pixels", "colours"))
        )

    def ordered(self) -> Changes:
        """By sample; those of one pixel stay in order."""
        order = np.argsort(self.samples, kind="stable")
        return Changes(self.samples[order], self.pixels[order], self.colours[order])

    def without(self, pixels: NDArray[np.bool_]) -> Changes:
        """Those of other pixels than the ones marked."""
        kept = ~pixels[self.pixels]
        return Changes(self.samples[kept], self.pixels[kept], self.colours[kept])


@dataclass
class Covers:
    """Stretches in which pixels showed something that may pass: pixel, from, to (N,), and its colour, Lab (N, 3)."""

    pixels: NDArray[np.int32]
    begins: NDArray[np.int32]
    ends: NDArray[np.int32]
    colours: Lab

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Covers:
        return Covers(self.pixels[chosen], self.begins[chosen], self.ends[chosen], self.colours[chosen])

    @staticmethod
    def joined(parts: Sequence[Covers]) -> Covers:
        """All of them."""
        names = ("pixels", "begins", "ends", "colours")
        return Covers(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


@dataclass
class Onsets:
    """When pixels settled on another colour: pixel, since which sample (N,), and the colour, Lab (N, 3)."""

    pixels: NDArray[np.int32]
    samples: NDArray[np.int32]
    colours: Lab

    @staticmethod
    def joined(parts: Sequence[Onsets]) -> Onsets:
        """All of them."""
        return Onsets(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("pixels", "samples", "colours")))


def plateaus(
    lab: Lab, valid: NDArray[np.bool_], first: Lab, rules: Rules, returns: bool
) -> tuple[Plateaus, Covers, Onsets]:
    """Cut the colours of pixels into plateaus.

    Args:
        lab: (T, P, 3) CIE Lab, L 0 ... 100.
        valid: (T, P), where a pixel is seen.
        first: (P, 3), the colour at the beginning.
        returns: drop plateaus after which an earlier colour returns within `rules.long` samples, and those of at most
            `rules.brief` samples that are no step of a gradual change.

    Returns:
        the plateaus, what was dropped, and every change to another settled colour, dropped ones too.
    """
    samples, pixels = valid.shape
    limit = rules.threshold**2
    starts = np.zeros((MOST, pixels), np.int32)
    colours = np.zeros((MOST, pixels, 3), np.float32)
    depth = np.ones(pixels, np.int32)
    colours[0] = first
    mean = first.copy()
    length = np.full(pixels, rules.settle, np.int32)
    since = np.zeros(pixels, np.int32)
    none = np.zeros(0, np.int32), np.zeros((0, 3), np.float32)
    dropped = [Covers(none[0], none[0], none[0], none[1])]
    settled = [Onsets(none[0], none[0], none[1])]
    for sample in range(samples):
        seen = valid[sample]
        step = lab[sample] - mean
        apart = np.einsum("pc,pc->p", step, step)
        other = (apart > limit) & seen
        length += seen
        length[other] = 1
        since[other] = sample
        mean += step * (seen / np.minimum(np.maximum(length, 1), SMOOTH)).astype(np.float32)[:, None]
        fresh = seen & (length == rules.settle)
        if not fresh.any() and sample % 4:
            continue
        drifted = seen & (length > rules.settle + 4) & (length % 8 == 0)
        at = np.flatnonzero(fresh | drifted)
        if not len(at):
            continue
        colour = mean[at]
        begin = np.where(fresh[at], since[at], sample).astype(np.int32)
        top = depth[at] - 1
        gap = ((colours[top, at] - colour) ** 2).sum(axis=1)
        new = gap > np.where(fresh[at], limit, DRIFT**2)
        new &= ~(drifted[at] & (gap > limit))
        at, colour, begin = at[new], colour[new], begin[new]
        sudden = length[at] == rules.settle
        settled.append(Onsets(at[sudden].astype(np.int32), begin[sudden], colour[sudden]))
        if returns:
            brief = (length[at] == rules.settle) & (depth[at] > 1)
            brief &= begin - starts[depth[at] - 1, at] <= rules.brief
            if brief.any():
                pixel = at[brief]
                top = depth[pixel] - 1
                step = ~between(colours[top - 1, pixel], colours[top, pixel], colour[brief])
                pixel, top = pixel[step], top[step]
                left = starts[top, pixel]
                dropped.append(Covers(pixel.astype(np.int32), left, begin[brief][step], colours[top, pixel]))
                depth[pixel] = top
            rest = np.ones(len(at), bool)
            for back in range(1, DEEP + 1):
                level = depth[at] - 1 - back
                can = rest & (level >= 0) & (length[at] == rules.settle)
                if not can.any():
                    break
                chosen = np.flatnonzero(can)
                pixel, below = at[chosen], level[chosen]
                left = starts[below + 1, pixel]
                again = ((colours[below, pixel] - colour[chosen]) ** 2).sum(axis=1) <= limit
                again &= begin[chosen] - left <= rules.long
                chosen, pixel, below, left = chosen[again], pixel[again], below[again], left[again]
                top = colours[depth[pixel] - 1, pixel]
                dropped.append(Covers(pixel.astype(np.int32), left, begin[chosen], top))
                depth[pixel] = below + 1
                rest[chosen] = False
            at, colour, begin = at[rest], colour[rest], begin[rest]
        full = depth[at] >= MOST
        depth[at[full]] -= 1
        starts[depth[at], at] = np.where(full, starts[depth[at], at], begin)
        colours[depth[at], at] = colour
        depth[at] += 1
    deepest = int(depth.max())
    return Plateaus(starts[:deepest], colours[:deepest], depth), Covers.joined(dropped), Onsets.joined(settled)


def between(before: Lab, middle: Lab, after: Lab) -> NDArray[np.bool_]:
    """Whether colours (N, 3) lie about between two others, as of a gradual change."""
    way = np.linalg.norm(middle - before, axis=1) + np.linalg.norm(after - middle, axis=1)
    return np.asarray(way <= BLEND * np.linalg.norm(after - before, axis=1))


def median5(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Sliding median of five along the first axis, ends repeated."""
    if len(rows) < 5:
        return rows
    padded = np.concatenate([rows[:1], rows[:1], rows, rows[-1:], rows[-1:]])
    a, b, c, d, e = (padded[k : k + len(rows)] for k in range(5))
    a, b = np.minimum(a, b), np.maximum(a, b)
    d, e = np.minimum(d, e), np.maximum(d, e)
    low, high = np.maximum(a, d), np.minimum(b, e)  # neither the least nor the greatest of the four
    return np.maximum(np.minimum(low, high), np.minimum(np.maximum(low, high), c))


def to_lab(pictures: NDArray[np.uint8]) -> Lab:
    """CIE Lab (..., 3), L 0 ... 100, of sRGB values uint8 (..., 3)."""
    flat = pictures.reshape(-1, 1, 3).astype(np.float32)
    flat /= 255
    return np.asarray(cv2.cvtColor(flat, cv2.COLOR_RGB2LAB)).reshape(pictures.shape)


def to_rgb(lab: Lab) -> NDArray[np.uint8]:
    """sRGB uint8 (..., 3)."""
    flat = cv2.cvtColor(np.ascontiguousarray(lab.reshape(-1, 1, 3)), cv2.COLOR_LAB2RGB)
    return np.clip(np.round(flat * 255), 0, 255).astype(np.uint8).reshape(lab.shape)
