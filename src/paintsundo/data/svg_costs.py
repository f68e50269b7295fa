"""What in an SVG tree would cost time or memory without bounds, refused before anything is drawn."""

from __future__ import annotations

import base64
import binascii
import io
import re
import urllib.parse
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping

from PIL import Image

from paintsundo.data import svg_paths
from paintsundo.data.source import Unusable

MAX_EXPANDED = 300_000  # elements once every reference is followed
MAX_DEPTH = 100
MAX_OCTAVES = 16
MAX_PIXELS = 64_000_000  # of a picture inside the file
URL = re.compile(r"url\(\s*['\"]?\s*#([^'\")]+?)\s*['\"]?\s*\)")


def check_filter(node: ElementTree.Element) -> None:
    """Refuses filters whose time grows with a number that is too large."""
    if node.tag == "feTurbulence" and max(svg_paths.numbers(node.get("numOctaves", "1")), default=1) > MAX_OCTAVES:
        raise Unusable(f"<feTurbulence> of more than {MAX_OCTAVES} octaves")
    if node.tag == "feConvolveMatrix" and max(svg_paths.numbers(node.get("order", "3")), default=3) > MAX_OCTAVES:
        raise Unusable(f"<feConvolveMatrix> of an order over {MAX_OCTAVES}")


def check_embedded(reference: str) -> None:
    """Refuses a data: reference that does not hold a picture of a sensible size."""
    head, comma, body = reference.partition(",")
    try:
        raw = base64.b64decode(urllib.parse.unquote(body)) if ";base64" in head else urllib.parse.unquote_to_bytes(body)
        if not comma:
            raise ValueError("no data")
        if raw.lstrip()[:1] == b"<" or raw[:2] == b"\x1f\x8b":
            raise Unusable("SVG inside an <image>")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(raw)) as picture:
                width, height = picture.size
    except Unusable:
        raise
    except Image.DecompressionBombError as error:
        raise Unusable("holds a picture of too many pixels") from error
    except (ValueError, binascii.Error, OSError, SyntaxError):
        return  # not drawn by the renderer either
    if width * height > MAX_PIXELS:
        raise Unusable("holds a picture of too many pixels")


def check_references(root: ElementTree.Element, ids: Mapping[str, ElementTree.Element]) -> None:
    """Refuses trees that stand for far more elements than they hold."""
    if _Expansion(ids).of(root) > MAX_EXPANDED:
        raise Unusable("nested too deeply: its references multiply without end")


class _Expansion:
    """How many elements a tree stands for once every reference is followed; each element is counted once only."""

    def __init__(self, ids: Mapping[str, ElementTree.Element]):
        self.ids = ids
        self.known: dict[int, int] = {}

    def of(self, node: ElementTree.Element, depth: int = 0) -> int:
        key = id(node)
        if key in self.known:
            return self.known[key]
        if depth > 4 * MAX_DEPTH:
            raise Unusable("nested too deeply")
        self.known[key] = 1  # what leads back to itself is not followed again, by the renderer neither
        total = 1 + sum(self.of(child, depth + 1) for child in node)
        for name, value in node.attrib.items():
            names = [value[1:]] if name == "href" else URL.findall(value) if "url(" in value else []
            for target in names:
                if target in self.ids:
                    total += self.of(self.ids[target], depth + 1)
        self.known[key] = min(total, 1 << 40)
        return self.known[key]
