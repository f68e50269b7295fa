"""What stays on the canvas, pixel by pixel over time: passing cursors, hands and palettes removed.

A pixel's values over the samples are cut into plateaus, stretches of about one colour that last for some samples.
Whatever is too short is not seen. A plateau after which the colour of before returns is something that lay on the
canvas for a while, if it was short, or came and went as a larger piece at once, or came and went while nothing else was
drawn; so is a pointer at rest, known by its look (see `pointers`). What lies there is masked and the canvas of before
shown instead.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.recording import beneath, events, occluders, passing, pointers
from paintsundo.data.recording.plateaus import Changes, Covers, Lab, Onsets, Rules, median5, plateaus, to_lab
from paintsundo.data.recording.spool import Spool

LEAST_EVENT = 24  # pixels
BAND = 2_000_000  # pixels times samples worked on at once


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
        self.doubt = np.zeros(0)

    def __len__(self) -> int:
        return len(self._spools[0])

    def append(self, picture: Picture, seen: NDArray[np.bool_]) -> None:
        """Add a sample: the canvas (H, W, 3) and where it is seen (H, W)."""
        for spool, (top, bottom) in zip(self._spools, self.bands, strict=True):
            spool.append(np.dstack([picture[top:bottom], seen[top:bottom].view(np.uint8)]))

    def clean(self, rules: Rules) -> Iterator[Picture]:
        """The canvas (H, W, 3) at each sample without what passes over it.

        The share of pixels and samples that were covered is kept in `masked`; the mean square, in levels, of what may
        be wrong at each sample (T,) for being drawn unseen in `doubt`.
        """
        area = self.size[0] * self.size[1]
        parts, covers, onsets, between = [], [], [], []
        first = to_lab(self.first).reshape(-1, 3)
        for places, spool in self._places():
            lab, valid = self._read(spool, slice(None))
            found, covered, settled = plateaus(lab, valid, first[places], rules, returns=True)
            covered.pixels = places[covered.pixels].astype(np.int32)
            settled.pixels = places[settled.pixels].astype(np.int32)
            covers.append(covered)
            onsets.append(settled)
            between.append(found.between(places))
            parts.append(found.changes(places))
        mask = self._covered(Covers.joined(covers), between, Onsets.joined(onsets), rules)
        again = np.zeros(area, bool)
        for cover in covers:
            again[cover.pixels] = True
        for row in mask:
            again |= np.unpackbits(row, count=area).view(bool)
        self.masked = float(np.mean([np.unpackbits(row, count=area).mean() for row in mask]))
        parts = [part.without(again) for part in parts]
        since = [part.samples for part in parts]
        for places, spool in self._places():
            own = again[places]
            if own.any():
                lab, valid = self._read(spool, own)
                for sample, row in enumerate(mask):
                    valid[sample] &= np.unpackbits(row, count=area)[places[own]] == 0
                clear, _, _ = plateaus(lab, valid, first[places[own]], rules, returns=False)
                parts.append(clear.changes(places[own]))
                since.append(beneath.hidden_since(parts[-1], places[own], valid))
        steady, unseen = Changes.concatenated(parts), np.concatenate(since)
        self.doubt = beneath.doubt(steady, unseen, self.first, len(self), rules.brief)
        dated = beneath.dated(steady, unseen, self.size[1])
        return self._shown(dated.ordered())

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

    def _covered(self, found: Covers, between: list[Covers], onsets: Onsets, rules: Rules) -> list[NDArray[np.uint8]]:
        """Which pixels something lies on at each sample: packed bits of (H * W)."""
        samples = len(self)
        area = self.size[0] * self.size[1]
        happened = events.find(onsets, self.size, samples, max(LEAST_EVENT, rules.event * area))
        kept = passing.passing(found, onsets, happened, samples, self.size, rules)
        kept.extend(passing.replaced(part, happened, rules) for part in between)
        joined = Covers.joined(kept)
        kept = [joined, *passing.whole(joined, happened, self.size, rules.piece)]
        kept.extend(pointers.resting(self.picture, self.size, samples, rules.short))
        seen = (self.picture(sample) for sample in range(samples))
        boxes = occluders.panels(happened, seen, self.size, samples, rules)
        return occluders.masks(Covers.joined(kept), boxes, self.size, samples)

    def picture(self, sample: int) -> Picture:
        """The canvas (H, W, 3) as it was seen."""
        return np.concatenate([spool[sample][..., :3] for spool in self._spools])

    def close(self) -> None:
        """Give the files up."""
        for spool in self._spools:
            spool.close()
