"""Photoshop files (.psd, .psb), parsed by psd-tools; the layers' pixels are taken from its records.

Specification: Adobe Photoshop File Formats Specification (2019). Clipped layers and their base become a group of their
own: the base first, the others on top of it keeping its opacity, all with the blend mode of the base.
"""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from paintsundo.data.layered.document import Document, Group, Layer, Mask, Merged, Node, Pixels, as_float
from paintsundo.data.layered.limits import Limits
from paintsundo.data.layered.photoshop_paths import vector_mask
from paintsundo.data.layered.rules import GIMP, GIMP_LEGACY, NORMAL, PHOTOSHOP, Blend
from paintsundo.data.source import Unusable

COLOUR_MODES = {0: "bitmap", 1: "grey", 2: "indexed", 3: "RGB", 4: "CMYK", 7: "multichannel", 8: "duotone", 9: "Lab"}
TRANSPARENCY, USER_MASK, REAL_MASK = -1, -2, -3
ONLY_NORMAL_FILL = ("idiv", "lbrn", "div ", "lddg", "vLit", "lLit", "hMix", "diff")  # where fill is not opacity


@dataclass(frozen=True)
class Dialect:
    """What a program means by the blend modes of this format; see `Document` for the rest."""

    program: str
    rules: Mapping[str, Blend]
    linear: bool = False
    through_in_light: bool = False


DIALECTS = (
    Dialect("Photoshop", PHOTOSHOP),
    Dialect("GIMP", GIMP, linear=True),
    Dialect("GIMP, legacy modes", GIMP_LEGACY, through_in_light=True),
)


def read(stream: BinaryIO, limits: Limits) -> list[Document]:
    """A Photoshop file as documents: one for each dialect, the usual one first. Raises Unusable."""
    height, width, depth, mode = _header(stream)
    limits.check_size(width, height)
    if COLOUR_MODES.get(mode) not in ("RGB", "grey"):
        raise Unusable(f"colour mode {COLOUR_MODES.get(mode, mode)}")
    if depth not in (8, 16):
        raise Unusable(f"{depth} bits a channel")
    file = _parsed(stream)
    return [_document(file, (height, width), limits, dialect) for dialect in DIALECTS]


def _document(file: Any, size: tuple[int, int], limits: Limits, dialect: Dialect) -> Document:
    reader = _Reader(file, limits, dialect.rules)
    try:
        children = reader.children(file, 1)
        merged = reader.merged if file.has_preview() else None
        profile = file.image_resources.get_data("ICC_PROFILE")
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, RecursionError, struct.error) as error:
        raise _unusable(error) from error
    if not children:
        raise Unusable("no layers: take source=pictures")
    return Document(
        size,
        Group("root", children),
        dialect.program,
        dialect.linear,
        dialect.through_in_light,
        merged=merged,
        profile=profile if isinstance(profile, bytes) else None,
        unsupported=tuple(dict.fromkeys(reader.unsupported)),
    )


def _header(stream: BinaryIO) -> tuple[int, int, int, int]:
    """Height, width, bits of a channel and colour mode, before anything else is read."""
    head = stream.read(26)
    stream.seek(0)
    if len(head) < 26 or head[:4] != b"8BPS" or head[4:6] not in (b"\0\1", b"\0\2"):
        raise Unusable("no Photoshop file")
    height, width, depth, mode = struct.unpack(">IIHH", head[14:26])
    return height, width, depth, mode


def _parsed(stream: BinaryIO) -> Any:
    from psd_tools import PSDImage

    logging.getLogger("psd_tools").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return PSDImage.open(stream)
    except Unusable:
        raise
    except (Exception, RecursionError) as error:  # the parser meets damage with errors of every kind
        raise _unusable(error) from error


def _unusable(error: BaseException) -> Unusable:
    return (
        error
        if isinstance(error, Unusable)
        else Unusable(f"no readable Photoshop file: {error or type(error).__name__}")
    )


