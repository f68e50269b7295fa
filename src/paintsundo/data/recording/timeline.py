"""What stays on the canvas, pixel by pixel over time: passing cursors, hands and palettes removed.

A pixel's values over the samples are cut into plateaus, stretches of about one colour that last for some samples.
Whatever is too short is not seen. A plateau after which the colour of before returns is something that lay on the
canvas for a while, if it was short, or came and went as a larger piece at once, or came and went while nothing else was
drawn. What lies there is masked and the canvas of before shown instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.recording.spool import Spool

DRIFT = 3.0  # Lab distance at which a slowly changing plateau is shown anew
MOST = 80  # plateaus a pixel
DEEP = 4  # plateaus that may lie between a colour and its return
SMOOTH = 16  # samples a plateau's colour is averaged over
BAND = 2_000_000  # pixels times samples worked on at once

Lab = NDArray[np.float32]


@dataclass(frozen=True)
class Rules:
    """When something is an occluder.

    Attributes:
        threshold: Lab distance that makes another colour.
        settle: samples a colour must last to count.
        short: samples after which a colour that returns was only covered, in any case.
        long: samples after which a colour that returns was covered by a piece that came and went at once.
        piece: least share of the canvas such a piece covers.
        quiet: share of the canvas drawn meanwhile at most, for a small piece to be one that lay there in a pause.
    """

    threshold: float = 10.0
    settle: int = 3
    short: int = 8
    long: int = 120
    piece: float = 0.005
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


@dataclass
class Changes:
    """Pixels that take a colour at a sample: samples (N,), pixels (N,), colours uint8 (N, 3)."""

    samples: NDArray[np.int32]
    pixels: NDArray[np.int32]
    colours: NDArray[np.uint8]

    @staticmethod
    def joined(parts: list[Changes]) -> Changes:
        """All of them by sample; those of one pixel stay in order."""
        samples = np.concatenate([part.samples for part in parts])
        order = np.argsort(samples, kind="stable")
        pixels = np.concatenate([part.pixels for part in parts])[order]
        return Changes(samples[order], pixels, np.concatenate([part.colours for part in parts])[order])

    def without(self, pixels: NDArray[np.bool_]) -> Changes:
        """Those of other pixels than the ones marked."""
        kept = ~pixels[self.pixels]
        return Changes(self.samples[kept], self.pixels[kept], self.colours[kept])


@dataclass
class Covers:
    """Stretches in which pixels showed something and then again what they showed before: pixel, from, to (N,)."""

    pixels: NDArray[np.int32]
    begins: NDArray[np.int32]
    ends: NDArray[np.int32]


def plateaus(
    lab: Lab, valid: NDArray[np.bool_], first: Lab, rules: Rules, returns: bool
) -> tuple[Plateaus, Covers, NDArray[np.int64]]:
    """Cut the colours of pixels into plateaus.

    Args:
        lab: (T, P, 3) CIE Lab, L 0 ... 100.
        valid: (T, P), where a pixel is seen.
        first: (P, 3), the colour at the beginning.
        returns: drop plateaus after which an earlier colour returns within `rules.long` samples.

    Returns:
        the plateaus, what was dropped, and how many pixels took a new colour at each sample (T,).
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
    dropped: list[NDArray[np.int32]] = []
    taken = np.zeros(samples, np.int64)
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
        if returns:
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
                dropped.append(np.stack([pixel.astype(np.int32), left, begin[chosen]]))
                depth[pixel] = below + 1
                rest[chosen] = False
            at, colour, begin = at[rest], colour[rest], begin[rest]
        full = depth[at] >= MOST
        depth[at[full]] -= 1
        starts[depth[at], at] = np.where(full, starts[depth[at], at], begin)
        colours[depth[at], at] = colour
        depth[at] += 1
        np.add.at(taken, begin[length[at] == rules.settle], 1)
    none = np.zeros((3, 0), np.int32)
    covers = Covers(*np.concatenate(dropped, axis=1)) if dropped else Covers(*none)
    deepest = int(depth.max())
    return Plateaus(starts[:deepest], colours[:deepest], depth), covers, taken


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


