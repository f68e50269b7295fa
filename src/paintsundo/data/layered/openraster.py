"""OpenRaster files (.ora): a zip of PNG layers and `stack.xml`.

Specification: https://www.openraster.org/baseline/layer-stack-spec.html. Groups are isolated unless `isolation` is
"auto" and they have no blend mode, opacity or mask of their own.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import BinaryIO
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from paintsundo.data.layered.archive import Archive, number, parse_xml, whole
from paintsundo.data.layered.document import Document, Group, Layer, Merged, Node, Pixels
from paintsundo.data.layered.limits import Limits
from paintsundo.data.layered.rules import KRITA, NORMAL, OPENRASTER, Blend
from paintsundo.data.source import Unusable

MERGED = "mergedimage.png"


def read(stream: BinaryIO, limits: Limits) -> Document:
    """An OpenRaster file as a document. Raises Unusable."""
    archive = Archive(stream, limits)
    root = parse_xml(archive.read("stack.xml"), limits)
    width, height = whole(root, "w", 0), whole(root, "h", 0)
    limits.check_size(width, height)
    stack = root.find("stack")
    if stack is None:
        raise Unusable("stack.xml without a stack")
    reader = _Reader(archive, limits)
    children = reader.children(stack, 1)
    return Document(
        (height, width),
        Group("root", children),
        "OpenRaster",
        merged=merged_picture(archive, limits),
        unsupported=tuple(dict.fromkeys(reader.unsupported)),
    )


class _Reader:
    def __init__(self, archive: Archive, limits: Limits):
        self.archive, self.limits = archive, limits
        self.count = 0
        self.unsupported: list[str] = []

    def children(self, stack: ElementTree.Element, depth: int) -> tuple[Node, ...]:
        """The layers and groups of a stack from the bottom up; the file lists them from the top."""
        self.limits.check_depth(depth)
        found: list[Node] = []
        for element in reversed(stack):
            self.count += 1
            self.limits.check_count(self.count)
            if element.tag == "stack":
                found.append(self.group(element, depth))
            elif element.tag == "layer":
                found.append(self.layer(element))
            elif element.get("visibility", "visible") == "visible":
                self.unsupported.append(f"{element.tag} {element.get('name', '')!r}".strip())
        return tuple(found)

    def blend(self, element: ElementTree.Element) -> Blend:
        name = element.get("composite-op", "svg:src-over")
        found = OPENRASTER.get(name) or (KRITA.get(name.removeprefix("krita:")) if name.startswith("krita:") else None)
        if found is None:
            if element.get("visibility", "visible") == "visible":
                self.unsupported.append(f"blend mode {name} of {element.get('name', '')!r}")
            found = NORMAL
        return found.atop() if element.get("alpha-preserve") == "true" else found

    def group(self, element: ElementTree.Element, depth: int) -> Group:
        blend, opacity = self.blend(element), _opacity(element)
        through = element.get("isolation", "isolate") == "auto" and blend.plain
        return Group(
            element.get("name", ""),
            self.children(element, depth + 1),
            element.get("visibility", "visible") == "visible",
            opacity,
            blend,
            through=through,
        )

    def layer(self, element: ElementTree.Element) -> Layer:
        source = element.get("src")
        if source is None:
            raise Unusable(f"layer {element.get('name', '')!r} without a picture")
        x, y = whole(element, "x", 0), whole(element, "y", 0)
        return Layer(
            element.get("name", ""),
            self.loader(source, x, y),
            element.get("visibility", "visible") == "visible",
            _opacity(element),
            self.blend(element),
        )

    def loader(self, source: str, x: int, y: int) -> Callable[[], Pixels]:
        return lambda: Pixels(x, y, png(self.archive.read(source), self.limits))


def _opacity(element: ElementTree.Element) -> float:
    return min(1.0, max(0.0, number(element, "opacity", 1.0)))


def merged_picture(archive: Archive, limits: Limits) -> Callable[[], Merged] | None:
    """What reads the flattened picture of OpenRaster and Krita files, if they have one."""
    if MERGED not in archive:
        return None

    def load() -> Merged:
        data = archive.read(MERGED)
        return Merged(png(data, limits), Image.open(io.BytesIO(data)).info.get("icc_profile"))

    return load


def png(data: bytes, limits: Limits) -> NDArray[np.generic]:
    """A picture as straight (h, w, 4), uint8 or uint16. Raises Unusable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data))
            limits.check_size(picture.width, picture.height, "a layer")
            if picture.format == "PNG" and data[24:25] == b"\x10":  # 16 bits, of which Pillow keeps 8
                return _deep(data)
            return np.asarray(picture.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, TypeError, Image.DecompressionBombError) as error:
        if isinstance(error, Unusable):
            raise
        raise Unusable(f"unreadable layer: {error}") from error


def _deep(data: bytes) -> NDArray[np.generic]:
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise Unusable("unreadable layer of 16 bits")
    full = np.iinfo(values.dtype).max
    if values.ndim == 2:
        values = np.dstack([values] * 3)
    if values.shape[2] == 3:
        values = np.dstack([values, np.full(values.shape[:2], full, values.dtype)])
    return np.ascontiguousarray(values[..., [2, 1, 0, 3]])