class _Reader:
    def __init__(self, file: Any, limits: Limits, rules: Mapping[str, Blend]):
        self.file, self.limits, self.rules = file, limits, rules
        self.count, self.bytes = 0, 0
        self.unsupported: list[str] = []

    def children(self, group: Any, depth: int) -> tuple[Node, ...]:
        """Layers from the bottom up, with what is clipped put into groups with its base."""
        self.limits.check_depth(depth)
        found: list[Node] = []
        base: Any = None
        for layer in group:
            self.count += 1
            self.limits.check_count(self.count)
            node = self.node(layer, depth)
            if not layer.clipping:
                base = layer
            if node is None:
                continue
            if layer.clipping and base is not None and found:
                if self.flag(base, "BLEND_CLIPPING_ELEMENTS", True) is False:
                    self.missing(base, "clipped layers blended one by one on")
                found[-1] = _clipped(found[-1], node)
            else:
                found.append(node)
        return tuple(_unwrapped(node) for node in found)

    def flag(self, layer: Any, tag: str, otherwise: bool) -> bool:
        from psd_tools.constants import Tag

        value = layer.tagged_blocks.get_data(getattr(Tag, tag))
        return otherwise if value is None else bool(getattr(value, "value", value))

    def missing(self, layer: Any, what: str) -> None:
        if layer.visible:
            self.unsupported.append(f"{what} {_name(layer)!r}")

    def blend(self, layer: Any) -> Blend:
        key = layer.blend_mode.value.decode("latin-1")
        if key == "pass":
            return NORMAL
        found = self.rules.get(key)
        if found is None:
            self.missing(layer, f"blend mode {layer.blend_mode.name.lower()} of")
            return NORMAL
        return found

    def node(self, layer: Any, depth: int) -> Node | None:
        self.remarks(layer)
        opacity = layer.opacity / 255
        fill = self.fill(layer)
        common = {"visible": bool(layer.visible), "blend": self.blend(layer), "masks": self.masks(layer)}
        if layer.is_group():
            through = layer.blend_mode.value == b"pass"
            children = self.children(layer, depth + 1)
            return Group(_name(layer), children, opacity=opacity, through=through, **common)  # type: ignore[arg-type]
        load = self.loader(layer)
        if load is None:
            return None
        return Layer(_name(layer), load, opacity=opacity * fill, **common)  # type: ignore[arg-type]

    def fill(self, layer: Any) -> float:
        from psd_tools.constants import Tag

        value = layer.tagged_blocks.get_data(Tag.BLEND_FILL_OPACITY)
        fill = int(getattr(value, "value", 255 if value is None else value)) / 255
        if fill < 1 and layer.blend_mode.value.decode("latin-1") in ONLY_NORMAL_FILL:
            self.missing(layer, f"fill opacity with blend mode {layer.blend_mode.name.lower()} of")
        return fill

    def remarks(self, layer: Any) -> None:
        """Name what would look different in Photoshop."""
        from psd_tools.constants import Tag

        if layer.has_effects():
            self.missing(layer, "layer effects of")
        if self.flag(layer, "KNOCKOUT_SETTING", False):
            self.missing(layer, "knockout of")
        if not self.flag(layer, "TRANSPARENCY_SHAPES_LAYER", True):
            self.missing(layer, "transparency that does not shape")
        if layer.tagged_blocks.get_data(Tag.CHANNEL_BLENDING_RESTRICTIONS_SETTING):
            self.missing(layer, "switched off channels of")
        ranges = layer._record.blending_ranges
        everything = [tuple(pair) for pair in (ranges.composite_ranges or [])]
        everything += [tuple(pair) for channel in (ranges.channel_ranges or []) for pair in channel]
        if any(pair not in ((0, 65535), (0, 0), (65535, 65535)) for pair in everything):
            self.missing(layer, "blending by brightness (blend if) of")

    def loader(self, layer: Any) -> Callable[[], Pixels] | None:
        kind = layer.kind
        if layer.width > 0 and layer.height > 0 and any(info.id >= 0 for info in layer._record.channel_info):
            self.limits.check_size(layer.width, layer.height, f"layer {layer.name!r}")
            self.bytes += 4 * layer.width * layer.height * self.file.depth // 8
            self.limits.check_bytes(self.bytes)
            return lambda: self.pixels(layer)
        if kind in ("pixel", "type", "smartobject", "shape"):
            return lambda: Pixels(0, 0, np.zeros((0, 0, 4), np.uint8))
        if kind == "solidcolorfill":
            colour = _fill_colour(layer)
            if colour is not None:
                size = (self.file.height, self.file.width)
                return lambda: Pixels(0, 0, np.broadcast_to(np.array(colour, np.float32), (*size, 4)))
        self.missing(layer, f"{kind} layer")
        return None

    def pixels(self, layer: Any) -> Pixels:
        """The stored channels of a layer. Raises Unusable."""
        shape = layer.height, layer.width
        channels = {info.id: data for info, data in zip(layer._record.channel_info, layer._channels, strict=False)}
        colours = [self.channel(channels[number], shape) for number in (0, 1, 2) if number in channels]
        if len(colours) < 3:
            colours = [colours[0]] * 3
        alpha = channels.get(TRANSPARENCY)
        full = np.full(shape, np.iinfo(colours[0].dtype).max, colours[0].dtype)
        values = np.dstack([*colours, full if alpha is None else self.channel(alpha, shape)])
        return Pixels(layer.left, layer.top, values)

    def channel(self, data: Any, shape: tuple[int, int]) -> NDArray[Any]:
        height, width = shape
        deep = self.file.depth // 8
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                raw = data.get_data(
                    width, height, self.file.depth, self.file.version, max_output_bytes=width * height * deep + 65536
                )
        except Exception as error:  # the codecs meet damage with errors of every kind
            raise Unusable(f"a damaged layer: {error}") from error
        if len(raw) < width * height * deep:
            raise Unusable("a truncated layer")
        values = np.frombuffer(raw, np.uint8 if deep == 1 else ">u2", width * height).reshape(shape)
        return values if deep == 1 else values.astype(np.uint16)

    def masks(self, layer: Any) -> tuple[Callable[[], Mask], ...]:
        found = []
        data = layer._record.mask_data
        ids = {info.id for info in layer._record.channel_info}
        from_path = data is not None and bool(data.flags.user_mask_from_render)
        if data is not None and not data.flags.mask_disabled and ids & {USER_MASK, REAL_MASK}:
            if data.parameters is not None and (data.parameters.user_mask_feather or 0) > 0:
                self.missing(layer, "feathered mask of")
            real = REAL_MASK in ids and data.real_flags is not None and bool(data.real_flags.parameters_applied)
            found.append(lambda: self.mask(layer, real))
            from_path = from_path or real
        if layer.has_vector_mask() and not from_path and not layer.vector_mask.disabled and layer.kind != "shape":
            size = (self.file.height, self.file.width)
            found.append(lambda: vector_mask(layer.vector_mask, size))
        return tuple(found)

    def mask(self, layer: Any, real: bool) -> Mask:
        data = layer._record.mask_data
        if real:
            place = data.real_top, data.real_left, data.real_bottom, data.real_right
            outside, number = data.real_background_color, REAL_MASK
        else:
            place = data.top, data.left, data.bottom, data.right
            outside, number = data.background_color, USER_MASK
        top, left, bottom, right = place
        shape = max(0, bottom - top), max(0, right - left)
        values = np.zeros(shape, np.float32)
        if shape[0] and shape[1]:
            self.limits.check_size(shape[1], shape[0], f"the mask of {layer.name!r}")
            for info, channel in zip(layer._record.channel_info, layer._channels, strict=False):
                if info.id == number:
                    values = as_float(self.channel(channel, shape))
        background = (outside or 0) / 255
        if data.flags.invert_mask:
            values, background = 1 - values, 1 - background
        density = data.parameters.user_mask_density if data.parameters is not None else None
        if density is not None and density < 255:
            values, background = 1 - density / 255 * (1 - values), 1 - density / 255 * (1 - background)
        return Mask(left, top, values, background)

    def merged(self) -> Merged:
        """The composite that the program wrote. Raises Unusable.

        Photoshop and GIMP mix its colours with white where the picture is transparent, Krita does not.
        """
        height, width = self.file.height, self.file.width
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                planes = self.file._record.image_data.get_data(self.file._record.header)
        except Exception as error:  # as for layers
            raise Unusable(f"a damaged composite: {error}") from error
        values = [_plane(plane, (height, width), self.file.depth) for plane in planes]
        colours = values[:3] if self.file.color_mode.value == 3 else [values[0]] * 3
        full = np.full((height, width), np.iinfo(values[0].dtype).max, values[0].dtype)
        first = 3 if self.file.color_mode.value == 3 else 1
        transparent = len(values) > first
        return Merged(np.dstack([*colours, values[first] if transparent else full]), maybe_on_white=transparent)


