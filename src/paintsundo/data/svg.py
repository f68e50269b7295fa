"""Vector art as a drawing process: sketch, ink, flat colours of the large shapes, details, shading."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor
from scipy import ndimage

from paintsundo.data import brush, strokes, svg_paths, timeline
from paintsundo.data.process import DrawingProcess, Picture
from paintsundo.data.scene import Placed, Scene, draw_lines
from paintsundo.data.svg_art import Override, Shape, UnusableArt, parse
from paintsundo.data.svg_paths import Polyline
from paintsundo.data.timeline import Draft

SKETCH_COLOUR = "#7598d8"
SKETCH_WIDTH = 2.1 / 256
SKETCH_APART, SKETCH_APART_FROM_INK = 0.018, 0.032  # lines closer to an earlier one, in canvas sides, are not drawn
SKETCH_KEPT = 0.05  # sketch farther than this from any ink, in canvas sides, stays until colour covers it
SKETCH_SMOOTHING = 3.0 / 256  # sigma along the line, as a share of the canvas side
SKETCH_LEAST = 0.004  # regions below this share of the canvas are not blocked in
BASE_LEAST = 0.03  # shapes at least this share of the drawing are laid in first
OPAQUE = 0.9
DARK = 0.30  # luminance up to which a line counts as ink
THIN = 0.028  # strokes and shapes of which no more than this thickness is seen, in canvas sides, count as lines
INK_NEAR = 0.012  # canvas sides
INK_LEAST = 0.6  # share of the boundaries between shapes that have ink nearby, from which the art is line art
LINE_LAYER = re.compile(r"line|ink|outline|contour", re.I)


@dataclass
class _Role:
    """What a shape is to the painter."""

    overlay: bool = False  # shading: translucent, blurred, blended
    background: bool = False
    base: bool = False  # laid in first
    fill_is_ink: bool = False
    stroke_is_ink: bool = False
    flat: str = "#808080"  # the one colour that stands for its fill


def luminance(paint: str) -> float:
    """Relative luminance 0 ... 1 of a plain colour (gamma-encoded, ITU-R BT.709 weights); 1 for anything
    else.
    """
    try:
        red, green, blue = ImageColor.getrgb(paint)[:3]
    except ValueError:
        return 1.0
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


class _Painter:
    """Works out the roles of a scene's shapes and paints its stages."""

    def __init__(self, scene: Scene, background: bool):
        self.scene, self.size = scene, scene.size
        self.roles = {id(shape): _Role() for shape in scene.shapes}
        self.lines = {id(shape): scene.outline(shape) for shape in scene.shapes}
        self.final = scene.paint()
        for shape in scene.shapes:
            role = self.roles[id(shape)]
            role.background = background and shape.element == 0
            opacity = shape.fill_opacity if shape.fill != "none" else shape.stroke_opacity
            role.overlay = shape.soft or opacity < OPAQUE
        self.all_numbers = scene.topmost(lambda shape: (True, True))
        self.promote_lone_overlays()
        self.numbers = (
            scene.topmost(lambda shape: (not self.role(shape).overlay,) * 2)
            if self.has_overlays()
            else self.all_numbers
        )
        self.find_ink()
        self.find_base()
        self.find_flat_colours()
        self.elements = self.element_ranks()

    def role(self, shape: Shape) -> _Role:
        return self.roles[id(shape)]

    def has_overlays(self) -> bool:
        return any(role.overlay for role in self.roles.values())

    def promote_lone_overlays(self) -> None:
        """Translucent shapes with nothing beneath them are surfaces after all."""
        if not self.has_overlays():
            return
        below = self.scene.topmost(lambda shape: (not self.role(shape).overlay,) * 2)
        alone = np.bincount(self.all_numbers[below == 0], minlength=len(self.scene.shapes) + 1)
        seen = np.bincount(self.all_numbers.ravel(), minlength=len(self.scene.shapes) + 1)
        for number, shape in enumerate(self.scene.shapes, start=1):
            if self.role(shape).overlay and seen[number] and alone[number] > 0.5 * seen[number]:
                self.role(shape).overlay = False

    def find_ink(self) -> None:
        """Dark strokes and dark thin shapes are ink if they outline their element; so is a layer named for
        lines.
        """
        layered: set[int] = set()
        candidates: set[int] = set()
        thickness = self.seen_thickness()
        for shape in self.scene.shapes:
            role = self.role(shape)
            if role.overlay or role.background:
                continue
            in_layer = bool(LINE_LAYER.fullmatch(shape.layer.removeprefix(shape.prefix)))
            if in_layer:
                layered.add(shape.element)
            if shape.stroke != "none" and 0 < shape.stroke_width < 2 * THIN * self.size:
                role.stroke_is_ink = in_layer or luminance(shape.stroke) < DARK
            if shape.fill != "none" and luminance(shape.fill) < DARK:
                seen = thickness[self.scene.index[id(shape)] + 1]
                role.fill_is_ink = in_layer or 0 < seen < THIN * self.size
            if role.stroke_is_ink or role.fill_is_ink:
                candidates.add(shape.element)
        inked = set(layered)
        if candidates - layered:
            ink_shares = self.ink_shares()
            inked |= {element for element in candidates - layered if ink_shares[element] > INK_LEAST}
        for shape in self.scene.shapes:
            if shape.element not in inked:
                self.role(shape).fill_is_ink = self.role(shape).stroke_is_ink = False
        self.inked = inked

    def seen_thickness(self) -> NDArray[np.float64]:
        """How thick what is seen of each shape is, in pixels: (shapes + 1,), 0 for hidden ones.

        A black silhouette behind coloured shapes shows as outlines only, so geometry alone would not do.
        """
        numbers = self.numbers
        border = ndimage.maximum_filter(numbers, 3) != ndimage.minimum_filter(numbers, 3)
        depth = ndimage.distance_transform_edt(~border)
        thickness = np.zeros(len(self.scene.shapes) + 1)
        for number, window in enumerate(ndimage.find_objects(numbers), start=1):
            if window is not None:
                thickness[number] = 1 + 2 * np.percentile(depth[window][numbers[window] == number], 95)
        return thickness

    def ink_shares(self) -> list[float]:
        """Of each element: how much of the boundaries of its painted regions has ink nearby, 0 ... 1."""
        marks = timeline.changed(np.full_like(self.final, 255), self.scene.paint(self.ink_paint, effects=False))
        near = ndimage.distance_transform_edt(~marks) <= INK_NEAR * self.size if marks.any() else marks
        fills = self.scene.topmost(
            lambda shape: (not self.role(shape).overlay and not self.role(shape).fill_is_ink, False)
        )
        highest = ndimage.maximum_filter(fills, 3)
        boundary = highest != ndimage.minimum_filter(fills, 3)
        element = np.array([-1] + [shape.element for shape in self.scene.shapes])[highest]
        shares = []
        for number in range(len(self.scene.placed)):
            own = boundary & (element == number)
            shares.append(float(near[own].mean()) if own.any() else 0.0)
        return shares

    def find_base(self) -> None:
        drawn = (self.numbers > 0) & ~self.of_background(self.numbers)
        least = BASE_LEAST * max(1, int(drawn.sum())) / max(1, len(self.scene.placed) - self.has_background())
        for shape in self.scene.shapes:
            role = self.role(shape)
            surface = shape.fill != "none" and not role.overlay and not role.fill_is_ink
            role.base = role.background or (surface and svg_paths.area(self.lines[id(shape)]) >= least)

    def has_background(self) -> bool:
        return any(role.background for role in self.roles.values())

    def of_background(self, numbers: NDArray[np.int32]) -> NDArray[np.bool_]:
        lookup = np.array([False] + [self.role(shape).background for shape in self.scene.shapes])
        return lookup[numbers]

    def find_flat_colours(self) -> None:
        """A plain fill is its own flat colour; a gradient's or pattern's is its mean in the finished
        picture.
        """
        count = len(self.scene.shapes) + 1
        seen = np.maximum(np.bincount(self.numbers.ravel(), minlength=count), 1)
        means = np.stack(
            [np.bincount(self.numbers.ravel(), self.final[..., c].ravel(), count) / seen for c in range(3)],
            axis=1,
        )
        for number, shape in enumerate(self.scene.shapes, start=1):
            plain = "url(" not in shape.fill and shape.fill_opacity >= OPAQUE
            red, green, blue = np.round(means[number]).astype(int)
            self.role(shape).flat = shape.fill if plain else f"#{red:02x}{green:02x}{blue:02x}"

    def element_ranks(self) -> NDArray[np.int32]:
        """Elements in reading order of their centres; a background comes first."""
        keys = []
        for element, item in enumerate(self.scene.placed):
            x, y, width, height = item.box
            first = self.has_background() and element == 0
            keys.append((not first, float(brush.reading_order(x + width / 2, y + height / 2)), element))
        ranks = np.zeros(len(keys), np.int32)
        for rank, (_, _, element) in enumerate(sorted(keys)):
            ranks[element] = rank
        return ranks

    # Pictures

    def flat_paint(self, shape: Shape, details: bool) -> Override:
        """Flat colours. Without details only the base shapes and the ink: in line art details stay uncoloured

        within their lines, in other art they are not there yet.
        """
        role = self.role(shape)
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
            fill = "#ffffff" if shape.element in self.inked else "none"
        return {**plain, "fill": fill, "stroke": stroke}

    def ink_paint(self, shape: Shape) -> Override:
        """Ink on white paper; surfaces are white, so that they hide the lines behind them."""
        role = self.role(shape)
        if role.overlay or role.background:
            return None
        fill = "none" if shape.fill == "none" else shape.fill if role.fill_is_ink else "#ffffff"
        return {
            "fill": fill,
            "stroke": shape.stroke if role.stroke_is_ink else "none",
            "fill-opacity": "1",
            "stroke-opacity": "1",
        }

    # Order

    def painting(self, name: str, picture: Picture, numbers: NDArray[np.int32]) -> Draft:
        """A stage in which the regions of a map of topmost shapes are painted."""
        parts = brush.components(numbers)
        elements = np.array([0] + [self.elements[shape.element] for shape in self.scene.shapes])
        groups = np.zeros(int(parts.max()) + 1, np.int32)
        groups[parts.ravel()] = elements[numbers.ravel()]
        return Draft(name, picture, *brush.painting(parts, groups, self.of_background(numbers)))

    def is_ink(self, number: int) -> bool:
        role = self.role(self.scene.shapes[number - 1])
        return role.fill_is_ink or (role.stroke_is_ink and self.scene.shapes[number - 1].fill == "none")

    def seen_ink_lines(self) -> list[tuple[int, Polyline]]:
        """(Element, line) of all that is inked and not hidden by later shapes, points a pixel apart."""
        found = []
        for number, shape in enumerate(self.scene.shapes, start=1):
            role = self.role(shape)
            if not (role.stroke_is_ink or role.fill_is_ink):
                continue
            on_top = np.zeros((self.size + 2, self.size + 2), bool)
            on_top[1:-1, 1:-1] = ndimage.maximum_filter(self.numbers == number, 3)
            for line in self.lines[id(shape)]:
                points = strokes.resample(line)
                x, y = np.clip(points + 1, 0, self.size + 1).astype(int).T
                found += [(shape.element, run) for run in strokes.runs(points, on_top[y, x])]
        return found

    def sketch_lines(self) -> list[Polyline]:
        """The main outlines, smoothed, in drawing order: of the ink first, then of colours away from the ink."""
        size = self.size
        found = [(element, line, True) for element, line in self.seen_ink_lines() if len(line) > 0.15 * size]
        fills = self.numbers.copy()
        fills[self.of_background(fills)] = 0
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
            (SKETCH_APART_FROM_INK if found[k][0] in self.inked and not found[k][2] else SKETCH_APART) * size
            for k in order
        ]
        return strokes.without_repeats([lines[k] for k in order], apart, max(8, round(0.04 * size)))

    def ink_lines(self) -> list[Polyline]:
        found = [(int(self.elements[element]), strokes.canonical(line)) for element, line in self.seen_ink_lines()]
        order = strokes.stroke_order([line for _, line in found], [group for group, _ in found], self.size)
        return [found[k][1] for k in order]

    # Stages

    def drafts(self) -> list[Draft]:
        drafts: list[Draft] = []
        white = np.full_like(self.final, 255)
        lines = self.sketch_lines()
        canvas: Picture = white
        if lines:
            canvas = draw_lines(lines, self.size, SKETCH_COLOUR, SKETCH_WIDTH * self.size)
            drafts.append(Draft("sketch", canvas, strokes.line_order(lines, timeline.changed(white, canvas))))
        if self.inked:
            ink = self.scene.paint(self.ink_paint, effects=False)
            marks = timeline.changed(white, ink)
            if marks.any():
                far = ndimage.distance_transform_edt(~marks) > SKETCH_KEPT * self.size
                ink = np.where(far[..., None], canvas, ink)
                drafts.append(Draft("ink", ink, strokes.line_order(self.ink_lines(), marks)))
        base = self.scene.topmost(lambda shape: (self.role(shape).base,) * 2)
        flats = self.scene.paint(lambda shape: self.flat_paint(shape, details=False), effects=False)
        drafts.append(self.painting("flats", flats, base))
        flat = self.scene.paint(lambda shape: self.flat_paint(shape, details=True), effects=False)
        drafts.append(self.painting("details", flat, self.numbers))
        drafts.append(self.painting("shading", self.final, self.all_numbers))
        return drafts


def scene_process(placed: list[Placed], size: int, background: bool = False, **record: Any) -> DrawingProcess:
    """How art on a canvas of `size` pixels is drawn. `background`: the first element lies behind all others.

    The finished state equals the direct rendering pixel for pixel. Raises UnusableArt with a reason.
    """
    painter = _Painter(Scene(placed, size), background)
    drawn = float(timeline.changed(np.full_like(painter.final, 255), painter.final).mean())
    if drawn < 0.01:
        raise UnusableArt("all but blank")
    weights: Mapping[str, float] = record.pop("weights", timeline.WEIGHTS)
    return timeline.assemble(painter.drafts(), weights, **record)


def svg_process(data: bytes, size: int = 256, **record: Any) -> DrawingProcess:
    """How one SVG file is drawn; see `scene_process`."""
    return scene_process([Placed(parse(data))], size, **record)
