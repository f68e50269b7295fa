"""Gradients, patterns and filters that the shapes of an SVG file refer to."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np

from paintsundo.data import svg_css, svg_paths
from paintsundo.data.source import Unusable
from paintsundo.data.svg_art import Shape
from paintsundo.data.svg_costs import URL
from paintsundo.data.svg_document import Document

LARGEST_TILE = 16  # canvases; the renderer paints the tile of a pattern as a whole


class Servers:
    """The elements of a document that paint or filter others, found by references with a prefix before their ids."""

    def __init__(self, document: Document, prefix: str):
        self.ids, self.prefix, self.view_box = document.ids, prefix, document.view_box

    def server(self, paint: str) -> ElementTree.Element | None:
        """The gradient, pattern or filter that a value refers to."""
        found = URL.search(paint)
        return self.ids.get(found[1][len(self.prefix) :]) if found else None

    def gradient(self, paint: str) -> list[ElementTree.Element]:
        """The stops of a gradient, followed through href (at most five links)."""
        node = self.server(paint)
        for _ in range(5):
            if node is None:
                return []
            stops = [child for child in node if child.tag == "stop"]
            if stops:
                return stops
            node = self.ids.get(node.get("href", "#")[1:])
        return []

    def stop_opacity(self, paint: str) -> float:
        """The least opacity among a gradient's stops; 1 for a plain colour."""
        values = [1.0]
        for stop in self.gradient(paint):
            declared = svg_css.declarations(stop.get("style", "")).get("stop-opacity", stop.get("stop-opacity", "1"))
            found = svg_paths.numbers(declared)
            values.append(found[0] if found else 1.0)
        return min(values)

    def blurs(self, reference: str) -> bool:
        """Whether a filter smears the shape itself, rather than adding an inner or outer shadow to it."""
        node = self.server(reference)
        if node is None:
            return False
        names = {str(child.tag) for child in node}
        return "feGaussianBlur" in names and "feComposite" not in names and "feOffset" not in names

    def check_tile(self, paint: str, shape: Shape) -> None:
        """Refuse patterns whose tile would fill memory."""
        node = self.server(paint)
        if node is None or node.tag != "pattern":
            return
        width, height = (max(svg_paths.numbers(node.get(name, "0")), default=0.0) for name in ("width", "height"))
        matrix = svg_paths.compose(shape.matrix, svg_paths.parse_transform(node.get("patternTransform", "")))
        if node.get("patternUnits") != "userSpaceOnUse":
            points = svg_paths.outline(shape.tag, shape.attributes)
            extent = np.ptp(np.vstack(points), axis=0) if points else np.ones(2)
            width, height = (
                value / (100 if "%" in node.get(name, "") else 1) * side
                for name, value, side in zip(("width", "height"), (width, height), extent, strict=True)
            )
        _, _, whole_x, whole_y = self.view_box
        if abs(np.linalg.det(matrix[:, :2])) * width * height > LARGEST_TILE * whole_x * whole_y:
            raise Unusable("a pattern far larger than the picture")
