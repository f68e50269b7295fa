"""From construction to clean lines: what all styles draw before they paint."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from paintsundo.data import strokes
from paintsundo.data.painter import contours, pen
from paintsundo.data.painter.construction import construction
from paintsundo.data.painter.field import Floats, at
from paintsundo.data.painter.hierarchy import Labels
from paintsundo.data.painter.pen import Stroke
from paintsundo.data.painter.study import Study
from paintsundo.data.process import Picture
from paintsundo.data.svg_paths import Polyline
from paintsundo.data.timeline import Draft, changed


@dataclass(frozen=True)
class Pencil:
    """What sketches are drawn with: a colour, a width in units, and how dark its lines are, 0 ... 1."""

    colour: tuple[int, int, int]
    width: float = 1.1
    dark: float = 0.6


def without_repeats(lines: list[Polyline], height: int, width: int, distance: float, shortest: float) -> list[Polyline]:
    """Lines (points one pixel apart) without their parts within `distance` pixels of an earlier one; of what is left,
    pieces of at least `shortest` points."""
    taken = np.zeros((height, width), np.uint8)
    kept: list[Polyline] = []
    for line in lines:
        pieces = [piece for piece in strokes.runs(line, at(taken, line) == 0) if len(piece) >= shortest]
        kept += pieces
        places = [np.round(piece * 16).astype(np.int32) for piece in pieces]
        cv2.polylines(taken, places, False, 1, max(1, round(2 * distance)), cv2.LINE_8, 4)
    return kept


def outlines(study: Study, areas: Labels, sigma: float, least: float, contrast: float = 0.0) -> list[Polyline]:
    """Outlines of areas (H, W) in drawing order, smoothed by `sigma` units, none drawn twice, none shorter than `least`
    units, none along the canvas's edge, none where colours differ by less than `contrast` (in Lab)."""
    unit = study.unit
    shortest = least * unit
    loops = [loop for _, loop in strokes.contours(areas) if len(loop) >= shortest]
    found = [line for loop in loops for line in strokes.within(loop, study.height, study.width)]
    contrast = min(contrast, study.weak_contrast)
    if contrast > 0:
        found = [piece for line in found for piece in strokes.runs(line, _steadily(study, line, contrast))]
    found = [line for line in found if len(line) >= shortest]
    found = [strokes.canonical(strokes.smooth(line, sigma * unit)) for line in found]
    order = strokes.stroke_order(found, [0] * len(found), 256 * unit)
    ordered = [found[k] for k in order]
    return without_repeats(ordered, study.height, study.width, 3.5 * unit, 0.7 * shortest)


def _steadily(study: Study, line: Polyline, contrast: float) -> NDArray[np.bool_]:
    """Where colours differ along a line (N,), by what they do over some units of it, so that it is not dashed."""
    values = at(study.contrast, line).astype(np.float64)
    mode = "wrap" if strokes.is_closed(line) else "nearest"
    return np.asarray(ndimage.uniform_filter1d(values, max(1, round(8 * study.unit)), mode=mode) >= contrast)


def construct(
    study: Study, canvas: Picture, masses: Labels, parts: Labels, pencil: Pencil, rng: np.random.Generator
) -> Draft:
    """The simple shapes a drawing begins with, for a coarse and a finer cut of the picture (H, W)."""
    unit = study.unit
    shapes = [strokes.resample(line) for line in construction(masses, parts)]
    lines = [
        Stroke(pen.wobbled(line, 0.5 * unit, 20 * unit, rng), pencil.width * unit, 0.75 * pencil.dark, 12 * unit)
        for line in shapes
    ]
    return drafted("construction", canvas, lines, pencil.colour)


def sketch(study: Study, canvas: Picture, areas: Labels, pencil: Pencil, rng: np.random.Generator) -> Draft:
    """Searching lines around the areas of a middling cut (H, W), each in overlapping strokes, some of them twice."""
    unit = study.unit
    lines = []
    for line in outlines(study, areas, 5.0, 20.0, 5.0):
        for _ in range(1 if rng.random() < 0.5 else 2):
            for piece in pen.broken(line, 48 * unit, 8 * unit, rng):
                shaken = pen.wobbled(piece, 0.8 * unit, 9 * unit, rng)
                dark = pencil.dark * rng.uniform(0.75, 1.2)
                lines.append(Stroke(shaken, pencil.width * unit * rng.uniform(0.85, 1.25), dark, 10 * unit))
    return drafted("sketch", canvas, lines, pencil.colour)


def clean_lines(study: Study, areas: Labels, width: float) -> list[Stroke]:
    """The lines of a picture without ink: its contours, strong ones bolder and darker, and outlines of areas (H, W)
    that have none. `width` in units."""
    unit = study.unit
    strength = contours.line_strength(study.soft, unit)
    high = float(np.clip(np.percentile(strength, 97) * 0.8, 0.6, 2.2))
    traced = contours.drawn_lines(contours.line_mask(strength, 0.4 * high, high), 9 * unit, 1.2 * unit)
    order = strokes.stroke_order(traced, [0] * len(traced), 256 * unit)
    more = outlines(study, areas, 1.5, 14.0, 7.0)
    found = [traced[k] for k in order] + more
    found = without_repeats(found, study.height, study.width, 2.5 * unit, 8 * unit)
    order = strokes.stroke_order(found, [0] * len(found), 256 * unit)
    drawn = []
    for line in (found[k] for k in order):
        bold = float(np.clip(np.median(at(study.contrast, line)) / 30, 0, 1))
        drawn.append(Stroke(line, width * unit * (0.7 + 0.6 * bold), 0.55 + 0.45 * bold, 9 * unit))
    return drawn


def own_lines(ink: NDArray[np.bool_], unit: float) -> list[Stroke]:
    """Strokes along the middle of a picture's own ink (H, W), in drawing order: when they are drawn, not how they
    look."""
    lines = contours.drawn_lines(ink, 5 * unit, 1.0 * unit)
    order = strokes.stroke_order(lines, [0] * len(lines), 256 * unit)
    return [Stroke(lines[k], unit) for k in order]


def ink_cover(drawn: Picture) -> Floats:
    """How much of each pixel (H, W), 0 ... 1, black ink on white (H, W, 3) covers."""
    return np.asarray(1 - drawn[..., 0].astype(np.float32) / 255, np.float32)


def drafted(name: str, canvas: Picture, lines: list[Stroke], colour: tuple[int, int, int]) -> Draft:
    """A stage that draws lines of one colour on a canvas (H, W, 3)."""
    if not lines:
        return Draft(name, canvas, np.full(canvas.shape[:2], np.nan))
    picture = pen.drawn(canvas, pen.cover(lines, *canvas.shape[:2]), colour)
    return Draft(name, picture, pen.drawing_order(lines, changed(canvas, picture)))
