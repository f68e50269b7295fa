"""In what order a picture comes about: lines, flat colour, shading.

Each stage is a set of pixels of the finished picture and a test "half of the way there"; a stage's time is
when half of what it reaches in the end is there (t50, in normalised film time). Tests are relative to the
distance each pixel has to go, so a cross-fade reaches lines and colour at the same moment instead of "lines
first".
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from paintsundo.metrics.films import Film, Floats, PreparedFilm, difference, over_channels, prepare, prepared

EDGE_STRENGTH = 0.10
"""Gradient, in units of 1 a pixel, from which the finished picture has an edge."""
HUE_CHANGE = 0.03
"""Gradient of chromaticity, r/(r+g+b) and so on, a pixel, that parts areas of two colours."""
DARK = 0.25
"""Pixels without a channel above this are line or ink, whose hue means nothing."""
LINE_DEPTH = 0.15
LINE_BRIGHTNESS = 0.4
LINE_WIDTH = 9
LEAST_SHARE = 0.005
"""A stage that covers less of the picture than this is not measured."""


@dataclass(frozen=True)
class StageOrder:
    """t50 of each stage in [0,1] of the film (None: the picture has none), and how much of its edge is
    outline.

    `line_before_colour` = t50 of colour − t50 of edges: positive when lines come first, 0 in a cross-fade.
    """

    edges: float | None
    colour: float | None
    shading: float | None
    outline_share: float

    @property
    def line_before_colour(self) -> float | None:
        return None if self.edges is None or self.colour is None else self.colour - self.edges


def stage_order_error(film: StageOrder, truth: StageOrder) -> float | None:
    """Mean |t50 − t50 of the true process| over lines, flat colour and shading, of those that both have, in [0,1].

    None where they share none. A stage that the film never reaches and the true process does counts 1. Fooled by a film
    that has only the order in common with the truth, not the places (see `change_region_iou`).
    """
    pairs = [(getattr(film, name), getattr(truth, name)) for name in ("edges", "colour", "shading")]
    errors = [1.0 if ours is None else abs(ours - true) for ours, true in pairs if true is not None]
    return sum(errors) / len(errors) if errors else None


def gradient(picture: Floats) -> Floats:
    """Strength of edges of a picture (h,w,3) in [0,1]: largest channel's Sobel magnitude per pixel, (h,w)."""
    across = cv2.Sobel(picture, cv2.CV_32F, 1, 0, ksize=3) / 8
    down = cv2.Sobel(picture, cv2.CV_32F, 0, 1, ksize=3) / 8
    return over_channels(cv2.magnitude(across, down))


