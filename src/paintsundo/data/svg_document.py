"""SVG files as trees that are safe to draw: nothing outside the bytes is read, nothing grows without bounds."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
import zlib
from dataclasses import dataclass, field
from xml.parsers import expat

from paintsundo.data import svg_costs, svg_paths
from paintsundo.data.source import Unusable
from paintsundo.data.svg_costs import MAX_DEPTH, URL

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
XML = "http://www.w3.org/XML/1998/namespace"
OUTSIDE = ("refuse", "leave_out")
MAX_ENTITY_TEXT = 1_000_000  # characters that all references to entities together may stand for

# What the renderer knows; whatever else stands in a file is not drawn by it.
# fmt: off
KNOWN = frozenset({
    "a", "circle", "clipPath", "defs", "ellipse", "feBlend", "feColorMatrix", "feComponentTransfer",
    "feComposite", "feConvolveMatrix", "feDiffuseLighting", "feDisplacementMap", "feDistantLight", "feDropShadow",
    "feFlood", "feFuncA", "feFuncB", "feFuncG", "feFuncR", "feGaussianBlur", "feImage", "feMerge", "feMergeNode",
    "feMorphology", "feOffset", "fePointLight", "feSpecularLighting", "feSpotLight", "feTile", "feTurbulence",
    "filter", "g", "image", "line", "linearGradient", "marker", "mask", "path", "pattern", "polygon", "polyline",
    "radialGradient", "rect", "stop", "style", "svg", "switch", "symbol", "text", "textPath", "tref", "tspan",
    "use",
})
# fmt: on
_AT_RULE = re.compile(r"@[\w-]+[^{};]*(?:;|\{(?:[^{}]|\{[^{}]*\})*\})")


@dataclass(frozen=True)
class Limits:
    """Beyond these a file is refused.

    Attributes:
        megabytes: of the file, unpacked.
        shapes: drawn elements, those drawn through <use> counted each time.
        outside: "refuse" files that hold scripts or need other files, or "leave_out" those parts with a note.
    """

    megabytes: float = 4.0
    shapes: int = 10_000
    outside: str = "refuse"


@dataclass
class Document:
    """A safe tree: plain local names, only what the renderer knows, references within the document only.

    Attributes:
        root: the <svg> element.
        view_box: x, y, width, height in user units.
        ids: elements by id, the first of equal ones.
        notes: what was left out, for the record.
    """

    root: ElementTree.Element
    view_box: tuple[float, float, float, float]
    ids: dict[str, ElementTree.Element] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_document(data: bytes, limits: Limits | None = None) -> Document:
    """The tree of SVG bytes, plain or gzipped. Raises Unusable with the reason why it cannot be drawn safely."""
    limits = limits or Limits()
    root = _parsed(_unpacked(data, int(limits.megabytes * 1e6)))
    cleaner = _Cleaner(limits.outside == "leave_out")
    cleaner.clean(root, 0)
    if root.tag != "svg":
        raise Unusable("not an SVG document")
    ids: dict[str, ElementTree.Element] = {}
    for node in root.iter():
        if "id" in node.attrib:
            ids.setdefault(node.attrib["id"], node)
    document = Document(root, _view_box(root), ids, tuple(cleaner.notes))
    svg_costs.check_references(root, ids)
    return document


def _unpacked(data: bytes, most: int) -> bytes:
    if not data.strip():
        raise Unusable("empty file")
    if data[:2] == b"\x1f\x8b":
        stream = zlib.decompressobj(wbits=31)
        try:
            data = stream.decompress(data, most + 1)
        except zlib.error as error:
            raise Unusable(f"not well-formed: {error}") from error
        if not stream.eof and len(data) <= most:
            raise Unusable("not well-formed: cut short")
    if len(data) > most:
        raise Unusable(f"larger than {most / 1e6:g} MB")
    return data


def _parsed(data: bytes) -> ElementTree.Element:
    """The tree as written. Entities of plain text are taken, others refused before anything is expanded."""
    entities: dict[str, str] = {}

    def declared(name: str, is_parameter: bool, value: str | None, *outside: str | None) -> None:
        if is_parameter or value is None:
            raise Unusable("declares external entities")
        if re.search("[&%<]", value):
            raise Unusable("declares nested entities")
        entities.setdefault(name, value)

    def begun(*_: object) -> None:
        raise _Declared

    scout = expat.ParserCreate()
    scout.EntityDeclHandler = declared
    scout.StartElementHandler = begun  # declarations stand before the first element
    try:
        scout.Parse(data, True)
    except _Declared:
        pass
    except Unusable:
        raise
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise Unusable(f"not well-formed: {error}") from error
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        uses = {name: data.count(f"&{name};".encode(encoding)) for name in entities}
        if sum(len(entities[name]) * count for name, count in uses.items()) > MAX_ENTITY_TEXT:
            raise Unusable("declares entities that grow without end")
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise Unusable(f"not well-formed: {error}") from error


class _Declared(Exception):
    """All declarations are read."""


def _namespace(tag: str) -> tuple[str, str]:
    space, _, local = tag.rpartition("}")
    return space.lstrip("{"), local


class _Cleaner:
    """One pass over a tree that leaves local names, known elements and inner references."""

    def __init__(self, leave_out: bool):
        self.leave_out = leave_out
        self.notes: dict[str, None] = {}

    def refuse(self, what: str) -> None:
        """Something that needs a script or another file."""
        if not self.leave_out:
            raise Unusable(what)
        self.notes[f"left out: {what}"] = None

    def clean(self, node: ElementTree.Element, depth: int) -> bool:
        """Whether the element stays; its children and attributes are cleaned."""
        if depth > MAX_DEPTH:
            raise Unusable("nested too deeply")
        if not isinstance(node.tag, str):  # a comment or an instruction
            return False
        space, local = _namespace(node.tag)
        if local == "script":
            self.refuse("holds <script>")
            return False
        if space not in ("", SVG):
            return False
        if local not in KNOWN:
            if local == "foreignObject":
                self.notes["not drawn: <foreignObject>"] = None
            return False
        node.tag = local
        self.attributes(node)
        if local == "style":
            node.text = self.sheet("".join(node.itertext()))
            node[:] = []
            return True
        if local in ("image", "feImage") and "href" not in node.attrib:
            return False
        keep_text = local in ("text", "tspan", "textPath", "tref")
        if not keep_text:
            node.text = None
        kept: list[ElementTree.Element] = []
        for child in node:
            tail = child.tail
            if self.clean(child, depth + 1):
                child.tail = tail if keep_text else None
                kept.append(child)
            elif keep_text and tail:
                if kept:
                    kept[-1].tail = (kept[-1].tail or "") + tail
                else:
                    node.text = (node.text or "") + tail
        node[:] = kept
        svg_costs.check_filter(node)
        return True

    def attributes(self, node: ElementTree.Element) -> None:
        found: dict[str, str] = {}
        for name, value in node.attrib.items():
            space, local = _namespace(name)
            if space == XLINK and local == "href":
                if "href" not in node.attrib:
                    found["href"] = value
            elif space == XML:
                found[f"xml:{local}"] = value
            elif space in ("", SVG):
                if local.lower().startswith("on"):
                    self.refuse("script in an event attribute")
                else:
                    found[local] = value
        if "href" in found and not self.reference(str(node.tag), found["href"]):
            del found["href"]
        for name, value in found.items():
            if name != "href" and _points_outside(value):
                self.refuse("reference to another file")
                found[name] = _OUTSIDE_URL.sub("none", value)
        node.attrib.clear()
        node.attrib.update(found)

    def reference(self, tag: str, value: str) -> bool:
        """Whether a reference may stay."""
        value = value.strip()
        if value.startswith("#") or tag == "a":  # where a link leads is never followed
            return value.startswith("#")
        if tag in ("image", "feImage"):
            if value.startswith("data:"):
                svg_costs.check_embedded(value)
                return True
            self.refuse(f"reference to another file: {value if len(value) <= 60 else '…' + value[-59:]}")
            return False
        self.refuse("reference to another file")
        return False

    def sheet(self, text: str) -> str:
        """A style sheet without rules that start with @, which the renderer does not know."""
        plain = re.sub(r"/\*.*?\*/|<!--|-->", "", text, flags=re.S)
        for rule in _AT_RULE.findall(plain):
            if rule.startswith("@import"):
                self.refuse("style sheet in another file")
            elif rule.startswith("@font-face"):
                self.notes["not used: fonts the file brings or names"] = None
        plain = _AT_RULE.sub("", plain)
        if _points_outside(plain):
            self.refuse("reference to another file")
            plain = _OUTSIDE_URL.sub("none", plain)
        return plain


_OUTSIDE_URL = re.compile(r"url\(\s*(?!['\"]?\s*#)[^)]*\)?")


def _points_outside(value: str) -> bool:
    return "url(" in value and "url(" in URL.sub("", value)


def _view_box(root: ElementTree.Element) -> tuple[float, float, float, float]:
    box = svg_paths.numbers(root.get("viewBox", ""))
    if len(box) != 4:
        box = [0.0, 0.0, *(pixels(root.get(name, "")) for name in ("width", "height"))]
    if not (0 < box[2] < 1e9 and 0 < box[3] < 1e9 and abs(box[0]) < 1e9 and abs(box[1]) < 1e9):
        raise Unusable("empty view box")
    if not 1 / 64 <= box[2] / box[3] <= 64:
        raise Unusable("a view box too narrow to draw in")
    return box[0], box[1], box[2], box[3]


def pixels(length: str) -> float:
    """A CSS length in pixels (96 to the inch). Raises Unusable for relative or missing ones."""
    found = re.fullmatch(r"\s*\+?((?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(px|pt|pc|mm|cm|in|)\s*", length)
    if found is None:
        raise Unusable("no size")
    factor = {"": 1.0, "px": 1.0, "pt": 96 / 72, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}
    return float(found[1]) * factor[found[2]]
