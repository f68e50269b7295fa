"""How a view box is laid into a viewport, and lengths in one (SVG 2, chapter 8)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from paintsundo.data.svg_document import pixels
from paintsundo.data.svg_paths import Matrix

Box = tuple[float, float, float, float]  # x, y, width, height
_ALIGN = re.compile(r"x(Min|Mid|Max)Y(Min|Mid|Max)")
_SHARE = {"Min": 0.0, "Mid": 0.5, "Max": 1.0}


def fit(view_box: Box, viewport: Box, aspect: str = "") -> Matrix:
    """The map (2, 3) of a view box into a viewport as `preserveAspectRatio` says, xMidYMid meet by default."""
    x, y, width, height = view_box
    left, top, room_x, room_y = viewport
    scale_x, scale_y = room_x / width, room_y / height
    if not aspect.strip().startswith("none"):
        scale_x = scale_y = max(scale_x, scale_y) if "slice" in aspect else min(scale_x, scale_y)
    found = _ALIGN.search(aspect)
    align_x, align_y = (_SHARE[found[1]], _SHARE[found[2]]) if found else (0.5, 0.5)
    dx = left + align_x * (room_x - scale_x * width) - scale_x * x
    dy = top + align_y * (room_y - scale_y * height) - scale_y * y
    return np.array([[scale_x, 0, dx], [0, scale_y, dy]])


def length(attributes: Mapping[str, str], name: str, whole: float, default: float) -> float:
    """A length in user units; percentages of `whole`. Raises ValueError (Unusable) for other relative ones."""
    value = attributes.get(name, "").strip()
    if not value or value == "auto":
        return default
    negative, value = value.startswith("-"), value.lstrip("+-")
    found = float(value[:-1]) / 100 * whole if value.endswith("%") else pixels(value)
    if not math.isfinite(found):
        raise ValueError(f"{name} is not a length")
    return -found if negative else found


def viewport(attributes: Mapping[str, str], around: Box) -> Box:
    """The viewport that x, y, width and height of a nested <svg> or a <use> open inside another view box."""
    _, _, width, height = around
    return (
        length(attributes, "x", width, 0.0),
        length(attributes, "y", height, 0.0),
        length(attributes, "width", width, width),
        length(attributes, "height", height, height),
    )
