"""A document whose layers are shown and hidden one by one, composited anew only as far as needed.

Every group keeps its result while nothing in it changes, the canvas below the lowest change, and runs of plain layers
above it merged into one (Porter and Duff's over is associative). Showing n layers in depth order costs about n layers
being laid, not n².
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from paintsundo.data.layered.compositing import (
    Canvas,
    Patch,
    blank,
    group_share,
    in_bytes,
    lay,
    mix,
    over_white,
    prepared,
)
from paintsundo.data.layered.document import Document, Group, Layer, slices, union
from paintsundo.data.layered.rules import NORMAL

BLOCK = 16  # neighbouring layers that are merged


class Incremental:
    """A document of which no layer is shown at first. Visibility in the document is not looked at."""

    def __init__(self, document: Document):
        self.document = document
        self._parents: dict[int, list[tuple[_Stack, int]]] = {}
        self._leaves: dict[int, _Leaf] = {}
        self._root = _Stack(document.root, self, [], blank(document))

    def show(self, layer: Layer, shown: bool = True) -> None:
        """Show or hide a layer of the document."""
        self._leaves[id(layer)].shown = shown
        for stack, place in self._parents[id(layer)]:
            stack.touch(place)

    def picture(self) -> NDArray[np.uint8]:
        """What is to be seen, (h, w, 3), on white, in the document's own colours."""
        return in_bytes(over_white(self._root.canvas(), self.document.linear))


class _Leaf:
    def __init__(self, layer: Layer, document: Document):
        self.layer, self.document, self.blend = layer, document, layer.blend
        self.shown = False
        self.plain = layer.blend.plain

    def patch(self) -> Patch | None:
        return prepared(self.layer.load(), self.layer, self.document.size, self.document.linear)

    def lay(self, canvas: Canvas) -> None:
        patch = self.patch()
        if patch is not None:
            lay(canvas[slices(patch.box)], patch.values, self.blend, self.document.linear)


class _Stack:
    """A group. `base` (h, w, 4): the canvas that it begins with."""

    def __init__(self, group: Group, owner: Incremental, path: list[tuple[_Stack, int]], base: Canvas):
        self.group, self.document, self.base = group, owner.document, base
        self.plain = group.blend.plain and not group.through
        self.entries: list[_Leaf | _Stack] = []
        for place, child in enumerate(group.children):
            above = [*path, (self, place)]
            if isinstance(child, Group):
                self.entries.append(_Stack(child, owner, above, np.zeros_like(base)))
            else:
                leaf = _Leaf(child, self.document)
                owner._parents[id(child)], owner._leaves[id(child)] = above, leaf
                self.entries.append(leaf)
        self.whole = (0, 0, *self.document.size)
        self.share = group_share(group, self.whole)
        self.below, self.at = base.copy(), 0  # all entries before `at` lie on `below`
        self.lowest: int | None = 0  # the lowest entry that changed; None: `result` holds
        self.result = base
        self.merged: dict[int, Patch | None] = {}

    @property
    def shown(self) -> bool:
        return any(entry.shown for entry in self.entries)

    def touch(self, place: int) -> None:
        """An entry changed."""
        self.lowest = place if self.lowest is None else min(self.lowest, place)
        self.merged.pop(place // BLOCK, None)

    def canvas(self) -> Canvas:
        """Its own picture, without its opacity and masks. Not to be changed."""
        if self.lowest is None:
            return self.result
        if self.lowest < self.at:
            self.below, self.at = self.base.copy(), 0
        for entry in self.entries[self.at : self.lowest]:
            if entry.shown:
                entry.lay(self.below)
        self.at, self.lowest = self.lowest, None
        self.result = self.below.copy()
        self._lay_from(self.at, self.result)
        return self.result

    def _lay_from(self, first: int, canvas: Canvas) -> None:
        place = first
        while place < len(self.entries):
            block = place // BLOCK
            if place % BLOCK == 0 and self._plain_block(block):
                patch = self._merged(block)
                if patch is not None:
                    lay(canvas[slices(patch.box)], patch.values, NORMAL)
                place += BLOCK
                continue
            if self.entries[place].shown:
                self.entries[place].lay(canvas)
            place += 1

    def _plain_block(self, block: int) -> bool:
        entries = self.entries[block * BLOCK : (block + 1) * BLOCK]
        return len(entries) == BLOCK and all(entry.plain for entry in entries if entry.shown)

    def _merged(self, block: int) -> Patch | None:
        if block not in self.merged:
            patches = [e.patch() for e in self.entries[block * BLOCK : (block + 1) * BLOCK] if e.shown]
            self.merged[block] = _one([patch for patch in patches if patch is not None])
        return self.merged[block]

    def patch(self) -> Patch | None:
        own = self.canvas()
        return Patch(self.whole, own if self.share is None else own * self.share)

    def lay(self, canvas: Canvas) -> None:
        if not self.group.through:
            patch = self.patch()
            assert patch is not None
            lay(canvas, patch.values, self.group.blend, self.document.linear)
        elif self.share is None:
            self._lay_from(0, canvas)
        else:
            after = canvas.copy()
            self._lay_from(0, after)
            mix(canvas, after, self.share, self.document)


def _one(patches: list[Patch]) -> Patch | None:
    """Plain layers as one."""
    if not patches:
        return None
    box = patches[0].box
    for patch in patches[1:]:
        box = union(box, patch.box)
    values = np.zeros((box[2] - box[0], box[3] - box[1], 4), np.float32)
    for patch in patches:
        part = values[slices(patch.box, box[0], box[1])]
        part *= 1 - patch.values[..., 3:]
        part += patch.values
    return Patch(box, values)
