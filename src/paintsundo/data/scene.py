"""One or several pieces of art on a canvas, painted in variants and by number."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from paintsundo.data import svg_paths, svg_viewport
from paintsundo.data.process import Picture
from paintsundo.data.source import Unusable
from paintsundo.data.svg_art import Override, Shape, SvgArt, open_tag
from paintsundo.data.svg_fonts import font_options
from paintsundo.data.svg_paths import Matrix, Polyline

_HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
_WHITE = 0xFFFFFF


@dataclass(frozen=True)
class Placed:
    """Art in a box (x, y, width, height) of the canvas, in shares of its side."""

    art: SvgArt
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)


def render(markup: str, size: int | tuple[int, int], crisp: bool = False, fonts: str = "none") -> Picture:
    """SVG markup as a picture on white, (size, size, 3), or (height, width, 3) for a pair.

    `fonts` for texts as in `svg_fonts.font_options`. Raises Unusable when the renderer refuses it.
    """
    import resvg_py

    try:
        data = resvg_py.svg_to_bytes(
            svg_string=markup,
            background="#ffffff",
            shape_rendering="crisp_edges" if crisp else "geometric_precision",
            **font_options(fonts),
        )
    except ValueError as error:
        raise Unusable(f"not rendered: {error}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of the renderer; not an Exception
            raise
        raise Unusable(f"not rendered: {error}") from None
    picture = np.asarray(Image.open(io.BytesIO(bytes(data))).convert("RGB"))
    if picture.shape[:2] != ((size, size) if isinstance(size, int) else size):
        raise Unusable("not rendered at the size asked for")
    return picture


class Scene:
    """Placed art on a canvas of `size` pixels, or (height, width) of them; the first element may be a background.

    Attributes: `shape` (height, width); `size`, the side of a square of the same area, the measure of all widths.
    """

    def __init__(self, placed: list[Placed], size: int | tuple[int, int], fonts: str = "none"):
        self.shape = (size, size) if isinstance(size, int) else size
        self.size = size if isinstance(size, int) else round(math.sqrt(size[0] * size[1]))
        self.placed = placed
        self.fonts = fonts if any(item.art.has_text for item in placed) else "none"
        self.shapes: list[Shape] = []
        for element, item in enumerate(placed):
            to_pixels = self._to_pixels(item)
            for shape in item.art.shapes:
                shape.element = element
                shape.matrix = svg_paths.compose(to_pixels, shape.matrix)
                shape.stroke_width *= float(np.sqrt(abs(np.linalg.det(to_pixels[:, :2]))))
                self.shapes.append(shape)
        self.index = {id(shape): number for number, shape in enumerate(self.shapes)}

    def _to_pixels(self, item: Placed) -> Matrix:
        """View box -> pixels."""
        height, width = self.shape
        x, y, box_width, box_height = item.box
        place = (width * x, height * y, width * box_width, height * box_height)
        return svg_viewport.fit(item.art.view_box, place, item.art.aspect)

    def markup(self, paint: Callable[[Shape], Override] | None = None, effects: bool = True) -> str:
        """The whole document in a variant (see `SvgArt.markup`); without one, a single file as it stands."""
        height, width = self.shape
        if len(self.placed) == 1 and self.placed[0].box == (0.0, 0.0, 1.0, 1.0):
            art = self.placed[0].art
            around, content = {"preserveAspectRatio": art.aspect} if art.aspect else {}, None
            if paint is None and effects and art.document is not None:
                around, content = art.document
            sides = {"width": str(width), "height": str(height), "viewBox": _numbers(art.view_box)}
            rest = "".join(f" {name}={quoteattr(value)}" for name, value in {**sides, **around}.items())
            return f"{_HEAD}{rest}>{art.markup(paint, effects) if content is None else content}</svg>"
        parts = [f'{_HEAD} width="{width}" height="{height}" viewBox="0 0 {width} {height}">']
        for item in self.placed:
            whole = (width, height, width, height)
            x, y, across, down = (f"{side * value:.3f}" for side, value in zip(whole, item.box, strict=True))
            inner = {"x": x, "y": y, "width": across, "height": down, "viewBox": _numbers(item.art.view_box)}
            if item.art.aspect:
                inner["preserveAspectRatio"] = item.art.aspect
            parts.append(open_tag("svg", inner) + item.art.markup(paint, effects) + "</svg>")
        return "".join([*parts, "</svg>"])

    def paint(self, paint: Callable[[Shape], Override] | None = None, effects: bool = True) -> Picture:
        """The picture (H, W, 3) of a variant."""
        return render(self.markup(paint, effects), self.shape, fonts=self.fonts)

    def topmost(self, wanted: Callable[[Shape], tuple[bool, bool]]) -> NDArray[np.int32]:
        """Which shape lies on top: (H, W) of number + 1 in `shapes`, 0 = none.

        `wanted` says of each shape whether its fill and its stroke take part.
        """

        def paint(shape: Shape) -> Override:
            fill, stroke = wanted(shape)
            fill, stroke = fill and shape.fill != "none", stroke and shape.stroke != "none"
            if not fill and not stroke:
                return None
            colour = f"#{_code(self.index[id(shape)] + 1):06x}"
            plain = {"fill-opacity": "1", "stroke-opacity": "1", "display": "inline", **without_markers(shape)}
            return {**plain, "fill": colour if fill else "none", "stroke": colour if stroke else "none"}

        picture = render(self.markup(paint, effects=False), self.shape, crisp=True, fonts=self.fonts).astype(np.int64)
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


def without_markers(shape: Shape) -> dict[str, str]:
    """What keeps line markers, which have paint of their own, out of a variant."""
    return dict.fromkeys(("marker-start", "marker-mid", "marker-end"), "none") if shape.marked else {}


def _numbers(values: tuple[float, ...]) -> str:
    """Numbers as short as their full precision allows."""
    return " ".join(repr(float(value)).removesuffix(".0") for value in values)


def _code(number: int) -> int:
    """A colour for a shape's number: far apart for neighbours, so that blends of two hardly ever name a
    third.
    """
    return (number * 0x9E3779B1) & 0xFFFFFF


def draw_lines(lines: list[Polyline], size: int | tuple[int, int], colour: str, width: float) -> Picture:
    """Polylines in pixels as round-ended strokes on white, (size, size, 3) or (height, width, 3)."""
    data = "".join(
        "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points.tolist()) for points in lines if len(points) > 1
    )
    stroke = {"d": data, "fill": "none", "stroke": colour, "stroke-width": f"{width:.2f}"}
    caps = {"stroke-linecap": "round", "stroke-linejoin": "round"}
    high, wide = (size, size) if isinstance(size, int) else size
    head = f'{_HEAD} width="{wide}" height="{high}" viewBox="0 0 {wide} {high}">'
    return render(f"{head}{open_tag('path', {**stroke, **caps}, '/')}</svg>", size)
