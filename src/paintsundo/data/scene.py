"""One or several pieces of art on a canvas, painted in variants and by number."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from paintsundo.data import svg_paths
from paintsundo.data.process import Picture
from paintsundo.data.svg_art import Override, Shape, SvgArt, UnusableArt, open_tag
from paintsundo.data.svg_paths import Matrix, Polyline

_HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
_WHITE = 0xFFFFFF


@dataclass(frozen=True)
class Placed:
    """Art in a box (x, y, width, height) of the canvas, in shares of its side."""

    art: SvgArt
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)


def render(markup: str, size: int, crisp: bool = False) -> Picture:
    """SVG markup as a picture (size, size, 3) on white. Raises UnusableArt when the renderer refuses it."""
    import resvg_py

    try:
        data = resvg_py.svg_to_bytes(
            svg_string=markup,
            background="#ffffff",
            skip_system_fonts=True,
            shape_rendering="crisp_edges" if crisp else "geometric_precision",
        )
    except ValueError as error:
        raise UnusableArt(f"not rendered: {error}") from error
    picture = np.asarray(Image.open(io.BytesIO(bytes(data))).convert("RGB"))
    if picture.shape != (size, size, 3):
        raise UnusableArt("not rendered at the size asked for")
    return picture


class Scene:
    """Placed art on a square canvas of `size` pixels; the first element may be a background."""

    def __init__(self, placed: list[Placed], size: int):
        self.size = size
        self.placed = placed
        self.shapes: list[Shape] = []
        for element, item in enumerate(placed):
            to_pixels = self._to_pixels(item)
            for shape in item.art.shapes:
                shape.element = element
                shape.matrix = svg_paths.compose(to_pixels, shape.matrix)
                shape.stroke_width *= float(to_pixels[0, 0])
                self.shapes.append(shape)
        self.index = {id(shape): number for number, shape in enumerate(self.shapes)}

    def _to_pixels(self, item: Placed) -> Matrix:
        """View box -> pixels, as xMidYMid meet does."""
        x, y, width, height = item.art.view_box
        left, top, box_width, box_height = (self.size * value for value in item.box)
        scale = min(box_width / width, box_height / height)
        dx = left + (box_width - scale * width) / 2 - scale * x
        dy = top + (box_height - scale * height) / 2 - scale * y
        return np.array([[scale, 0, dx], [0, scale, dy]])

    def markup(self, paint: Callable[[Shape], Override] | None = None, effects: bool = True) -> str:
        """The whole document in a variant (see `SvgArt.markup`)."""
        size = self.size
        if len(self.placed) == 1 and self.placed[0].box == (0.0, 0.0, 1.0, 1.0):
            art = self.placed[0].art
            box = " ".join(f"{value:g}" for value in art.view_box)
            return f'{_HEAD} width="{size}" height="{size}" viewBox="{box}">{art.markup(paint, effects)}</svg>'
        parts = [f'{_HEAD} width="{size}" height="{size}" viewBox="0 0 {size} {size}">']
        for item in self.placed:
            x, y, width, height = (f"{size * value:.3f}" for value in item.box)
            box = " ".join(f"{value:g}" for value in item.art.view_box)
            inner = {"x": x, "y": y, "width": width, "height": height, "viewBox": box}
            parts.append(open_tag("svg", inner) + item.art.markup(paint, effects) + "</svg>")
        return "".join([*parts, "</svg>"])

    def paint(self, paint: Callable[[Shape], Override] | None = None, effects: bool = True) -> Picture:
        """The picture (size, size, 3) of a variant."""
        return render(self.markup(paint, effects), self.size)

    def topmost(self, wanted: Callable[[Shape], tuple[bool, bool]]) -> NDArray[np.int32]:
        """Which shape lies on top: (size, size) of number + 1 in `shapes`, 0 = none.

        `wanted` says of each shape whether its fill and its stroke take part.
        """

        def paint(shape: Shape) -> Override:
            fill, stroke = wanted(shape)
            fill, stroke = fill and shape.fill != "none", stroke and shape.stroke != "none"
            if not fill and not stroke:
                return None
            colour = f"#{_code(self.index[id(shape)] + 1):06x}"
            plain = {"fill-opacity": "1", "stroke-opacity": "1", "display": "inline"}
            return {**plain, "fill": colour if fill else "none", "stroke": colour if stroke else "none"}

        picture = render(self.markup(paint, effects=False), self.size, crisp=True).astype(np.int64)
        seen = (picture[..., 0] << 16) | (picture[..., 1] << 8) | picture[..., 2]
        codes = np.array([_WHITE] + [_code(number + 1) for number in range(len(self.shapes))])
        order = np.argsort(codes)
        at = np.minimum(np.searchsorted(codes[order], seen), len(codes) - 1)
        numbers = order[at]
        mixed = codes[numbers] != seen  # blended at the edge of a clip path: take the nearest pure pixel
        if mixed.any() and not mixed.all():
            near = ndimage.distance_transform_edt(mixed, return_distances=False, return_indices=True)
            numbers = numbers[tuple(near)]
        return numbers.astype(np.int32)


def _code(number: int) -> int:
    """A colour for a shape's number: far apart for neighbours, so that blends of two hardly ever name a
    third.
    """
    return (number * 0x9E3779B1) & 0xFFFFFF


def draw_lines(lines: list[Polyline], size: int, colour: str, width: float) -> Picture:
    """Polylines in pixels as round-ended strokes on white (size, size, 3)."""
    data = "".join(
        "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points.tolist()) for points in lines if len(points) > 1
    )
    stroke = {"d": data, "fill": "none", "stroke": colour, "stroke-width": f"{width:.2f}"}
    caps = {"stroke-linecap": "round", "stroke-linejoin": "round"}
    head = f'{_HEAD} width="{size}" height="{size}" viewBox="0 0 {size} {size}">'
    return render(f"{head}{open_tag('path', {**stroke, **caps}, '/')}</svg>", size)
