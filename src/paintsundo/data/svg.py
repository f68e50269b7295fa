"""Vector art as a drawing process: sketch, ink, flat colours of the large shapes, details, shading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from paintsundo.data import brush, strokes, timeline
from paintsundo.data.process import Picture
from paintsundo.data.scene import Placed, Scene, draw_lines
from paintsundo.data.staged import StagedProcess
from paintsundo.data.svg_art import Override, Shape, UnusableArt
from paintsundo.data.svg_paths import Polyline
from paintsundo.data.svg_reader import parse
from paintsundo.data.svg_roles import Roles
from paintsundo.data.timeline import Draft

SKETCH_COLOUR = "#7598d8"
SKETCH_WIDTH = 2.1 / 256
SKETCH_APART, SKETCH_APART_FROM_INK = 0.018, 0.032  # lines closer to an earlier one, in canvas sides, are not drawn
SKETCH_KEPT = 0.05  # sketch farther than this from any ink, in canvas sides, stays until colour covers it
SKETCH_SMOOTHING = 3.0 / 256  # sigma along the line, as a share of the canvas side
SKETCH_LEAST = 0.004  # regions below this share of the canvas are not blocked in


class _Painter:
    """Paints the stages of a scene and finds the order in which their pixels change."""

    def __init__(self, scene: Scene, background: bool):
        self.scene, self.size = scene, scene.size
        self.roles = Roles(scene, background)
        self.elements = self.roles.element_ranks()

    def flat_paint(self, shape: Shape, details: bool) -> Override:
        """Flat colours. Without details only the base shapes and the ink: in line art details stay uncoloured

        within their lines, in other art they are not there yet.
        """
        role = self.roles[shape]
        if role.overlay:
            return None
        plain = {"fill-opacity": "1", "stroke-opacity": "1"}
        stroke = shape.stroke if role.stroke_is_ink or details or role.base else "none"
        if stroke.startswith("url("):
            stroke = role.flat
        if shape.fill == "none":
            fill = "none"
        elif role.fill_is_ink or details or role.base:
            fill = role.flat
        else:
            fill = "#ffffff" if shape.element in self.roles.inked else "none"
        return {**plain, "fill": fill, "stroke": stroke}

    def painting(self, name: str, picture: Picture, numbers: NDArray[np.int32]) -> Draft:
        """A stage in which the regions of a map of topmost shapes are painted."""
        parts = brush.components(numbers)
        elements = np.array([0] + [self.elements[shape.element] for shape in self.scene.shapes])
        groups = np.zeros(int(parts.max()) + 1, np.int32)
        groups[parts.ravel()] = elements[numbers.ravel()]
        return Draft(name, picture, *brush.painting(parts, groups, self.roles.of_background(numbers)))

    def is_ink(self, number: int) -> bool:
        role = self.roles[self.scene.shapes[number - 1]]
        return role.fill_is_ink or (role.stroke_is_ink and self.scene.shapes[number - 1].fill == "none")

    def seen_ink_lines(self) -> list[tuple[int, Polyline]]:
        """(Element, line) of all that is inked and not hidden by later shapes, points a pixel apart."""
        found = []
        for number, shape in enumerate(self.scene.shapes, start=1):
            role = self.roles[shape]
            if not role.ink:
                continue
            on_top = np.zeros((self.size + 2, self.size + 2), bool)
            on_top[1:-1, 1:-1] = ndimage.maximum_filter(self.roles.numbers == number, 3)
            for line in self.roles.lines[id(shape)]:
                points = strokes.resample(line)
                x, y = np.clip(points + 1, 0, self.size + 1).astype(int).T
                found += [(shape.element, run) for run in strokes.runs(points, on_top[y, x])]
        return found

    def sketch_lines(self) -> list[Polyline]:
        """The main outlines, smoothed, in drawing order: of the ink first, then of colours away from the ink."""
        size = self.size
        found = [(element, line, True) for element, line in self.seen_ink_lines() if len(line) > 0.15 * size]
        fills = self.roles.numbers.copy()
        fills[self.roles.of_background(fills)] = 0
        parts = brush.components(fills)
        area = np.bincount(parts.ravel())
        owner = np.zeros(len(area), np.int64)
        owner[parts.ravel()] = fills.ravel()
        parts[(area < SKETCH_LEAST * size * size)[parts]] = 0
        for part, loop in strokes.contours(parts):
            if not self.is_ink(int(owner[part])):
                element = self.scene.shapes[owner[part] - 1].element
                pieces = strokes.within(loop, size, size)
                found += [(element, strokes.resample(line), False) for line in pieces if len(line) >= 0.06 * size]
        lines = [
            strokes.canonical(strokes.smooth(line, SKETCH_SMOOTHING * size * (1 if inked else 1.5)))
            for _, line, inked in found
        ]
        groups = [int(self.elements[element]) for element, _, _ in found]
        order = strokes.stroke_order(lines, groups, size)
        order.sort(key=lambda k: (groups[k], not found[k][2]))
        apart = [
            (SKETCH_APART_FROM_INK if found[k][0] in self.roles.inked and not found[k][2] else SKETCH_APART) * size
            for k in order
        ]
        return strokes.without_repeats([lines[k] for k in order], apart, max(8, round(0.04 * size)))

    def ink_lines(self) -> list[Polyline]:
        found = [(int(self.elements[element]), strokes.canonical(line)) for element, line in self.seen_ink_lines()]
        order = strokes.stroke_order([line for _, line in found], [group for group, _ in found], self.size)
        return [found[k][1] for k in order]

    def drafts(self) -> list[Draft]:
        drafts: list[Draft] = []
        white = np.full_like(self.roles.final, 255)
        lines = self.sketch_lines()
        canvas: Picture = white
        if lines:
            canvas = draw_lines(lines, self.size, SKETCH_COLOUR, SKETCH_WIDTH * self.size)
            drafts.append(Draft("sketch", canvas, strokes.line_order(lines, timeline.changed(white, canvas))))
        if self.roles.inked:
            ink = self.scene.paint(self.roles.ink_paint, effects=False)
            marks = timeline.changed(white, ink)
            if marks.any():
                far = ndimage.distance_transform_edt(~marks) > SKETCH_KEPT * self.size
                ink = np.where(far[..., None], canvas, ink)
                drafts.append(Draft("ink", ink, strokes.line_order(self.ink_lines(), marks)))
        if self.roles.has_details():
            base = self.scene.topmost(lambda shape: (self.roles[shape].base,) * 2)
            flats = self.scene.paint(lambda shape: self.flat_paint(shape, details=False), effects=False)
            drafts.append(self.painting("flats", flats, base))
        flat = self.roles.final
        if self.roles.has_shading():
            flat = self.scene.paint(lambda shape: self.flat_paint(shape, details=True), effects=False)
        name = "details" if self.roles.has_details() else "flats"
        drafts.append(self.painting(name, flat, self.roles.numbers))
        drafts.append(self.painting("shading", self.roles.final, self.roles.all_numbers))
        return drafts


def scene_process(placed: list[Placed], size: int, background: bool = False, **record: Any) -> StagedProcess:
    """How art on a canvas of `size` pixels is drawn. `background`: the first element lies behind all others.

    The finished state equals the direct rendering pixel for pixel. Raises UnusableArt with a reason.
    """
    painter = _Painter(Scene(placed, size), background)
    drawn = float(timeline.changed(np.full_like(painter.roles.final, 255), painter.roles.final).mean())
    if drawn < 0.01:
        raise UnusableArt("all but blank")
    weights: Mapping[str, float] = record.pop("weights", timeline.WEIGHTS)
    return timeline.assemble(painter.drafts(), weights, **record)


def svg_process(data: bytes, size: int = 256, **record: Any) -> StagedProcess:
    """How one SVG file is drawn; see `scene_process`."""
    return scene_process([Placed(parse(data))], size, **record)