def _name(layer: Any) -> str:
    return str(layer.name).rstrip("\0")


def _plane(data: bytes, shape: tuple[int, int], depth: int) -> NDArray[Any]:
    count = shape[0] * shape[1]
    if len(data) < count * depth // 8:
        raise Unusable("a truncated composite")
    values = np.frombuffer(data, np.uint8 if depth == 8 else ">u2", count).reshape(shape)
    return values if depth == 8 else values.astype(np.uint16)


def _fill_colour(layer: Any) -> tuple[float, float, float, float] | None:
    try:
        colour = layer.data
        red, green, blue = (float(colour[key]) / 255 for key in (b"Rd  ", b"Grn ", b"Bl  "))
        return red, green, blue, 1.0
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


class _Clipping(Group):
    """A base and the layers clipped to it, while they are collected."""


def _clipped(base: Node, layer: Node) -> Node:
    above = _isolated(replace(layer, blend=layer.blend.atop()))
    if isinstance(base, _Clipping):
        return replace(base, children=(*base.children, above))
    inside = _isolated(replace(base, visible=True, opacity=1.0, blend=NORMAL))
    return _Clipping(base.name, (inside, above), base.visible, base.opacity, base.blend)


def _isolated(node: Node) -> Node:
    return replace(node, through=False) if isinstance(node, Group) else node


def _unwrapped(node: Node) -> Node:
    if not isinstance(node, _Clipping):
        return node
    return Group(node.name, node.children, node.visible, node.opacity, node.blend)
