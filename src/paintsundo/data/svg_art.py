"""An SVG file as an ordered list of shapes that can be painted in other ways: flat, outlines only, by number.

A file is turned into pieces: literal markup and shapes. A variant of the picture is the same
pieces with some shapes' paint changed, so clip paths, transforms and the order of the shapes stay as in the
file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

from paintsundo.data import svg_paths
from paintsundo.data.source import Unusable
from paintsundo.data.svg_paths import Matrix, Polyline

EFFECTS = ("opacity", "filter", "mask", "mix-blend-mode", "style")

UnusableArt = Unusable  # its former name


@dataclass
class Shape:
    """One drawable element. Paint values are resolved: inheritance and group opacity are applied."""

    tag: str
    attributes: dict[str, str]  # as written, presentation properties of `style` included
    matrix: Matrix  # (2, 3), element -> root coordinates
    layer: str  # id of the outermost named group
    fill: str  # "none", a colour or url(#...)
    stroke: str
    stroke_width: float  # root units
    fill_opacity: float  # 0...1, with the groups' opacity
    stroke_opacity: float
    soft: bool  # blended, blurred or masked: an overlay rather than a surface
    element: int = 0  # which element of a composition
    prefix: str = ""  # of its ids, in a composition
    inner: str = ""  # markup inside the element: the words of a text
    plain: str = ""  # the same without paint of its own
    marked: bool = False  # has line markers

    def outline(self) -> list[Polyline]:
        """Polylines in root coordinates."""
        lines = svg_paths.outline(self.tag, self.attributes)
        return [svg_paths.apply(self.matrix, line) for line in lines]

    @property
    def whole(self) -> bool:
        """Texts and pictures are drawn as they are: they have no outline to follow and no flat colour."""
        return self.tag in ("text", "image")

    def markup(self, override: Override, effects: bool) -> str:
        """The element with its paint overridden. Where any paint is, pictures are plain rectangles, texts plain."""
        if override is None:
            return ""
        attributes = self.attributes
        if not effects:
            attributes = {k: v for k, v in attributes.items() if k not in EFFECTS}
        if not override:
            return open_tag(self.tag, attributes, f">{self.inner}</{self.tag}" if self.inner else "/")
        if self.tag == "image":
            attributes = {k: v for k, v in attributes.items() if k not in ("href", "preserveAspectRatio")}
            return open_tag("rect", {**attributes, **override}, "/")
        attributes = {**attributes, **override}
        return open_tag(self.tag, attributes, f">{self.plain}</{self.tag}" if self.plain else "/")


Override = dict[str, str] | None  # attributes to change; None hides the shape
Piece = str | tuple[str, str] | Shape  # markup; (markup with effects, markup without); a shape


@dataclass
class SvgArt:
    """A parsed file: `view_box` (x, y, width, height) and pieces in document order.

    `document` is the whole file made safe, as it stands: (attributes of the root, content). It is what the finished
    picture is rendered from, so what the pieces leave out or simplify is never missing there. `rest`: there is such.
    `notes`: what of the file is not drawn at all.
    """

    view_box: tuple[float, float, float, float]
    pieces: list[Piece]
    aspect: str = ""  # preserveAspectRatio of the root
    document: tuple[dict[str, str], str] | None = None
    rest: bool = False
    notes: tuple[str, ...] = ()
    shapes: list[Shape] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shapes = [piece for piece in self.pieces if isinstance(piece, Shape)]

    @property
    def has_effects(self) -> bool:
        """Whether flat colours can differ from the finished picture: opacity, filters, masks, pictures."""
        on_groups = any(isinstance(piece, tuple) for piece in self.pieces)
        on_shapes = any(name in shape.attributes for shape in self.shapes for name in EFFECTS)
        return on_groups or on_shapes or self.rest or any(shape.tag == "image" for shape in self.shapes)

    @property
    def has_text(self) -> bool:
        return any(shape.tag == "text" for shape in self.shapes) or "<text" in (self.document or ({}, ""))[1]

    def markup(self, paint: Callable[[Shape], Override] | None = None, effects: bool = True) -> str:
        """The content between the root tags, each shape painted as `paint` says (None: as in the file).

        effects=False leaves out group opacity, filters and masks.
        """
        parts: list[str] = []
        for piece in self.pieces:
            if isinstance(piece, str):
                parts.append(piece)
            elif isinstance(piece, tuple):
                parts.append(piece[0] if effects else piece[1])
            else:
                parts.append(piece.markup(paint(piece) if paint else {}, effects))
        return "".join(parts)


def open_tag(tag: str, attributes: dict[str, str], close: str = "") -> str:
    """A start tag, or an empty element with close="/"."""
    return f"<{tag}{''.join(f' {k}={quoteattr(v)}' for k, v in attributes.items())}{close}>"
