"""A glyph written stroke by stroke: along each stroke at the speed of its length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from paintsundo.data import svg_paths
from paintsundo.data.glyphs.reading import Glyph, Stroke
from paintsundo.data.process import DONE, NEVER, Picture
from paintsundo.data.scene import render
from paintsundo.data.source import Unusable
from paintsundo.data.staged import Stage, StagedProcess
from paintsundo.data.strokes import resample
from paintsundo.data.svg_paths import Matrix, Polyline
from paintsundo.data.timeline import changed, nearest_known

WORK_RULE = "cumulative length of the strokes, in the order in which people write them"
LEAST_LENGTH = 0.01  # of a dot, in sides of the glyph's square
GUIDE_COLOUR, GUIDE_WIDTH = "#c8d2dc", 0.006
_GUIDE = ("M0 0H1V1H0Z", "M0 .5H1", "M.5 0V1")
_SUBPIXELS = 4  # bits


@dataclass(frozen=True)
class Pen:
    """Colour as #rrggbb; width of lines in shares of the canvas side."""

    colour: str = "#202020"
    width: float = 0.04


@dataclass(frozen=True)
class Written:
    """A stroke at its place on the canvas.

    Attributes:
        markup: its SVG element.
        line: (N, 2) pixels, one apart.
        outline: subpaths in pixels of what it fills; empty for a line.
        width: of a line, in pixels.
        guide: it is part of the grid.
    """

    markup: str
    line: Polyline
    outline: tuple[Polyline, ...]
    width: float
    length: float
    guide: bool = False

    def along(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """The length (H, W), 0 ... `length`, written when the pen first reaches a pixel; NaN outside the stroke.

        A line's pen is round; of an outline each pixel comes with the nearest point of its line.
        """
        lengths = np.linspace(0, self.length, len(self.line))
        scale = 1 << _SUBPIXELS
        keys = np.full(shape, np.nan)
        if not self.outline:
            centres = np.rint((self.line - 0.5) * scale).astype(int).tolist()
            radius = round((self.width / 2 + 0.5) * scale)
            for centre, length in zip(reversed(centres), lengths[::-1].tolist(), strict=True):
                cv2.circle(keys, centre, radius, length, cv2.FILLED, shift=_SUBPIXELS)
            return keys
        rings = [np.rint((ring - 0.5) * scale).astype(np.int32) for ring in self.outline]
        ys, xs = np.nonzero(cv2.fillPoly(np.zeros(shape, np.uint8), rings, 1, shift=_SUBPIXELS))
        keys[ys, xs] = lengths[cKDTree(self.line).query(np.column_stack([xs + 0.5, ys + 0.5]))[1]]
        return keys


def place(glyph: Glyph, shape: tuple[int, int], pen: Pen, margin: float, guide: bool) -> list[Written]:
    """The strokes of a glyph on a canvas (H, W), in the order of writing, those of a guide first.

    `margin`: around the glyph's square, in shares of the shorter side of the canvas. Raises Unusable for a stroke
    without length.
    """
    height, width = shape
    side = (1 - 2 * margin) * min(shape)
    square = np.array([[side, 0, (width - side) / 2], [0, side, (height - side) / 2]])
    lines = [Stroke(path, svg_paths.parse_path(path)[0]) for path in _GUIDE] if guide else []
    own = svg_paths.compose(square, np.array(glyph.matrix).reshape(3, 2).T)
    grid = Pen(GUIDE_COLOUR, GUIDE_WIDTH)
    found = [_written(stroke, square, square, grid, min(shape), side, True) for stroke in lines]
    return found + [_written(stroke, own, square, pen, min(shape), side) for stroke in glyph.strokes]


def _written(
    stroke: Stroke, own: Matrix, square: Matrix, pen: Pen, canvas: int, side: float, guide: bool = False
) -> Written:
    line = resample(svg_paths.apply(square, stroke.line))
    if len(line) < 2:
        raise Unusable("a stroke has no length")
    length = max(svg_paths.length([line]), LEAST_LENGTH * side)
    matrix = " ".join(f"{value:.8g}" for value in own.T.ravel())
    if stroke.filled:
        rings = tuple(svg_paths.apply(own, ring) for ring in svg_paths.parse_path(stroke.path))
        if not rings:
            raise Unusable("a stroke has no outline")
        look, width = f'fill="{pen.colour}"', 0.0
    else:
        width = pen.width * canvas
        units = width / abs(own[0, 0])
        look = (
            f'fill="none" stroke="{pen.colour}" stroke-width="{units:.8g}" '
            'stroke-linecap="round" stroke-linejoin="round"'
        )
        rings = ()
    markup = f'<path transform="matrix({matrix})" {look} d="{stroke.path}"/>'
    return Written(markup, line, rings, width, length, guide)


def paint(strokes: Sequence[Written], shape: tuple[int, int]) -> Picture:
    """The picture (H, W, 3) of strokes on white."""
    height, width = shape
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    return render(head + "".join(stroke.markup for stroke in strokes) + "</svg>", shape)


def write(strokes: Sequence[Written], shape: tuple[int, int], stages: int, **record: Any) -> StagedProcess:
    """The process of placed strokes: a guide, then at most `stages` stages of whole strokes, about equally long.

    The last state is the direct rendering of all strokes. Raises Unusable when nothing is to be seen.
    """
    ends = np.cumsum([stroke.length for stroke in strokes])
    guide = sum(stroke.guide for stroke in strokes)
    found: list[Stage] = []
    before = np.full((*shape, 3), 255, np.uint8)
    cuts = [0, *_cuts(ends[guide - 1 :] - ends[guide - 1] if guide else np.insert(ends, 0, 0.0), stages, guide)]
    for number, (first, last) in enumerate(pairwise(cuts), start=0 if guide else 1):
        after = paint(strokes[:last], shape)
        mask = changed(before, after)
        if mask.any():
            keys = _keys(strokes[first:last], ends[first] - strokes[first].length, mask)
            low, high = (int(end / ends[-1] * DONE) for end in (ends[first - 1] if first else 0.0, ends[last - 1]))
            reveal = np.full(shape, NEVER, np.uint16)
            reveal[mask] = np.clip(np.ceil(keys[mask] / ends[-1] * DONE), low + 1, high).astype(np.uint16)
            found.append(Stage(f"strokes {number}" if number else "guide", after, reveal))
        before = after
    if not found:
        raise Unusable("nothing is drawn")
    return StagedProcess(tuple(found), work_rule=WORK_RULE, **record)


def works(strokes: Sequence[Written]) -> list[float]:
    """The share of the work, 0 ... 1, at which each stroke ends."""
    ends = np.cumsum([stroke.length for stroke in strokes])
    return [round(float(end), 5) for end in ends / ends[-1]]


def _cuts(along: NDArray[np.float64], stages: int, guide: int) -> list[int]:
    """Numbers of strokes before the end of each stage; `along` (strokes + 1,) are lengths, from 0."""
    count = len(along) - 1
    parts = min(stages, count)
    wanted = np.arange(1, parts) / parts * along[-1]
    near = np.abs(along[:, None] - wanted).argmin(axis=0)
    for k in range(len(near)):  # each stage has a stroke at least, and leaves one to those after it
        near[k] = min(max(near[k], near[k - 1] + 1 if k else 1), count - (len(near) - k))
    return [*([guide] if guide else []), *(guide + int(cut) for cut in near), guide + count]


def _keys(strokes: Sequence[Written], start: float, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Length written (H, W) when the pen passes, from `start` on; of pixels in several strokes, in the first."""
    keys = np.full(mask.shape, np.nan)
    for stroke in strokes:
        keys = np.where(np.isnan(keys), start + stroke.along((mask.shape[0], mask.shape[1])), keys)
        start += stroke.length
    return nearest_known(np.where(mask, keys, np.nan), mask)  # rims
