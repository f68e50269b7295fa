"""Vector masks of Photoshop files as pixels."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from paintsundo.data.layered.document import Mask

COMBINE, SUBTRACT, INTERSECT, EXCLUDE = 1, 2, 3, 0


def vector_mask(mask: Any, size: tuple[int, int]) -> Mask:
    """psd-tools' vector mask on a canvas of (height, width): its paths filled one by one and combined as they ask."""
    height, width = size
    found = np.full(size, 1.0 if mask.initial_fill_rule else 0.0, np.float32)
    first = True
    for path in mask.paths:
        if len(path) < 2:
            continue
        shape = _filled(path, width, height)
        operation = int(path.operation)
        if operation == SUBTRACT:
            if first:
                found[:] = 1
            found = found * (1 - shape)
        elif operation == INTERSECT:
            found = shape if first else found * shape
        elif operation == EXCLUDE:
            found = found + shape - 2 * found * shape
        else:
            found = found + shape - found * shape
        first = False
    return Mask(0, 0, 1 - found if mask.inverted else found, float(mask.inverted))


def _filled(path: Any, width: int, height: int) -> NDArray[np.float32]:
    """A closed path's inside, (H, W), with smooth edges. Knots are (y, x) shares of the canvas."""
    import resvg_py

    knots = list(path)

    def point(pair: tuple[float, float]) -> str:
        return f"{pair[1] * width:.4f} {pair[0] * height:.4f}"

    parts = [f"M{point(knots[0].anchor)}"]
    for before, after in zip(knots, [*knots[1:], knots[0]], strict=True):
        parts.append(f"C{point(before.leaving)} {point(after.preceding)} {point(after.anchor)}")
    markup = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"><path d="{"".join(parts)}Z"/></svg>'
    )
    picture = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=markup, skip_system_fonts=True))))
    return np.asarray(np.asarray(picture.convert("RGBA"))[..., 3] / 255, np.float32)
