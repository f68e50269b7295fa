"""Documents at the size of the canvas that a process is drawn on."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from paintsundo.data.layered.compositing import straight
from paintsundo.data.layered.document import (
    Document,
    Group,
    Layer,
    Mask,
    Pixels,
    as_float,
    intersection,
    is_empty,
    mapped,
)

PAPER = 255
T = TypeVar("T")


@dataclass(frozen=True)
class Placement:
    """Where a part of a picture comes to lie.

    Attributes:
        size: (height, width) of the picture.
        part: top, left, bottom, right of what is shown, in its pixels.
        inner: (height, width) that it is shown at.
        canvas: (height, width) around it, the rest of which is paper.
    """

    size: tuple[int, int]
    part: tuple[float, float, float, float]
    inner: tuple[int, int]
    canvas: tuple[int, int]

    @cached_property
    def rows(self) -> sparse.csr_array:
        return weights(self.size[0], self.part[0], self.part[2], self.inner[0])

    @cached_property
    def columns(self) -> sparse.csr_array:
        return weights(self.size[1], self.part[1], self.part[3], self.inner[1])

    def shrunk(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The whole picture's values (H, W, c) at the inner size."""
        return _resampled(values, self.rows, self.columns)

    def on_paper(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture of the inner size (h, w, 3) in the middle of the canvas."""
        if self.inner == self.canvas:
            return picture
        found = np.full((*self.canvas, 3), PAPER, np.uint8)
        top, left = ((outer - inner) // 2 for outer, inner in zip(self.canvas, self.inner, strict=True))
        found[top : top + self.inner[0], left : left + self.inner[1]] = picture
        return found


def place(size: tuple[int, int], canvas: tuple[int, int], fit: str) -> Placement:
    """A picture of (height, width) on a canvas: "pad" shows all of it with paper beside it, "crop" its middle."""
    (height, width), (rows, columns) = size, canvas
    stretch = rows / height, columns / width
    if abs(stretch[0] / stretch[1] - 1) < 0.1:  # the canvas has the picture's proportions, rounded
        return Placement(size, (0, 0, height, width), canvas, canvas)
    if fit == "crop":
        scale = max(stretch)
        tall, wide = rows / scale, columns / scale
        top, left = (height - tall) / 2, (width - wide) / 2
        return Placement(size, (top, left, top + tall, left + wide), canvas, canvas)
    scale = min(stretch)
    inner = max(1, min(rows, round(height * scale))), max(1, min(columns, round(width * scale)))
    return Placement(size, (0, 0, height, width), inner, canvas)


def weights(count: int, begin: float, end: float, wanted: int) -> sparse.csr_array:
    """Resampling as a matrix (wanted, count): means over the new pixels' extents, or linear between old pixels."""
    step = (end - begin) / wanted
    if step >= 1:
        edges = begin + step * np.arange(wanted + 1)
        reach = int(np.ceil(step)) + 1
        index = np.floor(edges[:-1, None]).astype(np.int64) + np.arange(reach)
        share = np.minimum(index + 1, edges[1:, None]) - np.maximum(index, edges[:-1, None])
    else:
        centre = begin + step * (np.arange(wanted) + 0.5) - 0.5
        index = np.floor(centre[:, None]).astype(np.int64) + np.arange(2)
        share = 1 - np.abs(index - centre[:, None])
    share = np.where((index >= 0) & (index < count), np.maximum(share, 0), 0)
    share /= share.sum(axis=1, keepdims=True)
    row = np.repeat(np.arange(wanted), index.shape[1])
    column = np.clip(index, 0, count - 1).ravel()
    return sparse.csr_array((share.ravel().astype(np.float32), (row, column)), shape=(wanted, count))


def _resampled(values: NDArray[np.float32], rows: sparse.csr_array, columns: sparse.csr_array) -> NDArray[np.float32]:
    height, width, channels = values.shape
    tall = (rows @ values.reshape(height, width * channels)).reshape(-1, width, channels)
    wide = columns @ np.ascontiguousarray(tall.transpose(1, 0, 2)).reshape(width, -1)
    return np.ascontiguousarray(wide.reshape(-1, rows.shape[0], channels).transpose(1, 0, 2))


def shrunk(document: Document, placement: Placement, wanted: Container[int]) -> Document:
    """The document at the placement's inner size, its pixels in memory; layers whose id() is not wanted are empty."""

    def leaf(layer: Layer) -> Layer:
        pixels = _layer(layer, placement) if id(layer) in wanted else None
        empty = Pixels(0, 0, np.zeros((0, 0, 4), np.uint8))
        return replace(layer, load=_kept(pixels or empty), masks=())

    def group(node: Group) -> Group:
        return replace(node, masks=tuple(_kept(_mask(load(), placement)) for load in node.masks))

    return replace(document, size=placement.inner, root=mapped(document.root, leaf, group), merged=None)


def _kept(value: T) -> Callable[[], T]:
    return lambda: value


def _mask(mask: Mask, placement: Placement) -> Mask:
    whole = mask.over((0, 0, *placement.size))
    return Mask(0, 0, placement.shrunk(whole[..., None])[..., 0], 0.0)


def _layer(layer: Layer, placement: Placement) -> Pixels | None:
    """A layer's pixels with its masks at the inner size; its opacity is left to be applied."""
    pixels = layer.load()
    box = intersection(pixels.box, (0, 0, *placement.size))
    if is_empty(box):
        return None
    top, left, bottom, right = box
    values = as_float(pixels.values[top - pixels.y : bottom - pixels.y, left - pixels.x : right - pixels.x])
    alpha = values[..., 3:].copy()
    for load in layer.masks:
        alpha *= load().over(box)[..., None]
    values[..., :3] *= alpha
    values[..., 3:] = alpha
    rows, first_row = _touched(placement.rows[:, top:bottom])
    columns, first_column = _touched(placement.columns[:, left:right])
    if rows is None or columns is None:
        return None
    small = _resampled(values, rows, columns)
    small = np.concatenate([straight(small), small[..., 3:]], axis=2)
    return Pixels(first_column, first_row, np.round(np.clip(small, 0, 1) * 255).astype(np.uint8))


def _touched(matrix: sparse.csr_array) -> tuple[sparse.csr_array | None, int]:
    """The rows of a resampling matrix that a part of the source has a share in, and the first of them."""
    found = np.flatnonzero(np.diff(matrix.tocsr().indptr))
    if len(found) == 0:
        return None, 0
    return matrix[found[0] : found[-1] + 1], int(found[0])