class Timeline:
    """The canvas at all samples, kept in a file in bands of rows; what passes over it can be removed.

    Args:
        size: (height, width).
        samples: how many there will be, about.
        first: uint8 (H, W, 3), the canvas at the beginning.
    """

    def __init__(self, size: tuple[int, int], samples: int, first: Picture) -> None:
        height, width = size
        rows = int(np.clip(BAND // max(1, samples * width), 1, height))
        self.size, self.first = size, first
        self.bands = [(top, min(top + rows, height)) for top in range(0, height, rows)]
        self._spools = [Spool((bottom - top, width, 4)) for top, bottom in self.bands]
        self.masked = 0.0

    def __len__(self) -> int:
        return len(self._spools[0])

    def append(self, picture: Picture, seen: NDArray[np.bool_]) -> None:
        """Add a sample: the canvas (H, W, 3) and where it is seen (H, W)."""
        for spool, (top, bottom) in zip(self._spools, self.bands, strict=True):
            spool.append(np.dstack([picture[top:bottom], seen[top:bottom].view(np.uint8)]))

    def clean(self, rules: Rules) -> Iterator[Picture]:
        """The canvas (H, W, 3) at each sample without what passes over it.

        The share of pixels and samples that were covered is kept in `masked`.
        """
        area = self.size[0] * self.size[1]
        parts, covers, taken = [], [], np.zeros(len(self), np.int64)
        first = to_lab(self.first).reshape(-1, 3)
        for places, spool in self._places():
            lab, valid = self._read(spool, slice(None))
            found, covered, drawn = plateaus(lab, valid, first[places], rules, returns=True)
            covered.pixels = places[covered.pixels].astype(np.int32)
            covers.append(covered)
            taken += drawn
            parts.append(found.changes(places))
        mask = self._covered(covers, taken, rules)
        again = np.zeros(area, bool)
        for cover in covers:
            again[cover.pixels] = True
        for row in mask:
            again |= np.unpackbits(row, count=area).view(bool)
        self.masked = float(np.mean([np.unpackbits(row, count=area).mean() for row in mask]))
        parts = [part.without(again) for part in parts]
        for places, spool in self._places():
            own = again[places]
            if own.any():
                lab, valid = self._read(spool, own)
                for sample, row in enumerate(mask):
                    valid[sample] &= np.unpackbits(row, count=area)[places[own]] == 0
                steady, _, _ = plateaus(lab, valid, first[places[own]], rules, returns=False)
                parts.append(steady.changes(places[own]))
        return self._shown(Changes.joined(parts))

    def _shown(self, changes: Changes) -> Iterator[Picture]:
        canvas = self.first.reshape(-1, 3).copy()
        ends = np.searchsorted(changes.samples, np.arange(len(self)), side="right")
        begin = 0
        for end in ends:
            canvas[changes.pixels[begin:end]] = changes.colours[begin:end]
            begin = end
            yield canvas.reshape(*self.size, 3).copy()

    def _places(self) -> Iterator[tuple[NDArray[np.intp], Spool]]:
        width = self.size[1]
        for (top, bottom), spool in zip(self.bands, self._spools, strict=True):
            yield np.arange(top * width, bottom * width), spool

    @staticmethod
    def _read(spool: Spool, pixels: NDArray[np.bool_] | slice) -> tuple[Lab, NDArray[np.bool_]]:
        """(T, P, 3) Lab after a median over five samples, and (T, P) where the canvas is seen."""
        values = spool.all().reshape(len(spool), -1, 4)[:, pixels]
        return to_lab(median5(np.ascontiguousarray(values[..., :3]))), values[..., 3] > 0

    def _covered(self, found: list[Covers], taken: NDArray[np.int64], rules: Rules) -> list[NDArray[np.uint8]]:
        """Which pixels something lies on at each sample: packed bits of (H * W)."""
        height, width = self.size
        samples = len(self)
        pixels = np.concatenate([cover.pixels for cover in found])
        begins = np.concatenate([cover.begins for cover in found])
        ends = np.concatenate([cover.ends for cover in found])
        lasting = ends - begins
        counts = np.zeros((samples + 1, samples + 1), np.int32)
        np.add.at(counts, (begins, ends), 1)
        together = cv2.boxFilter(counts.astype(np.float32), -1, (5, 5), normalize=False, borderType=cv2.BORDER_CONSTANT)
        piece = together[begins, ends] >= rules.piece * height * width
        drawn = np.concatenate([[0], np.cumsum(taken)])
        inner = np.clip(ends - rules.settle, 0, samples), np.clip(begins + rules.settle, 0, samples)
        quiet = drawn[inner[0]] - drawn[inner[1]] <= rules.quiet * height * width
        cover = (lasting <= rules.short) | piece | quiet
        pixels, begins, ends = pixels[cover], begins[cover], ends[cover]
        on, off = np.argsort(begins, kind="stable"), np.argsort(ends, kind="stable")
        first_on = np.searchsorted(begins[on], np.arange(samples + 1))
        first_off = np.searchsorted(ends[off], np.arange(samples + 1))
        active = np.zeros(height * width, np.int16)
        side = 2 * max(1, round(0.012 * min(height, width))) + 1
        around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        rows = []
        for sample in range(samples):
            np.add.at(active, pixels[on[first_on[sample] : first_on[sample + 1]]], 1)
            np.subtract.at(active, pixels[off[first_off[sample] : first_off[sample + 1]]], 1)
            mask = (active > 0).astype(np.uint8).reshape(height, width)
            rows.append(np.packbits(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, around)))
        return rows

    def close(self) -> None:
        """Give the files up."""
        for spool in self._spools:
            spool.close()
