"""What each shape of a scene is to a painter: ink, surface, detail, overlay, background."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor
from scipy import ndimage

from paintsundo.data import brush, svg_paths, timeline
from paintsundo.data.scene import Scene, without_markers
from paintsundo.data.svg_art import Override, Shape

BASE_LEAST = 0.03  # shapes at least this share of the drawing are laid in first
OPAQUE = 0.9
DARK = 0.30  # luminance up to which a line counts as ink
THIN = 0.028  # strokes and shapes of which no more than this thickness is seen, in canvas sides, count as lines
LIGHT = 0.75  # of the colours of a gradient are darker than the one that stands for it
INK_NEAR = 0.012  # canvas sides
INK_LEAST = 0.6  # share of the boundaries between shapes that have ink nearby, from which the art is line art
LINE_LAYER = re.compile(r"line|ink|outline|contour", re.I)


@dataclass
class Role:
    """What a shape is to the painter."""

    overlay: bool = False  # shading: translucent, blurred, blended
    background: bool = False
    base: bool = False  # laid in first
    fill_is_ink: bool = False
    stroke_is_ink: bool = False
    flat: str = "#808080"  # the one colour that stands for its fill

    @property
    def ink(self) -> bool:
        """Whether any of it is ink."""
        return self.fill_is_ink or self.stroke_is_ink


def luminance(paint: str) -> float:
    """Relative luminance 0 ... 1 of a plain colour (gamma-encoded, ITU-R BT.709 weights); 1 for anything
    else.
    """
    try:
        red, green, blue = ImageColor.getrgb(paint)[:3]
    except ValueError:
        return 1.0
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


class Roles:
    """The roles of all shapes of a scene, found from its finished picture and from which shape lies on top where.

    Attributes: `final` (H, W, 3), the direct rendering; `numbers` (H, W), the topmost surface at each pixel as its
    place in `scene.shapes` + 1, and `all_numbers`, overlays included; `inked`, the elements that are line art. `light`:
    nothing is laid in darker than it will be, as far as one colour can do that.
    """

    def __init__(self, scene: Scene, background: bool, light: bool = False):
        self.scene, self.size, self.light = scene, scene.size, light
        self._roles = {id(shape): Role() for shape in scene.shapes}
        self.lines = {id(shape): shape.outline() for shape in scene.shapes}
        self.final = scene.paint()
        for shape in scene.shapes:
            role = self[shape]
            role.background = background and shape.element == 0
            role.overlay = shape.soft or self.opacity(shape) < OPAQUE
        self.all_numbers = scene.topmost(lambda shape: (True, True))
        self.numbers = self._surfaces()
        self.inked: set[int] = set()
        self._find_ink()
        self._find_base()
        self._find_flat_colours()

    def __getitem__(self, shape: Shape) -> Role:
        return self._roles[id(shape)]

    @staticmethod
    def opacity(shape: Shape) -> float:
        """Of the fill, or of the stroke where there is only that: 0 ... 1."""
        return shape.fill_opacity if shape.fill != "none" else shape.stroke_opacity

    def _surfaces(self) -> NDArray[np.int32]:
        """The topmost opaque shape at each pixel. Overlays with nothing beneath them are surfaces after all."""
        if not any(self[shape].overlay for shape in self.scene.shapes):
            return self.all_numbers
        below = self.scene.topmost(lambda shape: (not self[shape].overlay,) * 2)
        count = len(self.scene.shapes) + 1
        alone = np.bincount(self.all_numbers[below == 0], minlength=count)
        seen = np.bincount(self.all_numbers.ravel(), minlength=count)
        lonely = [
            shape
            for number, shape in enumerate(self.scene.shapes, start=1)
            if self[shape].overlay and seen[number] and alone[number] > 0.5 * seen[number]
        ]
        for shape in lonely:
            self[shape].overlay = False
        return self.scene.topmost(lambda shape: (not self[shape].overlay,) * 2) if lonely else below

    def _find_ink(self) -> None:
        """Dark strokes and dark thin shapes are ink if they outline their element; so is a layer named for
        lines.
        """
        layered: set[int] = set()
        candidates: set[int] = set()
        thickness = self.seen_thickness()
        for shape in self.scene.shapes:
            role = self[shape]
            if role.overlay or role.background or shape.whole or (self.light and self.opacity(shape) < OPAQUE):
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
                self[shape].fill_is_ink = self[shape].stroke_is_ink = False
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
        fills = self.scene.topmost(lambda shape: (not self[shape].overlay and not self[shape].fill_is_ink, False))
        highest = ndimage.maximum_filter(fills, 3)
        boundary = highest != ndimage.minimum_filter(fills, 3)
        element = np.array([-1] + [shape.element for shape in self.scene.shapes])[highest]
        shares = []
        for number in range(len(self.scene.placed)):
            own = boundary & (element == number)
            shares.append(float(near[own].mean()) if own.any() else 0.0)
        return shares

    def ink_paint(self, shape: Shape) -> Override:
        """Ink on white paper; surfaces are white, so that they hide the lines behind them."""
        role = self[shape]
        if role.overlay or role.background or shape.whole:
            return None
        fill = "none" if shape.fill == "none" else shape.fill if role.fill_is_ink else "#ffffff"
        return {
            "fill": fill,
            "stroke": shape.stroke if role.stroke_is_ink else "none",
            "fill-opacity": "1",
            "stroke-opacity": "1",
            **without_markers(shape),
        }

    def _find_base(self) -> None:
        drawn = (self.numbers > 0) & ~self.of_background(self.numbers)
        least = BASE_LEAST * max(1, int(drawn.sum())) / max(1, len(self.scene.placed) - self.has_background())
        for shape in self.scene.shapes:
            role = self[shape]
            surface = shape.fill != "none" and not role.overlay and not role.fill_is_ink and not shape.whole
            role.base = role.background or (surface and svg_paths.area(self.lines[id(shape)]) >= least)

    def has_details(self) -> bool:
        """Whether there are surfaces besides the large ones."""
        roles = [self[shape] for shape in self.scene.shapes]
        return any(not (role.base or role.overlay or role.ink) for role in roles)

    def has_shading(self) -> bool:
        """Whether the finished picture can differ from flat colours."""
        plain = all(
            not self[shape].overlay
            and shape.fill_opacity == shape.stroke_opacity == 1
            and "url(" not in shape.fill + shape.stroke
            for shape in self.scene.shapes
        )
        return not plain or any(item.art.has_effects for item in self.scene.placed)

    def has_background(self) -> bool:
        return any(self[shape].background for shape in self.scene.shapes)

    def of_background(self, numbers: NDArray[np.int32]) -> NDArray[np.bool_]:
        lookup = np.array([False] + [self[shape].background for shape in self.scene.shapes])
        return lookup[numbers]

    def _find_flat_colours(self) -> None:
        """A plain fill is its own flat colour; a gradient's or pattern's is its mean in the finished picture, or one of
        its lighter colours, which shading has hardly ever to brighten.
        """
        windows = ndimage.find_objects(self.numbers)
        for number, shape in enumerate(self.scene.shapes, start=1):
            if "url(" not in shape.fill and shape.fill_opacity >= OPAQUE:
                self[shape].flat = shape.fill
                continue
            window = windows[number - 1] if number <= len(windows) else None
            colour = np.zeros(3)
            if window is not None:
                seen = self.final[window][self.numbers[window] == number]
                by_light = np.argsort(seen.sum(axis=1, dtype=np.int64), kind="stable")
                colour = seen[by_light[int(LIGHT * (len(seen) - 1))]] if self.light else seen.mean(axis=0)
            red, green, blue = np.round(colour).astype(int)
            self[shape].flat = f"#{red:02x}{green:02x}{blue:02x}"

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
