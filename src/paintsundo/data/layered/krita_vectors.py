"""Vector and fill layers of Krita files."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from paintsundo.data.layered.archive import parse_xml
from paintsundo.data.layered.document import Pixels
from paintsundo.data.layered.limits import Limits
from paintsundo.data.layered.plain_shapes import rendered_plainly
from paintsundo.data.source import Unusable

_LINK = re.compile(rb"""(?:href|src)\s*=\s*["'](?!#)""")


def rendered(data: bytes, size: tuple[int, int], limits: Limits) -> Pixels:
    """The shapes of a vector layer on a canvas of (height, width). Raises Unusable."""
    import resvg_py

    parse_xml(data, limits)
    if _LINK.search(data):
        raise Unusable("a vector layer that refers to other files")
    height, width = size
    plain = rendered_plainly(data, width, height)
    if plain is not None:
        return Pixels(0, 0, plain)
    text = re.sub(r"<!DOCTYPE[^>]*>", "", data.decode("utf-8", "replace"))
    try:
        picture = resvg_py.svg_to_bytes(svg_string=_sized(text, width, height), skip_system_fonts=True)
        values = np.asarray(Image.open(io.BytesIO(bytes(picture))).convert("RGBA"))
    except (ValueError, OSError) as error:
        raise Unusable(f"a vector layer that cannot be rendered: {error}") from error
    return Pixels(0, 0, values)


def _sized(text: str, width: int, height: int) -> str:
    """The markup with its root as many pixels wide and high as the canvas."""
    begin = text.find("<svg")
    end = text.find(">", begin)
    if begin < 0 or end < 0:
        raise Unusable("a vector layer without shapes")
    root = re.sub(r'\s(width|height)="[^"]*"', "", text[begin:end])
    return f'{text[:begin]}{root} width="{width}" height="{height}" preserveAspectRatio="none"{text[end:]}'


def fill_colour(root: ElementTree.Element) -> tuple[float, float, float, float]:
    """The colour (r, g, b, a), 0 … 1, of a fill layer. Raises Unusable."""
    for param in root.iter("param"):
        if param.get("name") == "color":
            for colour in param.iter("RGB"):
                return _channel(colour, "r"), _channel(colour, "g"), _channel(colour, "b"), 1.0
            text = (param.text or "").strip()
            if re.fullmatch("#[0-9a-fA-F]{6}", text):
                red, green, blue = (int(text[k : k + 2], 16) / 255 for k in (1, 3, 5))
                return red, green, blue, 1.0
            try:
                inner = ElementTree.fromstring(text)
            except ElementTree.ParseError:
                continue
            for colour in inner.iter("RGB"):
                return _channel(colour, "r"), _channel(colour, "g"), _channel(colour, "b"), 1.0
    raise Unusable("a fill layer whose colour is not understood")


def _channel(colour: ElementTree.Element, name: str) -> float:
    try:
        return float(colour.get(name, "0"))
    except ValueError as error:
        raise Unusable("a fill layer whose colour is not understood") from error
