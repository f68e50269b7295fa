"""Krita files (.kra): a zip of `maindoc.xml`, tiled pixel data of each layer and mask, and SVG of vector layers.

"Inherit alpha" is a channel flag: a layer whose last channel is off keeps the opacity of what lies below it in its
group.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from paintsundo.data.layered.archive import Archive, parse_xml, whole
from paintsundo.data.layered.document import Document, Group, Layer, Mask, Node, Pixels, as_float, mapped
from paintsundo.data.layered.krita_tiles import read_tiles
from paintsundo.data.layered.krita_vectors import fill_colour, rendered
from paintsundo.data.layered.limits import Limits
from paintsundo.data.layered.openraster import merged_picture
from paintsundo.data.layered.rules import KRITA, NORMAL, Blend
from paintsundo.data.source import Unusable

SPACES: dict[
    str, tuple[np.dtype[Any], tuple[int, int, int]]
] = {  # name: dtype of a channel, order of the colour channels in memory, opacity last
    "RGBA": (np.dtype("u1"), (2, 1, 0)),
    "RGBA16": (np.dtype("<u2"), (2, 1, 0)),
    "RGBAF16": (np.dtype("<f2"), (0, 1, 2)),
    "RGBAF32": (np.dtype("<f4"), (0, 1, 2)),
    "GRAYA": (np.dtype("u1"), (0, 0, 0)),
    "GRAYAU16": (np.dtype("<u2"), (0, 0, 0)),
    "GRAYAF16": (np.dtype("<f2"), (0, 0, 0)),
    "GRAYAF32": (np.dtype("<f4"), (0, 0, 0)),
}
MASKS_WITHOUT_EFFECT = ("selectionmask",)


def read(stream: BinaryIO, limits: Limits) -> Document:
    """A Krita file as a document. Raises Unusable."""
    archive = Archive(stream, limits)
    root = _plain(parse_xml(archive.read("maindoc.xml"), limits))
    image = root.find("IMAGE")
    if image is None:
        raise Unusable("maindoc.xml without an image")
    width, height = whole(image, "width", 0), whole(image, "height", 0)
    limits.check_size(width, height)
    reader = _Reader(archive, image, (height, width), limits)
    layers = image.find("layers")
    children = reader.children(layers, 1) if layers is not None else ()
    children = reader.resolved(Group("root", children)).children
    profile = next((archive.read(name) for name in archive.names() if name.endswith("annotations/icc")), None)
    return Document(
        (height, width),
        Group("root", children),
        "Krita",
        background=reader.background(),
        merged=merged_picture(archive, limits),
        profile=profile,
        unsupported=tuple(dict.fromkeys(reader.unsupported)),
    )


class _Reader:
    def __init__(self, archive: Archive, image: ElementTree.Element, size: tuple[int, int], limits: Limits):
        self.archive, self.size, self.limits = archive, size, limits
        self.space = image.get("colorspacename", "RGBA")
        if self.space not in SPACES:
            raise Unusable(f"colour space {self.space}")
        self.image = image
        name = image.get("name", "")
        folders = {path.split("/layers/")[0] for path in archive.names() if "/layers/" in path}
        self.folder = name if name in folders or not folders else min(folders)
        self.count = 0
        self.unsupported: list[str] = []
        self.by_uuid: dict[str, Node] = {}
        self.clones: dict[Layer, tuple[str, int, int]] = {}

    def background(self) -> tuple[float, float, float, float]:
        element = self.image.find("ProjectionBackgroundColor")
        try:
            data = base64.b64decode(element.get("ColorData", ""), validate=True) if element is not None else b""
        except (binascii.Error, ValueError):
            data = b""
        dtype, order = SPACES[self.space]
        channels = 4 if len(set(order)) == 3 else 2
        if len(data) != channels * dtype.itemsize:
            return 0.0, 0.0, 0.0, 0.0
        values = as_float(np.frombuffer(data, dtype)).tolist()
        return values[order[0]], values[order[1]], values[order[2]], values[-1]

    def children(self, layers: ElementTree.Element, depth: int) -> tuple[Node, ...]:
        """Layers from the bottom up; the file lists them from the top."""
        self.limits.check_depth(depth)
        found = []
        for element in reversed(layers):
            if element.tag != "layer":
                continue
            self.count += 1
            self.limits.check_count(self.count)
            node = self.node(element, depth)
            if node is not None:
                found.append(node)
                self.by_uuid[element.get("uuid", "")] = node
        return tuple(found)

    def missing(self, element: ElementTree.Element, what: str) -> None:
        if element.get("visible", "1") == "1":
            self.unsupported.append(f"{what} {element.get('name', '')!r}")

    def blend(self, element: ElementTree.Element) -> Blend:
        name = element.get("compositeop", "normal")
        found = KRITA.get(name)
        if found is None:
            self.missing(element, f"blend mode {name} of")
            found = NORMAL
        flags = element.get("channelflags", "")
        if "0" in flags[:-1]:
            self.missing(element, "switched off channels of")
        return found.atop() if flags.endswith("0") else found

    def node(self, element: ElementTree.Element, depth: int) -> Node | None:
        kind = element.get("nodetype", element.get("layertype", ""))
        if element.get("layerstyle"):
            self.missing(element, "layer style of")
        if element.get("keyframes"):
            self.missing(element, "animation of")
        common = {
            "visible": element.get("visible", "1") == "1",
            "opacity": _opacity(element),
            "blend": self.blend(element),
            "masks": self.masks(element),
        }
        name = element.get("name", "")
        if kind == "grouplayer":
            inner = element.find("layers")
            children = self.children(inner, depth + 1) if inner is not None else ()
            if element.get("passthrough") == "1":  # the mode and masks of such a group are not used
                share = _opacity(element)
                return Group(name, _fainter(children, share), bool(common["visible"]), through=True)
            return Group(name, children, **common)  # type: ignore[arg-type]
        load = self.loader(element, kind)
        if load is None:
            return None
        layer = Layer(name, load, **common)  # type: ignore[arg-type]
        if kind == "clonelayer":
            place = whole(element, "x", 0), whole(element, "y", 0)
            self.clones[layer] = (element.get("clonefromuuid", ""), *place)
        return layer

    def loader(self, element: ElementTree.Element, kind: str) -> Callable[[], Pixels] | None:
        """What reads the pixels of a layer; None for layers that are not supported."""
        name = element.get("filename", "")
        x, y = whole(element, "x", 0), whole(element, "y", 0)
        if kind == "paintlayer":
            space = element.get("colorspacename", self.space)
            if space not in SPACES:
                raise Unusable(f"colour space {space}")
            return lambda: self.pixels(name, space, x, y)
        if kind == "shapelayer":
            source = f"{self.path(name)}.shapelayer/content.svg"
            if source not in self.archive:
                self.missing(element, "vector layer without shapes,")
                return None
            if b"<text" in self.archive.read(source) and element.get("visible", "1") == "1":
                self.missing(element, "text, whose fonts may differ, in")
            return lambda: rendered(self.archive.read(source), self.size, self.limits)
        if kind == "clonelayer":
            return lambda: Pixels(0, 0, np.zeros((0, 0, 4), np.uint8))
        if kind == "generatorlayer" and element.get("generatorname") == "color":
            source = f"{self.path(name)}.filterconfig"
            colour = fill_colour(parse_xml(self.archive.read(source), self.limits))
            return lambda: Pixels(0, 0, np.broadcast_to(np.array(colour, np.float32), (*self.size, 4)))
        what = {"adjustmentlayer": "filter layer", "filelayer": "file layer", "generatorlayer": "fill layer"}
        self.missing(element, what.get(kind, f"layer of kind {kind!r}"))
        return None

    def path(self, name: str) -> str:
        return f"{self.folder}/layers/{name}"

    def pixels(self, name: str, space: str, x: int, y: int) -> Pixels:
        dtype, order = SPACES[space]
        channels = 4 if len(set(order)) == 3 else 2
        size = channels * dtype.itemsize
        left, top, data = self.tiles(name, size, (x, y))
        values = np.ascontiguousarray(data).view(dtype)
        picture = values[..., [*order, channels - 1]]
        if dtype.kind == "f":
            picture = np.nan_to_num(picture.astype(np.float32))
        return Pixels(left + x, top + y, picture)

    def tiles(self, name: str, size: int, place: tuple[int, int]) -> tuple[int, int, NDArray[np.uint8]]:
        default = bytes(size)
        if f"{self.path(name)}.defaultpixel" in self.archive:
            default = self.archive.read(f"{self.path(name)}.defaultpixel")
        x, y = place
        # tiles are stored before the layer's offset is added
        shifted = (self.size[0] + abs(y), self.size[1] + abs(x))
        near = shifted if x >= 0 and y >= 0 else (shifted[0] + abs(y), shifted[1] + abs(x))
        left, top, data = read_tiles(
            self.archive.read(self.path(name)), size, default, self.limits, near if not any(place) else None
        )
        if not any(default):
            return left, top, data
        height, width = self.size
        full = np.empty((height, width, size), np.uint8)
        full[:] = np.frombuffer(default, np.uint8)
        own = (
            max(0, top + y),
            max(0, left + x),
            min(height, top + y + data.shape[0]),
            min(width, left + x + data.shape[1]),
        )
        if own[0] < own[2] and own[1] < own[3]:
            part = data[own[0] - top - y : own[2] - top - y, own[1] - left - x : own[3] - left - x]
            full[own[0] : own[2], own[1] : own[3]] = part
        return -x, -y, full

    def masks(self, element: ElementTree.Element) -> tuple[Callable[[], Mask], ...]:
        found = []
        for mask in (*element.findall("masks/mask"), *element.findall("layers/mask")):  # of a layer; of a group
            kind = mask.get("nodetype", "")
            if mask.get("visible", "1") != "1" or kind in MASKS_WITHOUT_EFFECT:
                continue
            if kind != "transparencymask":
                if element.get("visible", "1") == "1":
                    self.missing(mask, f"{kind.removesuffix('mask')} mask")
                continue
            found.append(
                self.mask(f"{mask.get('filename', '')}.pixelselection", whole(mask, "x", 0), whole(mask, "y", 0))
            )
        return tuple(found)

    def mask(self, name: str, x: int, y: int) -> Callable[[], Mask]:
        if self.path(name) not in self.archive:
            raise Unusable(f"mask {name!r} is missing")
        outside = 0.0
        if f"{self.path(name)}.defaultpixel" in self.archive:
            outside = self.archive.read(f"{self.path(name)}.defaultpixel")[0] / 255

        def load() -> Mask:
            left, top, data = self.tiles(name, 1, (x, y))
            return Mask(left + x, top + y, as_float(data[..., 0]), outside)

        return load

    def resolved(self, root: Group) -> Group:
        """The tree with clones in their places."""
        if not self.clones:
            return root
        replaced: dict[int, Node] = {}
        for clone, (uuid, x, y) in self.clones.items():
            original = self.by_uuid.get(uuid)
            if original is None or any(leaf in self.clones for leaf in _leaves_of(original)):  # or of itself
                self.unsupported.append(f"clone layer {clone.name!r}")
                continue
            replaced[id(clone)] = _cloned(clone, original, x, y)
        return _with(root, replaced)


def _leaves_of(node: Node) -> Iterator[Layer]:
    if isinstance(node, Layer):
        yield node
    else:
        for child in node.children:
            yield from _leaves_of(child)


def _opacity(element: ElementTree.Element) -> float:
    return min(255, max(0, whole(element, "opacity", 255))) / 255


def _fainter(children: tuple[Node, ...], share: float) -> tuple[Node, ...]:
    """What the opacity of a pass-through group does to its layers."""
    return tuple(
        replace(child, children=_fainter(child.children, share))
        if isinstance(child, Group) and child.through
        else replace(child, opacity=child.opacity * share)
        for child in children
    )


def _with(group: Group, replaced: dict[int, Node]) -> Group:
    children = tuple(
        _with(child, replaced) if isinstance(child, Group) else replaced.get(id(child), child)
        for child in group.children
    )
    return replace(group, children=children)


def _cloned(clone: Layer, original: Node, x: int, y: int) -> Node:
    """The picture of another layer with its masks, moved, under the opacity, mode and masks of the clone."""

    def moved(layer: Layer) -> Layer:
        return replace(layer, load=_moved_pixels(layer.load, x, y), masks=_moved_masks(layer.masks, x, y))

    if isinstance(original, Layer):
        layer = moved(original)
        return replace(clone, load=layer.load, masks=(*layer.masks, *clone.masks))
    group = mapped(original, moved, lambda inner: replace(inner, masks=_moved_masks(inner.masks, x, y)))
    return replace(
        group,
        name=clone.name,
        visible=clone.visible,
        opacity=clone.opacity,
        blend=clone.blend,
        masks=(*group.masks, *clone.masks),
    )


def _moved_pixels(load: Callable[[], Pixels], x: int, y: int) -> Callable[[], Pixels]:
    def loaded() -> Pixels:
        pixels = load()
        return replace(pixels, x=pixels.x + x, y=pixels.y + y)

    return loaded


def _moved_masks(masks: tuple[Callable[[], Mask], ...], x: int, y: int) -> tuple[Callable[[], Mask], ...]:
    def moved(load: Callable[[], Mask]) -> Callable[[], Mask]:
        def loaded() -> Mask:
            mask = load()
            return replace(mask, x=mask.x + x, y=mask.y + y)

        return loaded

    return tuple(moved(mask) for mask in masks)


def _plain(root: ElementTree.Element) -> ElementTree.Element:
    """The tree with names without their namespace."""
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root
