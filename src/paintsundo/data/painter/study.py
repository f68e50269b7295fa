"""What a painter sees in a picture: its colours without texture, its areas, which way its edges run, its ink."""

from __future__ import annotations

from functools import cached_property
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data import segments
from paintsundo.data.painter import field
from paintsundo.data.painter.hierarchy import Hierarchy, Labels, hierarchy
from paintsundo.data.pictures import ink_of
from paintsundo.data.process import Picture

Floats = NDArray[np.float32]
T = TypeVar("T", bound=np.generic)
INK_TEXTURE = 2.0  # difference in Lab from the smoothed picture that counts as texture


def guided(values: Floats, radius: float, noise: float, rounds: int = 1) -> Floats:
    """Edge-preserving smoothing (H, W, C): the self-guided filter of He et al. 2010, its gain that of the channel
    which varies most.

    `radius` in pixels; `noise`: standard deviation, in units of the values, below which variation is smoothed away.
    """
    side = 2 * max(1, round(radius)) + 1
    for _ in range(rounds):
        mean = cv2.blur(values, (side, side))
        variance = np.maximum(cv2.blur(values * values, (side, side)) - mean * mean, 0).max(axis=2)
        gain = cv2.blur(variance / (variance + noise * noise), (side, side))[..., None]
        values = gain * values + (1 - gain) * mean
    return values


def to_lab(picture: NDArray[np.uint8]) -> Floats:
    """CIE L*a*b* (D65), L 0 ... 100, of an sRGB picture (H, W, 3)."""
    return cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)


def to_rgb(lab: Floats) -> Picture:
    """The sRGB picture (H, W, 3) of Lab values, clipped to the gamut."""
    values = cv2.cvtColor(lab, cv2.COLOR_Lab2RGB)
    return np.asarray(np.clip(np.round(values * 255), 0, 255).astype(np.uint8))


class Study:
    """A picture (H, W, 3) as painters look at it; every part is worked out when it is first asked for."""

    def __init__(self, picture: Picture):
        self.picture = np.ascontiguousarray(picture)
        self.height, self.width = picture.shape[:2]
        self.unit = float(np.sqrt(self.height * self.width)) / 256
        """Pixels in 1/256 of the side of a square canvas of the same area."""

    @cached_property
    def lab(self) -> Floats:
        return to_lab(self.picture)

    @cached_property
    def soft(self) -> Floats:
        """Lab without texture: fine details gone, edges kept."""
        return guided(self.clean, 1.5 * self.unit, 4.0, 2)

    @cached_property
    def broad(self) -> Floats:
        """Lab as seen with half-closed eyes: masses and their edges."""
        return guided(self.soft, 4 * self.unit, 9.0, 2)

    @cached_property
    def ink(self) -> tuple[Picture, NDArray[np.bool_]] | None:
        """The picture's own dark outlines on white (H, W, 3), and where they are (H, W); None if it is no line art.

        Other than the dark seams of a photograph they are all of one darkness, and what they enclose has no texture.
        """
        found = ink_of(self.picture)
        if found is None:
            return None
        mask = found[1].astype(np.uint8)
        core = self.lab[..., 0][cv2.erode(mask, np.ones((2, 2), np.uint8)) > 0]
        if not len(core):
            return None
        spread = float(np.percentile(core, 90) - np.median(core))
        away = cv2.dilate(mask, np.ones((5, 5), np.uint8)) == 0
        rough = np.abs(self.lab - guided(self.lab, 1.5 * self.unit, 4.0, 2)).max(axis=2) > INK_TEXTURE
        share = float(rough[away].mean()) if away.any() else 0.0
        inked = (share < 0.03 and spread < 14) or (share < 0.1 and spread < 8)
        return found if inked else None

    @cached_property
    def clean(self) -> Floats:
        """Lab with ink lines replaced by what is beside them."""
        if self.ink is None:
            return self.lab
        mask = cv2.dilate(self.ink[1].astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(1, round(self.unit)))
        return nearest_outside(self.lab, mask > 0)

    @cached_property
    def tangent(self) -> Floats:
        """Which way strokes run, smooth over a few units: (H, W, 2)."""
        return field.tangents(self.soft, 2.2 * self.unit)

    @cached_property
    def flow(self) -> Floats:
        """Which way broad strokes run: (H, W, 2)."""
        return field.tangents(self.broad, 6 * self.unit)

    @cached_property
    def hierarchy(self) -> Hierarchy:
        return hierarchy(to_rgb(self.soft), self.soft, self.unit)

    def areas(self, count: int) -> Labels:
        """The picture in at most so many areas (H, W), up to 255, numbered from 1, with smooth borders."""
        side = 2 * max(1, round(1.3 * self.unit)) + 1
        # The median of labels is a label of the neighbourhood, and of two labels the one of the majority.
        smooth = cv2.medianBlur(self.hierarchy.cut(min(count, 255)).astype(np.uint8), side)
        return np.unique(smooth, return_inverse=True)[1].reshape(smooth.shape).astype(np.int32) + 1

    @cached_property
    def contrast(self) -> Floats:
        """How much colours differ across an edge at each pixel (H, W), in Lab; 0 where they only pass into each other.

        Across an edge colours differ within two units nearly as much as within five; in a gradient they do not.
        """
        near, far = (_extent(self.soft, round(reach * self.unit)) for reach in (2, 5))
        return np.asarray(near * np.clip((near / np.maximum(far, 1e-3) - 0.45) / 0.2, 0, 1), np.float32)

    @cached_property
    def paper(self) -> NDArray[np.bool_]:
        """What is all but white (H, W)."""
        return self.picture.min(axis=2) >= segments.PAPER

    @cached_property
    def weak_contrast(self) -> float:
        """A contrast that is weak for this picture."""
        return 0.3 * float(np.percentile(self.contrast[::4, ::4], 95))


def _extent(values: Floats, reach: int) -> Floats:
    """Largest difference of a channel of values (H, W, C) within so many pixels: (H, W)."""
    kernel = np.ones((2 * max(1, reach) + 1,) * 2, np.uint8)
    return np.asarray((cv2.dilate(values, kernel) - cv2.erode(values, kernel)).max(axis=2))


def nearest_outside(values: NDArray[T], mask: NDArray[np.bool_]) -> NDArray[T]:
    """Values (H, W, ...) whose pixels under a mask (H, W) are taken from (about) the nearest outside."""
    if mask.all() or not mask.any():
        return values
    labels = cv2.distanceTransformWithLabels(mask.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
    number = np.zeros(int(labels.max()) + 1, np.int64)
    known = np.flatnonzero(~mask.ravel())
    number[labels.ravel()[known]] = known
    return values.reshape(-1, *values.shape[2:])[number[labels]]


def means(values: NDArray[np.generic], labels: Labels) -> NDArray[np.float64]:
    """Mean of values (H, W, C) in each numbered area: (max + 1, C)."""
    count = int(labels.max()) + 1
    size = np.maximum(np.bincount(labels.ravel(), minlength=count), 1)
    sums = [np.bincount(labels.ravel(), values[..., c].ravel(), count) for c in range(values.shape[2])]
    return np.stack(sums, axis=1) / size[:, None]
