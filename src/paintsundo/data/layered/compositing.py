"""Layers over layers: the Porter-Duff rules with blend functions, and a whole document at once.

Canvases are float32 (h, w, 4), premultiplied. General rule (W3C Compositing and Blending Level 1, 5.8 and 10): with
source s, backdrop b and blend function B

    colour · opacity = (1 − αs) αb b + αs (1 − αb) s + αs αb B(s, b),   opacity = αs + αb − αs αb.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paintsundo.data.layered.document import (
    Box,
    Document,
    Group,
    Layer,
    Node,
    Pixels,
    as_float,
    intersection,
    is_empty,
    slices,
)
from paintsundo.data.layered.rules import Blend

Canvas = NDArray[np.float32]  # (h, w, 4), premultiplied
_LEAST = 1e-6
_BAND = 1 << 15  # pixels


@dataclass(frozen=True)
class Patch:
    """A rectangle of premultiplied pixels, (h, w, 4) float32, on the canvas."""

    box: Box
    values: Canvas


def to_light(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """sRGB-encoded values to light (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((np.maximum(values, 0) + 0.055) / 1.055) ** 2.4).astype(
        np.float32
    )


def to_encoded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Light to sRGB-encoded values."""
    root = 1.055 * np.maximum(values, 0) ** (1 / 2.4) - 0.055
    return np.where(values <= 0.0031308, values * 12.92, root).astype(np.float32)


def straight(values: Canvas) -> NDArray[np.float32]:
    """The colours (h, w, 3) of premultiplied pixels; 0 where there is nothing."""
    alpha = values[..., 3:]
    found: NDArray[np.float32] = np.divide(
        values[..., :3], alpha, out=np.zeros_like(values[..., :3]), where=alpha > _LEAST
    )
    return found


def blended(
    source: NDArray[np.float32], backdrop: NDArray[np.float32], blend: Blend, linear: bool
) -> NDArray[np.float32]:
    """B(source, backdrop) in the values that the function wants."""
    if linear and blend.encoded:
        return to_light(blend.function(to_encoded(source), to_encoded(backdrop)))
    return blend.function(source, backdrop)


def lay(canvas: Canvas, source: Canvas, blend: Blend, linear: bool = False) -> None:
    """Composite premultiplied pixels onto a canvas of the same size, in place."""
    for band in bands(canvas.shape[:2]):
        _lay(canvas[band], source[band], blend, linear)


def bands(size: tuple[int, ...]) -> Iterator[slice]:
    """Rows of a canvas in bands that fit the processor's cache."""
    height, width = size
    step = max(1, _BAND // max(1, width))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _lay(canvas: Canvas, source: Canvas, blend: Blend, linear: bool) -> None:
    alpha = source[..., 3:]
    if blend.plain:
        canvas *= 1 - alpha
        canvas += source
        return
    under = canvas[..., 3:].copy()
    if blend.alpha == "behind":
        canvas += source * (1 - under)
    elif blend.alpha == "erase":
        canvas *= 1 - alpha
    elif blend.alpha == "in":
        canvas *= alpha
    elif blend.alpha == "under":
        canvas *= alpha
        canvas += source * (1 - under)
    else:
        _lay_blended(canvas, source, alpha, under, blend, linear)


def _lay_blended(canvas: Canvas, source: Canvas, alpha: Canvas, under: Canvas, blend: Blend, linear: bool) -> None:
    s, b = straight(source), straight(canvas)
    colour = blended(s, b, blend, linear)
    if blend.alpha == "gimp":
        common = np.minimum(under, alpha)
        share = common / np.maximum(under + (1 - under) * common, _LEAST)
        canvas[..., :3] = under * (b + share * (colour - b))
    elif blend.alpha == "atop":
        canvas[..., :3] = under * np.clip(b + alpha * (colour - b), 0, 1)
    else:
        canvas[..., :3] = (1 - alpha) * canvas[..., :3] + (1 - under) * source[..., :3] + alpha * under * colour
        canvas[..., 3:] = alpha + under - alpha * under


def outside_matters(blend: Blend) -> bool:
    """Whether a layer changes the canvas beyond its own pixels."""
    return blend.alpha in ("in", "under")


def prepared(pixels: Pixels, layer: Layer, size: tuple[int, int], linear: bool) -> Patch | None:
    """A layer's pixels within a canvas of `size`, with its opacity and masks; None: nothing to see."""
    whole = (0, 0, *size)
    box = intersection(pixels.box, whole)
    if is_empty(box):
        return _nothing(whole) if outside_matters(layer.blend) else None
    values = as_float(pixels.values[slices(box, pixels.y, pixels.x)])
    if linear:
        values[..., :3] = to_light(values[..., :3])
    alpha = values[..., 3:] * np.float32(layer.opacity)
    for mask in layer.masks:
        alpha *= mask().over(box)[..., None]
    values[..., :3] *= alpha
    values[..., 3:] = alpha
    if outside_matters(layer.blend):
        full = _nothing(whole)
        full.values[slices(box)] = values
        return full
    return Patch(box, values)


def _nothing(box: Box) -> Patch:
    return Patch(box, np.zeros((box[2] - box[0], box[3] - box[1], 4), np.float32))


def masked(group: Group, patch: Patch) -> Patch:
    """A group's own picture with its opacity and masks."""
    share = group_share(group, patch.box)
    return patch if share is None else Patch(patch.box, patch.values * share)


def group_share(group: Group, box: Box) -> NDArray[np.float32] | float | None:
    """What opacity and masks leave of a group on a box: (h, w, 1), a number, or None for all of it."""
    if not group.masks:
        return None if group.opacity == 1 else float(group.opacity)
    share = np.full((box[2] - box[0], box[3] - box[1]), group.opacity, np.float32)
    for mask in group.masks:
        share *= mask().over(box)
    return share[..., None]


class Flattening:
    """Composites a document once, from the bottom up."""

    def __init__(self, document: Document):
        self.document = document

    def canvas(self) -> Canvas:
        """The document's picture, (H, W, 4) premultiplied, without a paper under it, in the values it is blended in."""
        canvas = blank(self.document)
        self._children(self.document.root, canvas)
        return canvas

    def _children(self, group: Group, canvas: Canvas) -> None:
        for child in group.children:
            if child.visible:
                self._node(child, canvas)

    def _node(self, node: Node, canvas: Canvas) -> None:
        linear = self.document.linear
        if isinstance(node, Layer):
            patch = prepared(node.load(), node, self.document.size, linear)
            if patch is not None:
                lay(canvas[slices(patch.box)], patch.values, node.blend, linear)
            return
        whole = (0, 0, *self.document.size)
        share = group_share(node, whole)
        if not node.through:
            own = np.zeros_like(canvas)
            self._children(node, own)
            lay(canvas, own if share is None else own * share, node.blend, linear)
        elif share is None:
            self._children(node, canvas)
        else:
            after = canvas.copy()
            self._children(node, after)
            mix(canvas, after, share, self.document)


def mix(canvas: Canvas, after: Canvas, share: NDArray[np.float32] | float, document: Document) -> None:
    """Take a share of a pass-through group's result into the canvas, in place."""
    if document.through_in_light:
        before = in_light(canvas)
        canvas[:] = in_light(before + share * (in_light(after) - before), back=True)
    else:
        canvas += share * (after - canvas)


def in_light(canvas: Canvas, back: bool = False) -> Canvas:
    """A canvas of encoded values as one of light; `back`: the other way."""
    alpha = canvas[..., 3:]
    colour = to_encoded(straight(canvas)) if back else to_light(straight(canvas))
    return np.concatenate([colour * alpha, alpha], axis=2)


def blank(document: Document) -> Canvas:
    """The canvas under all layers: the document's background colour."""
    colour = np.array(document.background, np.float32)
    if document.linear:
        colour[:3] = to_light(colour[:3])
    colour[:3] *= colour[3]
    return np.broadcast_to(colour, (*document.size, 4)).copy()


def over_white(canvas: Canvas, linear: bool) -> NDArray[np.float32]:
    """Encoded colours (h, w, 3), 0 … 1, of a canvas on white paper.

    What lies between is mixed in encoded values, as programs do when they show or save a picture with transparency.
    """
    found = np.empty((*canvas.shape[:2], 3), np.float32)
    for band in bands(canvas.shape[:2]):
        part = canvas[band]
        alpha = part[..., 3:]
        colour = to_encoded(straight(part)) * alpha if linear else part[..., :3]
        np.clip(colour + (1 - alpha), 0, 1, out=found[band])
    return found


def in_bytes(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """0 … 1 as 0 … 255."""
    found = np.empty(picture.shape, np.uint8)
    for band in bands(picture.shape[:2]):
        found[band] = np.round(picture[band] * 255)
    return found