def outlines(picture: Floats) -> NDArray[np.bool_]:
    """Thin dark lines of a picture (h,w,3): brightness below 0.4, black-hat deeper than 0.15, up to 8 px wide."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (LINE_WIDTH, LINE_WIDTH))
    brightness = picture.mean(axis=-1)
    return (cv2.morphologyEx(brightness, cv2.MORPH_BLACKHAT, kernel) > LINE_DEPTH) & (brightness < LINE_BRIGHTNESS)


def region_colours(picture: Floats, walls: NDArray[np.bool_]) -> Floats:
    """Median colour of the connected region each pixel lies in, regions parted by `walls`: (h,w,3)."""
    labels, count = ndimage.label(~walls)
    out = picture.copy()
    if count:
        for channel in range(3):
            medians = ndimage.median(picture[..., channel], labels, index=np.arange(1, count + 1))
            out[..., channel] = np.where(labels > 0, np.asarray(medians)[np.maximum(labels, 1) - 1], out[..., channel])
    return out


def half_time(recall: NDArray[np.float64]) -> float | None:
    """First normalised time at which a curve (N,) reaches half of its last value and never falls below it
    again.

    Linear between frames. None where the last value is 0.
    """
    if recall[-1] <= 0:
        return None
    half = recall[-1] / 2
    below = np.flatnonzero(recall < half)
    if len(below) == 0:
        return 0.0
    before = below[-1]
    part = (half - recall[before]) / (recall[before + 1] - recall[before])
    return float((before + part) / (len(recall) - 1))


def edge_recall(frames: Floats, radius: int = 2) -> NDArray[np.float64] | None:
    """Share of the finished picture's edge pixels that are there at each frame: (N,), in [0,1].

    There = the strongest gradient within `radius` px is at least half of the strongest there in the finished
    picture, so that a line a little beside its place counts. None without edges.
    """
    final = gradient(frames[-1])
    edges = final > EDGE_STRENGTH
    if edges.mean() < LEAST_SHARE:
        return None
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    strongest = cv2.dilate(final, kernel)[edges]
    return _recall(frames, lambda frame: cv2.dilate(gradient(frame), kernel)[edges] >= strongest / 2)


def colour_recall(frames: Floats, margin: int = 2) -> NDArray[np.float64] | None:
    """Share of coloured areas, away from edges, that are at least half way from blank to finished: (N,) in
    [0,1].

    None where the picture has no such areas (a line drawing). Fooled by underpainting in one mid tone.
    """
    final = frames[-1]
    kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    edges = gradient(final) > EDGE_STRENGTH
    areas = cv2.dilate(edges.astype(np.uint8), kernel) == 0
    way = difference(final, np.ones_like(final))
    areas &= (way > 0.1) & ~outlines(final)
    if areas.mean() < LEAST_SHARE:
        return None
    ends, half = final[areas], way[areas] / 2
    return _recall(frames, lambda frame: difference(frame[areas], ends) <= half)


def shading_recall(frames: Floats) -> NDArray[np.float64] | None:
    """Share of shaded pixels that are nearer to the finished colour than to their region's flat colour: (N,).

    Shaded = more than 0.08 from the median colour of the region, regions being areas of one hue
    (chromaticity) not crossed by outlines. None without shading. Fooled by fades, which reach shading last as
    well, and by neighbouring things of one hue without an outline between them.
    """
    final = frames[-1]
    chromaticity = (final + 0.05) / (final.sum(axis=-1, keepdims=True) + 0.15)
    walls = (gradient(chromaticity) > HUE_CHANGE) | outlines(final) | (final.max(axis=-1) < DARK)
    depth = difference(final, region_colours(final, walls))
    near_wall = cv2.dilate(walls.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    shaded = (depth > 0.08) & ~near_wall
    # Where blank paper is as good as the finished colour nothing needs to be painted.
    shaded &= difference(np.ones_like(final), final) >= depth / 2
    if shaded.mean() < LEAST_SHARE:
        return None
    ends, half = final[shaded], depth[shaded] / 2
    return _recall(frames, lambda frame: difference(frame[shaded], ends) < half)


def _recall(frames: Floats, there: Callable[[Floats], NDArray[np.bool_]]) -> NDArray[np.float64]:
    """Share of pixels that are there at each frame (N,); frames that repeat the one before are not looked at again."""
    out = np.empty(len(frames))
    for number, frame in enumerate(frames):
        still = number > 0 and np.array_equal(frame, frames[number - 1])
        out[number] = out[number - 1] if still else there(frame).mean()
    return out


def stage_order(film: Film | PreparedFilm) -> StageOrder:
    """When lines, flat colour and shading come about in a film (N,H,W,3).

    outline_share: part of the finished picture's edge pixels that lie on thin dark lines, in [0,1]; "line
    before colour" is a fair demand only where it is high. Fooled by edge maps coloured in afterwards (a null
    baseline).
    """
    whole = prepared(film)
    curves = stage_curves(whole)
    edges, colour, shading = (None if curve is None else half_time(curve) for curve in curves)
    return StageOrder(edges, colour, shading, whole.once("outlines", lambda: outline_share(whole.film[-1])))


class StageCurves(NamedTuple):
    """How much of each stage is there at each frame, (N,) in [0,1]; None where the picture has none of it."""

    edges: NDArray[np.float64] | None
    colour: NDArray[np.float64] | None
    shading: NDArray[np.float64] | None


def stage_curves(film: Film | PreparedFilm) -> StageCurves:
    """Recall of edges, flat colour and shading over a film (N,H,W,3): see the three functions above."""
    whole = prepared(film)

    def curves() -> StageCurves:
        frames = whole.frames
        return StageCurves(edge_recall(frames), colour_recall(frames), shading_recall(frames))

    return whole.once("stage curves", curves)


def outline_share(picture: NDArray[np.uint8]) -> float:
    """Part of a picture's edge pixels (uint8 (H,W,3)) that lie on or beside thin dark lines, in [0,1]."""
    scaled = prepare(picture[None])[0]
    edges = gradient(scaled) > EDGE_STRENGTH
    if not edges.any():
        return 0.0
    lines = cv2.dilate(outlines(scaled).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return float(lines[edges].mean())
