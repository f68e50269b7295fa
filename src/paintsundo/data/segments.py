"""Pictures as regions of one colour: smoothing, few colours, small regions given to their neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage

from paintsundo.data.brush import components
from paintsundo.data.process import Picture

_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _TO_XYZ.sum(axis=1)
_LINEAR = np.where(
    np.arange(256) <= 10, np.arange(256) / 255 / 12.92, ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4
).astype(np.float32)
PAPER = 242  # regions at least this light are bare paper


def lab(picture: Picture) -> NDArray[np.float32]:
    """CIE L*a*b* (D65) of an sRGB picture: (H, W, 3), L 0 ... 100."""
    xyz = _LINEAR[picture] @ (_TO_XYZ / _WHITE[:, None]).T.astype(np.float32)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = np.moveaxis(f, 2, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=2).astype(np.float32)


def smoothed(picture: Picture, radius: float, rounds: int) -> Picture:
    """Edge-preserving smoothing: `rounds` of a self-guided filter (He et al. 2010) of `radius` pixels per
    channel.
    """
    values = picture.astype(np.float32)
    side = 2 * max(1, round(radius)) + 1
    for _ in range(rounds):
        mean = ndimage.uniform_filter(values, (side, side, 0))
        variance = ndimage.uniform_filter(values * values, (side, side, 0)) - mean * mean
        gain = variance.max(axis=2, keepdims=True)
        gain = gain / (gain + 18.0**2)
        gain = ndimage.uniform_filter(gain, (side, side, 0))
        values = gain * values + (1 - gain) * mean
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def nearest(colours: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.intp]:
    """The number of the nearest centre (K, 3) for each colour (N, 3)."""
    distance = (centres * centres).sum(axis=1) - 2 * (colours @ centres.T)
    return np.argmin(distance, axis=1)


def palette(colours: NDArray[np.float32], count: int, rounds: int = 6) -> NDArray[np.float32]:
    """At most `count` centres (count, 3) of colours (N, 3): median cut, then k-means; always the same."""
    sample = colours[:: max(1, len(colours) // 4000)]

    def measured(box: NDArray[np.float32]) -> tuple[float, int, NDArray[np.float32]]:
        extent = np.ptp(box, axis=0)
        return len(box) * float(extent.max()) ** 2, int(np.argmax(extent)), box

    boxes = [measured(sample)]
    while len(boxes) < count:
        widest = max(range(len(boxes)), key=lambda k: boxes[k][0])
        spread, axis, box = boxes[widest]
        if spread == 0:
            break
        low = box[:, axis] <= (box[:, axis].min() + box[:, axis].max()) / 2
        boxes[widest : widest + 1] = [measured(box[low]), measured(box[~low])]
    centres = np.stack([box.mean(axis=0) for _, _, box in boxes])
    for _ in range(rounds):
        owner = nearest(sample, centres)
        weight = np.bincount(owner, minlength=len(centres))
        sums = np.stack([np.bincount(owner, sample[:, c], len(centres)) for c in range(3)], axis=1)
        means = sums / np.maximum(weight, 1)[:, None]
        centres = np.where(weight[:, None] > 0, means, centres).astype(np.float32)
    return centres


def regions(picture: Picture, colours: int, least: float, thickness: float, mode: int = 0) -> NDArray[np.int32]:
    """Connected regions (H, W), numbered from 1, of a picture reduced to so many colours.

    Regions below `least` of the canvas, or nowhere `thickness` pixels away from their border, go to their
    nearest neighbours; `mode` is the side of a majority filter that straightens borders (0: none).
    """
    values = lab(picture).reshape(-1, 3)
    centres = palette(values, colours)
    near = nearest(values, centres).astype(np.uint8).reshape(picture.shape[:2])
    if mode:
        near = np.asarray(Image.fromarray(near).filter(ImageFilter.ModeFilter(mode)))
    return without_small(components(near.astype(np.int32) + 1), least, thickness)


def without_small(parts: NDArray[np.int32], least: float, thickness: float) -> NDArray[np.int32]:
    """Give regions that are too small or too thin to the nearest others; numbers stay consecutive from 1."""
    small = np.bincount(parts.ravel()) < least * parts.size
    if thickness > 0:
        border = ndimage.maximum_filter(parts, 3) != ndimage.minimum_filter(parts, 3)
        depth = ndimage.distance_transform_edt(~border)
        small |= ndimage.maximum(depth, parts, np.arange(len(small))) < thickness
    small[0] = True
    if small[1:].all():
        return np.ones_like(parts)
    mask = small[parts]
    if mask.any():
        near = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
        parts = parts[tuple(near)]
    return np.unique(parts, return_inverse=True)[1].reshape(parts.shape).astype(np.int32) + 1


def flat_picture(picture: Picture, parts: NDArray[np.int32]) -> Picture:
    """Every region in its mean colour; those white for the most part are bare paper."""
    count = int(parts.max()) + 1
    area = np.maximum(np.bincount(parts.ravel(), minlength=count), 1)
    means = np.stack([np.bincount(parts.ravel(), picture[..., c].ravel(), count) / area for c in range(3)], axis=1)
    light = np.bincount(parts.ravel(), (picture.min(axis=2) >= PAPER).ravel(), count) / area
    means[light > 0.5] = 255
    return np.round(means).astype(np.uint8)[parts]
