"""Reading SVG files safely: bytes in, shapes out; whatever would need anything else is refused with a reason."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from paintsundo.data import svg_paths
from paintsundo.data.svg_art import EFFECTS, Piece, Shape, SvgArt, UnusableArt, open_tag
from paintsundo.data.svg_paths import IDENTITY, Matrix

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"
MAX_BYTES = 400_000
MAX_SHAPES = 1500
MAX_DEPTH = 60

DRAWABLE = {"path", "rect", "circle", "ellipse", "line", "polyline", "polygon"}
GROUPS = {"g", "a", "svg", "switch"}
RESOURCES = {
    "defs",
    "clipPath",
    "mask",
    "linearGradient",
    "radialGradient",
    "filter",
    "pattern",
    "symbol",
    "marker",
}
SILENT = {"title", "desc", "metadata", "namedview", "script", "style"}
INHERITED = {
    "fill": "black",
    "stroke": "none",
    "stroke-width": "1",
    "fill-opacity": "1",
    "stroke-opacity": "1",
    "color": "black",
    "visibility": "visible",
}
PRESENTATION = re.compile(
    r"^(fill|stroke|opacity|stop-|clip|mask|filter|marker|display|visibility|color|flood|lighting|mix-blend-mode"
    r"|isolation|paint-order|enable-background|vector-effect|shape-rendering|transform-origin)"
)
URL = re.compile(r"url\(\s*['\"]?\s*#([^'\")]+?)\s*['\"]?\s*\)")


def _pixels(length: str) -> float:
    """A CSS length in pixels (96 to the inch). Raises UnusableArt for relative or missing ones."""
    found = re.fullmatch(r"\s*([\d.]+(?:[eE][-+]?\d+)?)\s*(px|pt|pc|mm|cm|in|)\s*", length)
    if found is None:
        raise UnusableArt("no size")
    factor = {"": 1.0, "px": 1.0, "pt": 96 / 72, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}
    return float(found[1]) * factor[found[2]]


def _local(tag: object) -> str:
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _rules(root: ElementTree.Element) -> list[tuple[str, dict[str, str]]]:
    """Declarations of <style> sheets for plain selectors (.class, #id, tag); anything else is unusable."""
    rules = []
    for sheet in root.iter(SVG + "style"):
        text = re.sub(r"/\*.*?\*/|<!--|-->", "", sheet.text or "", flags=re.S)
        if "@" in text:
            raise UnusableArt("style sheet with @-rules")
        for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", text):
            for selector in selectors.split(","):
                selector = selector.strip()
                if not re.fullmatch(r"[.#]?[\w-]+", selector):
                    raise UnusableArt(f"style sheet selector {selector!r}")
                rules.append((selector, _declarations(body)))
    return rules


def _declarations(style: str) -> dict[str, str]:
    pairs = (item.split(":", 1) for item in style.split(";") if ":" in item)
    return {name.strip(): value.replace("!important", "").strip() for name, value in pairs}


class _Reader:
    """One pass over the tree. Collects pieces; raises UnusableArt for what cannot be drawn safely and
    alone.
    """

    def __init__(self, root: ElementTree.Element, prefix: str):
        self.root, self.prefix = root, prefix
        self.ids = {node.get("id"): node for node in root.iter() if node.get("id")}
        self.rules = _rules(root)
        self.pieces: list[Piece] = []
        self.count = self.visited = 0

    def attributes(self, node: ElementTree.Element) -> dict[str, str]:
        """Own attributes with style rules and the style attribute folded in, references checked and
        prefixed.
        """
        plain: dict[str, str] = {}
        for name, value in node.attrib.items():
            if name == XLINK + "href":
                name = "href"
            if name.startswith("{"):
                continue
            if name.lower().startswith("on"):
                raise UnusableArt("script in an event attribute")
            plain[name] = value
        style: dict[str, str] = {}
        names = (plain.get("class") or "").split()
        for selector, body in self.rules:
            key = selector[1:]
            if (
                selector == _local(node.tag)
                or (selector[0] == "." and key in names)
                or (selector[0] == "#" and key == plain.get("id"))
            ):
                style.update(body)
        style.update(_declarations(plain.pop("style", "")))
        blend = style.get("mix-blend-mode")
        plain.update({k: v for k, v in style.items() if PRESENTATION.match(k)})
        if blend and blend != "normal":  # the only property that has no presentation attribute
            plain["style"] = f"mix-blend-mode:{blend}"
        plain.pop("class", None)
        if "id" in plain:
            plain["id"] = self.prefix + plain["id"]
        for name, value in plain.items():
            if name == "href":
                if not value.startswith("#"):
                    raise UnusableArt("reference to another file")
                plain[name] = "#" + self.prefix + value[1:]
            elif "url(" in value:
                if re.sub(URL, "", value).find("url(") >= 0:
                    raise UnusableArt("reference to another file")
                plain[name] = URL.sub(lambda found: f"url(#{self.prefix}{found[1]})", value)
        return plain

    def verbatim(self, node: ElementTree.Element, depth: int) -> str:
        """A resource (gradient, clip path, ...) as markup."""
        tag = _local(node.tag)
        if depth > MAX_DEPTH:
            raise UnusableArt("nested too deeply")
        if tag in ("image", "feImage", "foreignObject", "text"):
            raise UnusableArt(f"holds <{tag}>")
        if not tag or tag in SILENT or not str(node.tag).startswith(SVG):
            return ""
        inner = "".join(self.verbatim(child, depth + 1) for child in node)
        return f"{open_tag(tag, self.attributes(node))}{inner}</{tag}>"

    def walk(self, node: ElementTree.Element, style: dict[str, str], state: _State, depth: int) -> None:
        tag = _local(node.tag)
        self.visited += 1  # <use> can multiply nodes without end
        if depth > MAX_DEPTH or self.visited > 20 * MAX_SHAPES:
            raise UnusableArt("nested too deeply")
        if tag == "script":
            raise UnusableArt("holds <script>")
        if not str(node.tag).startswith(SVG) or tag in SILENT:
            return
        if tag in RESOURCES:
            self.pieces.append(self.verbatim(node, depth))
            return
        attributes = self.attributes(node)
        if attributes.get("display") == "none":
            return
        if tag not in DRAWABLE and tag not in GROUPS and tag != "use":
            raise UnusableArt(f"holds <{tag}>")
        style = {**style, **{k: v for k, v in attributes.items() if k in INHERITED and v != "inherit"}}
        state = state.inside(attributes, self.blurs, node.get("id", "") if tag == "g" else "")
        if tag in DRAWABLE:
            self.shape(tag, attributes, style, state)
            return
        if tag == "use":
            target = self.ids.get(attributes.get("href", "#")[1 + len(self.prefix) :])
            if target is None or _local(target.tag) in ("svg", "symbol"):
                raise UnusableArt("<use> of something that is not a shape or a group")
            dx, dy = attributes.pop("x", "0"), attributes.pop("y", "0")
            shift = f"translate({dx} {dy})"
            attributes["transform"] = f"{attributes.get('transform', '')} {shift}".strip()
            state = state.inside({"transform": shift}, self.blurs)
            children = [target]
            for name in ("href", "width", "height"):
                attributes.pop(name, None)
            tag = "g"
        elif tag == "svg":
            raise UnusableArt("nested <svg>")
        else:
            children = list(node)
        plain = {k: v for k, v in attributes.items() if k not in EFFECTS}
        if plain == attributes:
            self.pieces.append(open_tag("g", attributes))
        else:
            self.pieces.append((open_tag("g", attributes), open_tag("g", plain)))
        for child in children:
            self.walk(child, style, state, depth + 1)
        self.pieces.append("</g>")

    def shape(self, tag: str, attributes: dict[str, str], style: dict[str, str], state: _State) -> None:
        self.count += 1
        if self.count > MAX_SHAPES:
            raise UnusableArt(f"more than {MAX_SHAPES} shapes")
        if any(name.startswith("marker") and value != "none" for name, value in attributes.items()):
            raise UnusableArt("line markers")
        scale = float(np.sqrt(abs(np.linalg.det(state.matrix[:, :2]))))
        opacity = state.opacity

        def number(name: str) -> float:
            found = svg_paths.numbers(style[name])
            return (found[0] / (100 if "%" in style[name] else 1)) if found else 1.0

        fill, stroke = self.paint(style["fill"], style), self.paint(style["stroke"], style)
        self.pieces.append(
            Shape(
                tag=tag,
                attributes=attributes,
                matrix=state.matrix,
                layer=state.layer,
                fill="none" if tag == "line" or style["visibility"] != "visible" else fill,
                stroke="none" if style["visibility"] != "visible" else stroke,
                stroke_width=number("stroke-width") * scale,
                fill_opacity=opacity * number("fill-opacity") * self.stop_opacity(fill),
                stroke_opacity=opacity * number("stroke-opacity") * self.stop_opacity(stroke),
                soft=state.soft,
                prefix=self.prefix,
            )
        )

    def paint(self, value: str, style: dict[str, str]) -> str:
        value = style["color"] if value == "currentColor" else value
        found = URL.search(value)
        return f"url(#{self.prefix}{found[1]})" if found and not found[1].startswith(self.prefix) else value

    def gradient(self, paint: str) -> list[ElementTree.Element]:
        """The stops of a gradient, followed through href (at most five links)."""
        found = URL.search(paint)
        node = self.ids.get(found[1][len(self.prefix) :]) if found else None
        for _ in range(5):
            if node is None:
                return []
            stops = [child for child in node if _local(child.tag) == "stop"]
            if stops:
                return stops
            node = self.ids.get((node.get(XLINK + "href") or node.get("href") or "#")[1:])
        return []

    def stop_opacity(self, paint: str) -> float:
        """The least opacity among a gradient's stops; 1 for a plain colour."""
        values = [1.0]
        for stop in self.gradient(paint):
            declared = _declarations(stop.get("style", "")).get("stop-opacity", stop.get("stop-opacity", "1"))
            found = svg_paths.numbers(declared)
            values.append(found[0] if found else 1.0)
        return min(values)

    def blurs(self, reference: str) -> bool:
        """Whether a filter smears the shape itself, rather than adding an inner or outer shadow to it."""
        found = URL.search(reference)
        node = self.ids.get(found[1][len(self.prefix) :]) if found else None
        if node is None:
            return False
        names = {_local(child.tag) for child in node}
        return "feGaussianBlur" in names and "feComposite" not in names and "feOffset" not in names


@dataclass(frozen=True)
class _State:
    """What a place in the tree passes on to the shapes below."""

    matrix: Matrix
    opacity: float = 1.0
    soft: bool = False
    layer: str = ""

    def inside(self, attributes: dict[str, str], blurs: Callable[[str], bool], layer: str = "") -> _State:
        matrix = self.matrix
        if "transform" in attributes:
            matrix = svg_paths.compose(matrix, svg_paths.parse_transform(attributes["transform"]))
        found = svg_paths.numbers(attributes.get("opacity", "1"))
        opacity = self.opacity * (found[0] / (100 if "%" in attributes.get("opacity", "") else 1) if found else 1.0)
        soft = self.soft or "style" in attributes or blurs(attributes.get("filter", ""))
        return _State(matrix, opacity, soft, self.layer or layer)


def parse(data: bytes, prefix: str = "") -> SvgArt:
    """Read SVG bytes. `prefix` is put before every id, so that several files can share one document.

    Raises UnusableArt with a reason: not well-formed, entities, scripts, pictures, text, references to other
    files, too large. Nothing outside the bytes is ever read.
    """
    if len(data) > MAX_BYTES:
        raise UnusableArt(f"larger than {MAX_BYTES // 1000} kB")
    if b"\0" in data[:4]:
        raise UnusableArt("not UTF-8")
    if b"<!ENTITY" in data:
        raise UnusableArt("declares entities")
    if b"<?xml-stylesheet" in data:
        raise UnusableArt("reference to another file")
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise UnusableArt(f"not well-formed: {error}") from error
    if root.tag != SVG + "svg":
        raise UnusableArt("not an SVG document")
    box = svg_paths.numbers(root.get("viewBox", ""))
    if len(box) != 4:
        box = [0.0, 0.0, *(_pixels(root.get(name, "")) for name in ("width", "height"))]
    if not (box[2] > 0 and box[3] > 0):
        raise UnusableArt("empty view box")
    reader = _Reader(root, prefix)
    try:
        attributes = reader.attributes(root)
        kept = {k: v for k, v in attributes.items() if PRESENTATION.match(k)}
        style = {**INHERITED, **{k: v for k, v in kept.items() if k in INHERITED}}
        state = _State(IDENTITY).inside(kept, reader.blurs)
        if kept:
            plain = {k: v for k, v in kept.items() if k not in EFFECTS}
            reader.pieces.append((open_tag("g", kept), open_tag("g", plain)))
        for child in root:
            reader.walk(child, style, state, 1)
        if kept:
            reader.pieces.append("</g>")
    except UnusableArt:
        raise
    except (ValueError, IndexError, OverflowError) as error:
        raise UnusableArt(f"malformed: {error}") from error
    art = SvgArt((box[0], box[1], box[2], box[3]), reader.pieces)
    if not art.shapes:
        raise UnusableArt("no shapes")
    return art
