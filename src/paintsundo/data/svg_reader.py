"""SVG files as shapes: bytes in, pieces out that can be painted in other ways."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

import numpy as np

from paintsundo.data import svg_css, svg_paths, svg_viewport
from paintsundo.data.source import Unusable
from paintsundo.data.svg_art import EFFECTS, Piece, Shape, SvgArt, open_tag
from paintsundo.data.svg_costs import MAX_DEPTH, URL
from paintsundo.data.svg_document import Document, Limits, read_document
from paintsundo.data.svg_paths import IDENTITY, Matrix
from paintsundo.data.svg_servers import Servers
from paintsundo.data.svg_viewport import Box

DRAWABLE = {"path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "image"}
GROUPS = {"g", "a", "svg", "switch"}
RESOURCES = {"defs", "clipPath", "mask", "linearGradient", "radialGradient", "filter", "pattern", "symbol", "marker"}
WORDS = {"text", "tspan", "textPath", "tref"}
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
OF_TEXT = re.compile(r"^(font|text-|letter-|word-|dominant-|alignment-|baseline-|writing-|direction$|unicode-bidi)")
PLACE: tuple[str, ...] = ("x", "y", "width", "height")
ROOT_GEOMETRY = {"width", "height", "viewBox", "x", "y", "version", "baseProfile"}
MARKERS = ("marker", "marker-start", "marker-mid", "marker-end")


@dataclass(frozen=True)
class _State:
    """What a place in the tree passes on to the shapes below."""

    matrix: Matrix
    view_box: Box
    opacity: float = 1.0
    soft: bool = False
    layer: str = ""
    marked: bool = False

    def inside(self, attributes: dict[str, str], blurs: Callable[[str], bool], layer: str = "") -> _State:
        matrix = self.matrix
        if "transform" in attributes:
            matrix = svg_paths.compose(matrix, svg_paths.parse_transform(attributes["transform"]))
        found = svg_paths.numbers(attributes.get("opacity", "1"))
        opacity = self.opacity * (found[0] / (100 if "%" in attributes.get("opacity", "") else 1) if found else 1.0)
        soft = self.soft or "style" in attributes or blurs(attributes.get("filter", ""))
        markers = [attributes[name] for name in MARKERS if name in attributes]
        marked = any(value != "none" for value in markers) if markers else self.marked
        return _State(matrix, self.view_box, opacity, soft, self.layer or layer, marked)


class _Reader:
    """One pass over a safe tree that collects pieces. What has no pieces is left to the finished picture."""

    def __init__(self, document: Document, prefix: str, limits: Limits):
        self.document, self.prefix, self.limits = document, prefix, limits
        self.ids = document.ids
        self.servers = Servers(document, prefix)
        self.rules, complete = svg_css.rules(document.root)
        self.rest = not complete
        self.pieces: list[Piece] = []
        self.count = self.visited = self.viewports = 0

    def attributes(self, node: ElementTree.Element) -> dict[str, str]:
        """Own attributes with style rules and the style attribute folded in, references prefixed."""
        plain = dict(node.attrib)
        style: dict[str, str] = {}
        for rule in self.rules:
            if rule.matches(node):
                style.update(rule.body)
        style.update(svg_css.declarations(plain.pop("style", "")))
        blend = style.get("mix-blend-mode")
        wanted = OF_TEXT.match if node.tag in WORDS else lambda _: None
        plain.update({k: v for k, v in style.items() if PRESENTATION.match(k) or wanted(k)})
        if blend and blend != "normal":  # the only property that has no presentation attribute
            plain["style"] = f"mix-blend-mode:{blend}"
        plain.pop("class", None)
        if "id" in plain:
            plain["id"] = self.prefix + plain["id"]
        for name, value in plain.items():
            if name == "href" and value.startswith("#"):
                plain[name] = "#" + self.prefix + value[1:]
            elif "url(" in value:
                plain[name] = URL.sub(lambda found: f"url(#{self.prefix}{found[1]})", value)
        return plain

    def verbatim(self, node: ElementTree.Element, paint: bool = True) -> str:
        """An element as markup, with or without paint of its own."""
        attributes = self.attributes(node)
        if not paint:
            attributes = {k: v for k, v in attributes.items() if not re.match("fill|stroke|opacity|style", k)}
        return f"{open_tag(str(node.tag), attributes)}{self.content(node, paint)}</{node.tag}>"

    def content(self, node: ElementTree.Element, paint: bool = True) -> str:
        """What stands inside an element, as markup."""
        parts = [escape(node.text or "")]
        for child in node:
            if child.tag != "style":
                parts.append(self.verbatim(child, paint))
            parts.append(escape(child.tail or ""))
        return "".join(parts)

    def walk(self, node: ElementTree.Element, style: dict[str, str], state: _State, depth: int) -> None:
        tag = str(node.tag)
        self.visited += 1  # <use> can multiply nodes without end
        if depth > MAX_DEPTH or self.visited > 10 * self.limits.shapes + 1000:
            raise Unusable("nested too deeply")
        if tag in RESOURCES:
            self.pieces.append(self.verbatim(node))
            return
        attributes = self.attributes(node)
        if tag not in DRAWABLE | GROUPS | {"use"} or attributes.get("display") == "none":
            return
        passed_on = {k: v for k, v in attributes.items() if (k in INHERITED or OF_TEXT.match(k)) and v != "inherit"}
        passed_on |= {k: v for k, v in self.text_style(node).items() if v != "inherit"}
        style = {**style, **passed_on}
        state = state.inside(attributes, self.servers.blurs, node.get("id", "") if tag == "g" else "")
        if tag in DRAWABLE:
            self.shape(node, attributes, style, state)
        elif tag == "use":
            self.use(attributes, style, state, depth)
        elif tag == "svg":
            self.viewport(node, attributes, attributes, style, state, depth)
        elif tag == "switch":
            self.group(attributes, [child for child in node if _passes(child)][:1], style, state, depth)
        else:
            self.group(attributes, list(node), style, state, depth)

    def text_style(self, node: ElementTree.Element) -> dict[str, str]:
        """Properties of text that style sheets and the style attribute give an element, for the texts below it."""
        style: dict[str, str] = {}
        for rule in self.rules:
            if rule.matches(node):
                style.update(rule.body)
        style.update(svg_css.declarations(node.get("style", "")))
        return {k: v for k, v in style.items() if OF_TEXT.match(k)}

    def group(
        self,
        attributes: dict[str, str],
        children: list[ElementTree.Element],
        style: dict[str, str],
        state: _State,
        depth: int,
    ) -> None:
        plain = {k: v for k, v in attributes.items() if k not in EFFECTS}
        if plain == attributes:
            self.pieces.append(open_tag("g", attributes))
        else:
            self.pieces.append((open_tag("g", attributes), open_tag("g", plain)))
        for child in children:
            self.walk(child, style, state, depth + 1)
        self.pieces.append("</g>")

    def use(self, attributes: dict[str, str], style: dict[str, str], state: _State, depth: int) -> None:
        target = self.ids.get(attributes.get("href", "#")[1 + len(self.prefix) :])
        if target is None:  # nothing is drawn
            return
        place = {name: attributes.pop(name) for name in PLACE if name in attributes}
        attributes.pop("href", None)
        if target.tag in ("symbol", "svg"):
            inner = self.attributes(target)
            if target.tag == "symbol":
                place = {"width": "100%", "height": "100%", **place}
            else:
                place = {**{k: v for k, v in inner.items() if k in ("width", "height")}, **place}
            self.viewport(target, {**attributes, "in-use": "1"}, {**inner, **place}, style, state, depth)
            return
        shift = f"translate({place.get('x', '0')} {place.get('y', '0')})"
        attributes["transform"] = f"{attributes.get('transform', '')} {shift}".strip()
        self.group(attributes, [target], style, state.inside({"transform": shift}, self.servers.blurs), depth)

    def viewport(
        self,
        node: ElementTree.Element,
        attributes: dict[str, str],
        place: dict[str, str],
        style: dict[str, str],
        state: _State,
        depth: int,
    ) -> None:
        """The content of a nested <svg> or of a <symbol> in use, clipped to its place and scaled to fit it."""
        try:
            room = svg_viewport.viewport(place, state.view_box)
            numbers = svg_paths.numbers(place.get("viewBox", ""))
            box = (numbers[0], numbers[1], numbers[2], numbers[3]) if len(numbers) == 4 else (0.0, 0.0, *room[2:])
            if min(*room[2:], *box[2:]) <= 0:
                return
        except ValueError:
            self.rest = True
            return
        fit = svg_viewport.fit(box, room, place.get("preserveAspectRatio", ""))
        around = {k: v for k, v in attributes.items() if k not in ROOT_GEOMETRY | {"in-use", "preserveAspectRatio"}}
        matrix = "matrix({} {} {} {} {} {})".format(*(f"{value:.9g}" for value in fit.T.ravel()))
        inner = replace(state.inside({"transform": matrix}, self.servers.blurs), view_box=box)
        self.pieces.append(open_tag("g", around))
        clip = ""
        sized = "in-use" in attributes or ("width" in place and "height" in place)
        if sized and place.get("overflow", "hidden") not in ("visible", "auto"):
            self.viewports += 1
            clip = f"{self.prefix}--viewport{self.viewports}"
            rect = dict(zip(PLACE, (f"{value:.9g}" for value in room), strict=True))
            self.pieces.append(f'<clipPath id="{clip}">{open_tag("rect", rect, "/")}</clipPath>')
        self.pieces.append(open_tag("g", {"clip-path": f"url(#{clip})"} if clip else {}))
        self.group({"transform": matrix}, list(node), style, inner, depth + 1)
        self.pieces.append("</g></g>")

    def shape(
        self, node: ElementTree.Element, attributes: dict[str, str], style: dict[str, str], state: _State
    ) -> None:
        self.count += 1
        if self.count > self.limits.shapes:
            raise Unusable(f"more than {self.limits.shapes} shapes")
        tag = str(node.tag)
        scale = float(np.sqrt(abs(np.linalg.det(state.matrix[:, :2]))))

        def number(name: str) -> float:
            found = svg_paths.numbers(style[name])
            return (found[0] / (100 if "%" in style[name] else 1)) if found else 1.0

        fill, stroke = self.paint(style["fill"], style), self.paint(style["stroke"], style)
        if tag == "text":
            attributes = {**{k: v for k, v in style.items() if OF_TEXT.match(k)}, **attributes}
            fill = style["color"] if fill == "none" and stroke == "none" else fill  # its words may have their own
        elif tag == "image":
            if not ("width" in attributes and "height" in attributes):
                self.rest = True
                return
            fill, stroke = "#808080", "none"
        elif tag == "line":
            fill = "none"
        if style["visibility"] != "visible":
            fill = stroke = "none"
        shape = Shape(
            tag=tag,
            attributes=attributes,
            matrix=state.matrix,
            layer=state.layer,
            fill=fill,
            stroke=stroke,
            stroke_width=number("stroke-width") * scale,
            fill_opacity=state.opacity * number("fill-opacity") * self.servers.stop_opacity(fill),
            stroke_opacity=state.opacity * number("stroke-opacity") * self.servers.stop_opacity(stroke),
            soft=state.soft,
            prefix=self.prefix,
            inner=self.content(node) if tag == "text" else "",
            plain=self.content(node, paint=False) if tag == "text" else "",
            marked=state.marked,
        )
        for paint in (fill, stroke):
            self.servers.check_tile(paint, shape)
        self.pieces.append(shape)

    def paint(self, value: str, style: dict[str, str]) -> str:
        value = style["color"] if value == "currentColor" else value
        found = URL.search(value)
        return f"url(#{self.prefix}{found[1]})" if found and not found[1].startswith(self.prefix) else value


def _passes(child: ElementTree.Element) -> bool:
    """Whether a child of <switch> is one for this renderer, in English."""
    languages = [part.strip() for part in child.get("systemLanguage", "en").split(",")]
    return "requiredExtensions" not in child.attrib and any(name.split("-")[0] == "en" for name in languages)


def parse(data: bytes, prefix: str = "", limits: Limits | None = None) -> SvgArt:
    """Read SVG bytes. `prefix` is put before every id, so that several files can share one document.

    Raises Unusable with a reason: not well-formed, entities, scripts, references to other files, too large. Nothing
    outside the bytes is ever read.
    """
    limits = limits or Limits()
    document = read_document(data, limits)
    root, box = document.root, document.view_box
    reader = _Reader(document, prefix, limits)
    try:
        attributes = reader.attributes(root)
        kept = {k: v for k, v in attributes.items() if PRESENTATION.match(k)}
        style = {**INHERITED, **{k: v for k, v in kept.items() if k in INHERITED}, **reader.text_style(root)}
        state = _State(IDENTITY, box).inside(kept, reader.servers.blurs)
        if kept:
            plain = {k: v for k, v in kept.items() if k not in EFFECTS}
            reader.pieces.append((open_tag("g", kept), open_tag("g", plain)))
        for child in root:
            reader.walk(child, style, state, 1)
        if kept:
            reader.pieces.append("</g>")
    except Unusable:
        raise
    except (ValueError, IndexError, OverflowError) as error:
        raise Unusable(f"malformed: {error}") from error
    content = "".join(ElementTree.tostring(child, encoding="unicode") for child in root)
    around = {k: v for k, v in root.attrib.items() if k not in ROOT_GEOMETRY}
    art = SvgArt(
        box, reader.pieces, root.get("preserveAspectRatio", ""), (around, content), reader.rest, document.notes
    )
    if not art.shapes and not art.rest:
        raise Unusable("no shapes")
    return art
