"""Moments at which a larger piece of the canvas changes at once: a panel comes or goes, a stroke is undone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.recording.plateaus import Onsets

TOGETHER = 2  # samples within which the pixels of one thing come or go
PEAK = 2.5  # how many times as much changes at an event as around it
AROUND = 6  # samples on each side that are taken for that


@dataclass
class Events:
    """E events of a canvas of P pixels over T samples.

    Attributes:
        samples: when, ascending (E,).
        masks: what changes, packed bits (E, P / 8).
        nearest: the event at or next to each sample, -1: none (T + 1,).
    """

    samples: NDArray[np.intp]
    masks: NDArray[np.uint8]
    nearest: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.samples)

    def at(self, pixels: NDArray[np.int32], samples: NDArray[np.int32]) -> NDArray[np.int32]:
        """The events by which pixels changed at samples (N,); -1: changed by itself."""
        if not len(self):
            return np.full(len(pixels), -1, np.int32)
        event = self.nearest[np.clip(samples, 0, len(self.nearest) - 1)]
        part = self.masks[np.maximum(event, 0), pixels >> 3] >> (7 - (pixels & 7)).astype(np.uint8)
        return np.where((event >= 0) & (part & 1 > 0), event, -1).astype(np.int32)

    def mask(self, event: int, size: tuple[int, int]) -> NDArray[np.uint8]:
        """What changes at one, 0 or 1 (height, width)."""
        return np.unpackbits(self.masks[event], count=size[0] * size[1]).reshape(size)


def find(onsets: Onsets, size: tuple[int, int], samples: int, least: float) -> Events:
    """All events that change at least so many connected pixels, and much more than at the samples around."""
    area = size[0] * size[1]
    order = np.argsort(onsets.samples, kind="stable")
    ordered, pixels = onsets.samples[order], onsets.pixels[order]
    sums = np.convolve(np.bincount(onsets.samples, minlength=samples), np.ones(3, int), "same")
    nearest = np.full(samples + 1, -1, np.int32)
    apart = np.full(samples + 1, TOGETHER + 1)
    found: list[int] = []
    masks = []
    around = np.ones((3, 3), np.uint8)
    for sample in range(samples):
        low, high = max(0, sample - TOGETHER), sample + TOGETHER + 1
        near = sums[max(0, sample - AROUND) : sample + AROUND + 1]
        if sums[sample] < max(least, PEAK * np.median(near)) or sums[sample] < sums[low:high].max():
            continue
        if found and sample - found[-1] <= 1:  # of two alike
            continue
        begin, end = np.searchsorted(ordered, (sample - 1, sample + 2))
        mask = np.zeros(size, np.uint8)
        mask.ravel()[pixels[begin:end]] = 1
        count, labels = cv2.connectedComponents(cv2.dilate(mask, around))
        held = np.bincount(labels.ravel(), weights=mask.ravel(), minlength=count)
        large = held >= least
        large[0] = False
        if not large.any():
            continue
        number = len(found)
        found.append(sample)
        masks.append(np.packbits(large[labels]))
        for other in range(low, min(high, samples + 1)):
            if abs(other - sample) < apart[other]:
                apart[other], nearest[other] = abs(other - sample), number
    packed = np.stack(masks) if masks else np.zeros((0, (area + 7) // 8), np.uint8)
    return Events(np.array(found, np.intp), packed, nearest)
