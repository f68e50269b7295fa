"""Plain vector shapes with exact coverage of pixels at their edges.

Krita's painter weighs edge pixels by the area that a shape covers of them. The SVG renderer samples them four times,
which is off by up to a quarter; Anti-Grain Geometry (inside Matplotlib) does as Krita does.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from paintsundo.data import svg_paths
from paintsundo.data.source import Unusable
from paintsundo.data.svg_art import Shape, SvgArt
from paintsundo.data.svg_reader import parse

SIMPLE = ("rect", "path", "circle", "ellipse", "polygon", "polyline", "line")
MOVE, LINE, CURVE, CLOSE = 1, 2, 4, 79  # codes of Matplotlib's paths
OTHER = (
    "stroke-dasharray",
    "clip-path",
    "mask",
    "filter",
    "mix-blend-mode",
    "marker-start",
    "marker-mid",
    "marker-end",
)


def rendered_plainly(data: bytes, width: int, height: int) -> NDArray[np.uint8] | None:
    """The shapes of an SVG file on a canvas, (height, width, 4) straight; None if some are not plain."""
    try:
        art = parse(data)
    except Unusable:
        return None
    if len(art.pieces) != len([piece for piece in art.pieces if not isinstance(piece, tuple)]):
        return None
    if not art.shapes or not all(map(_is_plain, art.shapes)):
        return None
    from matplotlib.backends.backend_agg import RendererAgg

    renderer = RendererAgg(width, height, 72)  # a point is a pixel
    for shape in art.shapes:
        _draw(renderer, shape, art, width, height)
    return np.array(renderer.buffer_rgba())


def _is_plain(shape: Shape) -> bool:
    if shape.tag not in SIMPLE or shape.soft or any(shape.attributes.get(name, "none") != "none" for name in OTHER):
        return False
    return _curves(shape) is not None and _colour(shape.fill) is not None and _colour(shape.stroke) is not None


def _colour(paint: str) -> tuple[float, float, float] | tuple[()] | None:
    """Channels 0 … 1; nothing for "none"; None for paint that is no plain colour."""
    if paint == "none":
        return ()
    try:
        red, green, blue = ImageColor.getrgb(paint)[:3]
    except ValueError:
        return None
    return red / 255, green / 255, blue / 255


def _curves(shape: Shape) -> tuple[list[tuple[float, float]], list[int]] | None:
    """Vertices and Matplotlib's codes of a shape in its own coordinates; None for what Krita's tools do not write."""
    if shape.tag != "path":
        if "rx" in shape.attributes or "ry" in shape.attributes or shape.tag in ("circle", "ellipse"):
            return None
        vertices, codes = [], []
        for line in svg_paths.outline(shape.tag, shape.attributes):
            closed = bool(np.allclose(line[0], line[-1]))
            vertices += [(float(x), float(y)) for x, y in line]
            codes += [MOVE, *[LINE] * (len(line) - 2), CLOSE if closed else LINE]
        return vertices, codes
    vertices, codes = [], []
    text = shape.attributes.get("d", "")
    if re.search(r"[^MLCZ\d\s.,eE+-]", text):
        return None
    for letter, numbers in re.findall(r"([MLCZ])([^MLCZ]*)", text):
        values = svg_paths.numbers(numbers)
        each = 6 if letter == "C" else 2
        if len(values) % each or (letter == "Z" and not vertices):
            return None
        vertices += list(zip(values[::2], values[1::2], strict=True)) if letter != "Z" else [vertices[-1]]
        if letter == "M":
            codes += [MOVE, *[LINE] * (len(values) // 2 - 1)]
        else:
            codes += [CLOSE] if letter == "Z" else [LINE if letter == "L" else CURVE] * (len(values) // 2)
    return vertices, codes


def _draw(renderer: Any, shape: Shape, art: SvgArt, width: int, height: int) -> None:
    from matplotlib.path import Path
    from matplotlib.transforms import IdentityTransform

    found = _curves(shape)
    if not found or not found[0]:
        return
    left, top, wide, high = art.view_box
    scale = np.array([width / wide, height / high])
    points = (svg_paths.apply(shape.matrix, np.array(found[0], np.float64)) - (left, top)) * scale
    points[:, 1] = height - points[:, 1]  # Matplotlib's origin is below
    path = Path(points, found[1])
    fill, stroke = _colour(shape.fill), _colour(shape.stroke)
    if fill and shape.fill_opacity > 0:
        context = _context(renderer, 0.0)
        renderer.draw_path(context, path, IdentityTransform(), (*fill, shape.fill_opacity))
    if stroke and shape.stroke_opacity > 0 and shape.stroke_width > 0:
        context = _context(renderer, shape.stroke_width * float(np.sqrt(scale.prod())))
        context.set_foreground((*stroke, shape.stroke_opacity), isRGBA=True)
        context.set_alpha(shape.stroke_opacity)
        context.set_joinstyle(shape.attributes.get("stroke-linejoin", "miter"))
        cap = shape.attributes.get("stroke-linecap", "butt")
        context.set_capstyle("projecting" if cap == "square" else cap)
        renderer.draw_path(context, path, IdentityTransform(), None)


def _context(renderer: Any, line_width: float) -> Any:
    context = renderer.new_gc()
    context.set_antialiased(True)
    context.set_snap(False)
    context.set_linewidth(line_width)
    return context
