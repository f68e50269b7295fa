"""A layered picture as all three file formats have it: a tree of layers and groups, from the bottom up.

Readers give colours as stored (encoded by the file's profile, straight, not premultiplied) and resolve everything that
a program means by its names: how a layer blends is a `Blend`, clipping to one base is a group of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from paintsundo.data.layered.rules import NORMAL, Blend


@dataclass(frozen=True)
class Pixels:
    """A rectangle of pixels: `values` (h, w, 4) uint8, uint16 or float32 whose left top corner lies at (x, y)."""

    x: int
    y: int
    values: NDArray[np.generic]

    @property
    def box(self) -> Box:
        height, width = self.values.shape[:2]
        return self.y, self.x, self.y + height, self.x + width


@dataclass(frozen=True)
class Mask:
    """Shares 0 … 1 that a layer keeps: `values` (h, w) float32 at (x, y), `outside` beyond them."""

    x: int
    y: int
    values: NDArray[np.float32]
    outside: float = 1.0

    def over(self, box: Box) -> NDArray[np.float32]:
        """The mask on a box of the canvas, (h, w)."""
        top, left, bottom, right = box
        found = np.full((bottom - top, right - left), self.outside, np.float32)
        own = (self.y, self.x, self.y + self.values.shape[0], self.x + self.values.shape[1])
        common = intersection(box, own)
        if not is_empty(common):
            found[slices(common, top, left)] = self.values[slices(common, self.y, self.x)]
        return found


Box = tuple[int, int, int, int]  # top, left, bottom, right in pixels, the last two exclusive


def intersection(a: Box, b: Box) -> Box:
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def union(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def is_empty(box: Box) -> bool:
    return box[0] >= box[2] or box[1] >= box[3]


def slices(box: Box, top: int = 0, left: int = 0) -> tuple[slice, slice]:
    """The index of a box in an array whose first pixel lies at (top, left)."""
    return slice(box[0] - top, box[2] - top), slice(box[1] - left, box[3] - left)


@dataclass(frozen=True, eq=False)
class Layer:
    """A leaf.

    Attributes:
        name: as in the program.
        load: reads the pixels; called as often as they are needed.
        opacity: 0 … 1.
        masks: read the masks, all of which are multiplied in.
    """

    name: str
    load: Callable[[], Pixels]
    visible: bool = True
    opacity: float = 1.0
    blend: Blend = NORMAL
    masks: tuple[Callable[[], Mask], ...] = ()


@dataclass(frozen=True, eq=False)
class Group:
    """Layers composited by themselves, or (`through`) as if they lay where the group lies."""

    name: str
    children: tuple[Node, ...]
    visible: bool = True
    opacity: float = 1.0
    blend: Blend = NORMAL
    masks: tuple[Callable[[], Mask], ...] = ()
    through: bool = False


Node = Layer | Group


@dataclass(frozen=True)
class Merged:
    """A flattened picture that a program put into its file.

    Attributes:
        values: (H, W, 4), straight.
        profile: ICC profile of the colours; None: as the document's.
        maybe_on_white: whether the colours may be mixed with white already, as some programs do.
    """

    values: NDArray[np.generic]
    profile: bytes | None = None
    maybe_on_white: bool = False


@dataclass(frozen=True)
class Document:
    """A file.

    Attributes:
        size: (height, width) in pixels.
        root: all layers.
        program: the rules it is composited by, for the record.
        linear: whether those rules composite light instead of encoded values.
        through_in_light: whether they mix a pass-through group with what lies below it in light in any case.
        background: colour (r, g, b, a), 0 … 1, under all layers.
        merged: reads the program's own flattened picture; None: the file has none.
        profile: ICC profile of the colours; None: sRGB.
        unsupported: what the file has that is not shown, in words.
    """

    size: tuple[int, int]
    root: Group
    program: str
    linear: bool = False
    through_in_light: bool = False
    background: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    merged: Callable[[], Merged] | None = None
    profile: bytes | None = None
    unsupported: tuple[str, ...] = field(default=())

    def leaves(self) -> Iterator[tuple[Layer, tuple[Group, ...]]]:
        """Every layer with the groups that it lies in, outermost first, from the bottom up."""
        yield from _leaves(self.root, (self.root,))


def _leaves(group: Group, path: tuple[Group, ...]) -> Iterator[tuple[Layer, tuple[Group, ...]]]:
    for child in group.children:
        if isinstance(child, Group):
            yield from _leaves(child, (*path, child))
        else:
            yield child, path


def mapped(
    group: Group, leaf: Callable[[Layer], Layer], inner: Callable[[Group], Group] = lambda group: group
) -> Group:
    """The tree with every layer and every group replaced, from the leaves up."""
    children = tuple(
        mapped(child, leaf, inner) if isinstance(child, Group) else leaf(child) for child in group.children
    )
    return inner(replace(group, children=children))


def as_float(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Stored values as float32, full scale = 1."""
    if values.dtype == np.uint8:
        return values.astype(np.float32) * np.float32(1 / 255)
    if values.dtype == np.uint16:
        return values.astype(np.float32) * np.float32(1 / 65535)
    return values.astype(np.float32)
