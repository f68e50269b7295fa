"""Vector art as a drawing process: sketch, ink, flat colours of the large shapes, details, shading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from paintsundo.data import brush, strokes, timeline
from paintsundo.data.process import Picture
from paintsundo.data.scene import Placed, Scene, draw_lines, without_markers
from paintsundo.data.source import Unusable
from paintsundo.data.staged import StagedProcess
from paintsundo.data.svg_art import Override, Shape
from paintsundo.data.svg_paths import Polyline
from paintsundo.data.svg_reader import parse
from paintsundo.data.svg_roles import Roles
from paintsundo.data.timeline import Draft

STAGES = tuple(timeline.WEIGHTS)
ORDERS = ("painter", "file")
SKETCH_COLOUR = "#7598d8"
SKETCH_WIDTH = 2.1 / 256
SKETCH_APART, SKETCH_APART_FROM_INK = 0.018, 0.032  # lines closer to an earlier one, in canvas sides, are not drawn
SKETCH_KEPT = 0.05  # sketch farther than this from any ink, in canvas sides, stays when it is not steady
BLOCKED_IN = 8  # colours of a picture that has no shapes
LEAST_DRAWN = 0.001  # share of the canvas
SKETCH_LEAST = 0.004  # regions below this share of the canvas are not blocked in


@dataclass
class Sketch:
    """How the construction sketch looks.

    Attributes:
        colour: of the pencil, any CSS colour.
        width: of a line, as a share of the canvas side.
        smoothing: sigma along a line, as a share of the canvas side.
    """

    colour: str = SKETCH_COLOUR
    width: float = SKETCH_WIDTH
    smoothing: float = 3.0 / 256


@dataclass
class Look:
    """How vector art is drawn.

    Attributes:
        stages: those to draw; what the others would have added comes with the last one.
        order: of areas and lines: "painter", large to small, then in reading order; "file", as the file has them.
        steady: hardly a step leads away from the picture. No channel of a sketched line is darker than in the finished
            picture, so it is tinted by what will cover it and does not show on paper that stays bare; lines are
            covered, never wiped away, and show through the first flats; what is nearer to white than to a flat colour
            is left bare. Otherwise the sketch is of one colour, cleaned away by ink and flats, and flats lie beneath
            all details.
    """

    stages: tuple[str, ...] = STAGES
    order: str = "painter"
    steady: bool = True
    sketch: Sketch = field(default_factory=Sketch)


class _Painter:
    """Paints the stages of a scene and finds the order in which their pixels change."""

    def __init__(self, scene: Scene, background: bool, look: Look):
        self.scene, self.size, self.look = scene, scene.size, look
        self.roles = Roles(scene, background, look.steady)
        self.elements = self.roles.element_ranks()

    def flat_paint(self, shape: Shape, details: bool) -> Override:
        """Flat colours. Without details only the base shapes and the ink: in line art details stay uncoloured

        within their lines, in other art they are not there yet.
        """
        role = self.roles[shape]
        if role.overlay or shape.tag == "image":
            return None
        if shape.tag == "text":
            return {} if details else None
        plain = {"fill-opacity": "1", "stroke-opacity": "1"}
        if not details:
            plain |= without_markers(shape)
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
        elements = np.array([0, *(self.group(number) for number in range(1, len(self.scene.shapes) + 1))])
        groups = np.zeros(int(parts.max()) + 1, np.int32)
        groups[parts.ravel()] = elements[numbers.ravel()]
        return Draft(name, picture, *brush.painting(parts, groups, self.roles.of_background(numbers)))

    def group(self, number: int) -> int:
        """What comes before any other order: the element of a composition; in file order, the shape itself."""
        if self.look.order == "file":
            return number
        return int(self.elements[self.scene.shapes[number - 1].element])

    def is_ink(self, number: int) -> bool:
        role = self.roles[self.scene.shapes[number - 1]]
        return role.fill_is_ink or (role.stroke_is_ink and self.scene.shapes[number - 1].fill == "none")

    def seen_ink_lines(self) -> list[tuple[int, Polyline]]:
        """(Number of the shape, line) of all that is inked and not hidden by later shapes, points a pixel apart."""
        height, width = self.scene.shape
        found = []
        for number, shape in enumerate(self.scene.shapes, start=1):
            role = self.roles[shape]
            if not role.ink:
                continue
            on_top = np.zeros((height + 2, width + 2), bool)
            on_top[1:-1, 1:-1] = ndimage.maximum_filter(self.roles.numbers == number, 3)
            for line in self.roles.lines[id(shape)]:
                points = strokes.resample(line)
                x, y = np.clip(points + 1, 0, (width + 1, height + 1)).astype(int).T
                found += [(number, run) for run in strokes.runs(points, on_top[y, x])]
        return found

    def sketch_lines(self) -> list[Polyline]:
        """The main outlines, smoothed, in drawing order: of the ink first, then of colours away from the ink."""
        size, shapes = self.size, self.scene.shapes
        found = [(number, line, True) for number, line in self.seen_ink_lines() if len(line) > 0.15 * size]
        fills = self.roles.numbers.copy()
        fills[self.roles.of_background(fills)] = 0
        parts = brush.components(fills)
        area = np.bincount(parts.ravel())
        owner = np.zeros(len(area), np.int64)
        owner[parts.ravel()] = fills.ravel()
        parts[(area < SKETCH_LEAST * size * size)[parts]] = 0
        for part, loop in strokes.contours(parts):
            if not self.is_ink(int(owner[part])):
                number = int(owner[part])
                pieces = strokes.within(loop, *self.scene.shape)
                found += [(number, strokes.resample(line), False) for line in pieces if len(line) >= 0.06 * size]
        lines = [
            strokes.canonical(strokes.smooth(line, self.look.sketch.smoothing * size * (1 if inked else 1.5)))
            for _, line, inked in found
        ]
        groups = [self.group(number) for number, _, _ in found]
        order = strokes.stroke_order(lines, groups, size)
        order.sort(key=lambda k: (groups[k], not found[k][2]))
        apart = [
            (
                SKETCH_APART
                if found[k][2] or shapes[found[k][0] - 1].element not in self.roles.inked
                else SKETCH_APART_FROM_INK
            )
            * size
            for k in order
        ]
        return strokes.without_repeats([lines[k] for k in order], apart, max(8, round(0.04 * size)))

    def ink_lines(self) -> list[Polyline]:
        found = [(self.group(number), strokes.canonical(line)) for number, line in self.seen_ink_lines()]
        order = strokes.stroke_order([line for _, line in found], [group for group, _ in found], self.size)
        return [found[k][1] for k in order]

    def sketch(self, lines: list[Polyline]) -> Picture:
        """The lines on paper (H, W, 3)."""
        look = self.look.sketch
        drawn = draw_lines(lines, self.scene.shape, look.colour, look.width * self.size)
        return np.maximum(drawn, self.roles.final) if self.look.steady else drawn

    def not_yet(self, regions: NDArray[np.int32], before: Picture, after: Picture) -> NDArray[np.bool_]:
        """Where (H, W) a stage would lead away from the finished picture, by connected regions of the numbered shapes:

        light details on a colour, for which the paper is left bare, and what only its shading makes bright.
        """
        parts = brush.components(regions)
        final = self.roles.final.astype(np.int32)
        gain = np.abs(before - final).sum(axis=2) - np.abs(after - final).sum(axis=2)
        away = np.bincount(parts.ravel(), gain.ravel()) < 0
        away[0] = False
        return np.asarray(away[parts])

    def steady_flats(self, base: NDArray[np.int32], before: Picture, flats: Picture) -> Picture:
        """Flats of the base shapes (H, W numbers) over what is there: light details are left bare, and the lines of
        details show through.
        """
        covered = np.where(base == self.roles.numbers, 0, self.roles.numbers)
        nothing = (base == 0) & (flats == 255).all(axis=2)
        flats = np.where((nothing | self.not_yet(covered, before, flats))[..., None], before, flats)
        return np.where((covered > 0)[..., None], np.minimum(flats, before), flats)

    def blocked_in(self) -> list[Draft]:
        """The finished picture after its few main colours, nowhere darker than it."""
        few = Image.fromarray(self.roles.final).quantize(BLOCKED_IN, dither=Image.Dither.NONE)
        labels = ndimage.median_filter(np.asarray(few), 5).astype(np.int32) + 1
        colours = np.array(few.getpalette(), np.uint8).reshape(-1, 3)
        flats = np.maximum(colours[labels - 1], self.roles.final)
        areas = brush.painting(brush.components(labels))
        return [Draft("flats", flats, *areas), Draft("shading", self.roles.final, *areas)]

    def drafts(self) -> list[Draft]:
        """The stages wanted; the last one ends with the finished picture."""
        drafts: list[Draft] = []
        wanted = self.look.stages
        white = np.full_like(self.roles.final, 255)
        lines = self.sketch_lines() if "sketch" in wanted else []
        canvas: Picture = white
        if lines:
            canvas = self.sketch(lines)
            drafts.append(Draft("sketch", canvas, strokes.line_order(lines, timeline.changed(white, canvas))))
        if self.roles.inked and "ink" in wanted:
            ink = self.scene.paint(self.roles.ink_paint, effects=False)
            marks = timeline.changed(white, ink)
            if marks.any():
                far = ndimage.distance_transform_edt(~marks) > SKETCH_KEPT * self.size
                ink = np.minimum(canvas, ink) if self.look.steady else np.where(far[..., None], canvas, ink)
                drafts.append(Draft("ink", ink, strokes.line_order(self.ink_lines(), marks)))
        if self.roles.has_details() and "flats" in wanted:
            base = self.scene.topmost(lambda shape: (self.roles[shape].base,) * 2)
            flats = self.scene.paint(lambda shape: self.flat_paint(shape, details=False), effects=False)
            if self.look.steady:
                flats = self.steady_flats(base, drafts[-1].picture if drafts else white, flats)
            drafts.append(self.painting("flats", flats, base))
        name = "details" if self.roles.has_details() else "flats"
        if name in wanted:
            flat = self.roles.final
            if self.roles.has_shading():
                flat = self.scene.paint(lambda shape: self.flat_paint(shape, details=True), effects=False)
                if self.look.steady:
                    before = drafts[-1].picture if drafts else white
                    flat = np.where(self.not_yet(self.roles.numbers, before, flat)[..., None], before, flat)
            drafts.append(self.painting(name, flat, self.roles.numbers))
        last = self.painting("shading", self.roles.final, self.roles.all_numbers)
        if "shading" in wanted:
            drafts.append(last)
        elif drafts and drafts[-1].name != "sketch":
            drafts[-1] = replace(drafts[-1], picture=self.roles.final)
        else:
            drafts.append(replace(last, name=wanted[-1]))
        return drafts


def scene_process(
    placed: list[Placed],
    size: int | tuple[int, int],
    background: bool = False,
    look: Look | None = None,
    fonts: str = "none",
    **record: Any,
) -> StagedProcess:
    """How art is drawn on a canvas of `size` pixels, or (height, width) of them.

    `background`: the first element lies behind all others. The finished state equals the direct rendering pixel for
    pixel. What of a file could not be drawn is listed in `extra["notes"]`. Raises Unusable with a reason.
    """
    painter = _Painter(Scene(placed, size, fonts), background, look or Look())
    drawn = float(timeline.changed(np.full_like(painter.roles.final, 255), painter.roles.final).mean())
    if drawn < LEAST_DRAWN:
        raise Unusable("all but blank")
    notes = list(dict.fromkeys(note for item in placed for note in item.art.notes))
    if fonts == "none" and any(item.art.has_text for item in placed):
        notes.append("not drawn: text, for want of fonts")
    if notes:
        record["extra"] = {**record.get("extra", {}), "notes": notes}
    weights: Mapping[str, float] = record.pop("weights", timeline.WEIGHTS)
    process = timeline.assemble(painter.drafts(), weights, **record)
    if len(process.stages) == 1 and {"flats", "shading"} <= set(painter.look.stages):  # nothing to draw in parts
        process = timeline.assemble(painter.blocked_in(), weights, **record)
    return process


def svg_process(data: bytes, size: int | tuple[int, int] = 256, **record: Any) -> StagedProcess:
    """How one SVG file is drawn; see `scene_process`."""
    return scene_process([Placed(parse(data))], size, **record)
