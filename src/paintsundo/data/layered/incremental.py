"""A document whose layers are shown and hidden one by one, composited anew only where and as far as needed.

All compositing is pixel by pixel: what a layer changes lies within its rectangle. Every group keeps its result outside
of it, the canvas below the lowest change, and runs of plain layers above it merged into one (Porter and Duff's over is
associative). Showing n layers in depth order costs about n layers being laid, not n².
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
    outside_matters,
    over_white,
    prepared,
)
from paintsundo.data.layered.document import Box, Document, Group, Layer, intersection, is_empty, slices, union
from paintsundo.data.layered.rules import NORMAL

RUNS = (256, 16)  # lengths of runs of neighbouring layers that are merged


class Incremental:
    """A document of which no layer is shown at first. Visibility in the document is not looked at."""

    def __init__(self, document: Document):
        self.document = document
        self.whole: Box = (0, 0, *document.size)
        self._parents: dict[int, list[tuple[_Stack, int]]] = {}
        self._leaves: dict[int, _Leaf] = {}
        self._root = _Stack(document.root, self, [], blank(document))
        self._picture = in_bytes(over_white(self._root.base, document.linear))
        self._changed: Box | None = None

    def show(self, layer: Layer, shown: bool = True) -> None:
        """Show or hide a layer of the document."""
        leaf = self._leaves[id(layer)]
        leaf.shown = shown
        box = leaf.box
        if is_empty(box):
            return
        self._changed = box if self._changed is None else union(self._changed, box)
        for stack, place in self._parents[id(layer)]:
            if outside_matters(stack.group.blend) or outside_matters(layer.blend):
                box = self._changed = self.whole
            stack.touch(place, box)

    def picture(self) -> NDArray[np.uint8]:
        """What is to be seen, (h, w, 3), on white, in the document's own colours."""
        if self._changed is not None:
            part = slices(self._changed)
            self._picture = self._picture.copy()
            self._picture[part] = in_bytes(over_white(self._root.canvas()[part], self.document.linear))
            self._changed = None
        return self._picture


class _Leaf:
    def __init__(self, layer: Layer, document: Document):
        self.layer, self.document, self.blend = layer, document, layer.blend
        self.shown = False
        self.plain = layer.blend.plain
        whole = (0, 0, *document.size)
        self.box = whole if outside_matters(layer.blend) else intersection(layer.load().box, whole)

    def patch(self) -> Patch | None:
        return prepared(self.layer.load(), self.layer, self.document.size, self.document.linear)

    def lay(self, canvas: Canvas, box: Box) -> None:
        if not is_empty(intersection(self.box, box)):
            _lay_within(canvas, self.patch(), box, self.layer, self.document)


class _Stack:
    """A group. `base` (h, w, 4): the canvas that it begins with."""

    def __init__(self, group: Group, owner: Incremental, path: list[tuple[_Stack, int]], base: Canvas):
        self.group, self.document, self.base = group, owner.document, base
        self.whole = owner.whole
        self.plain = group.blend.plain and not group.through
        self.entries: list[_Leaf | _Stack] = []
        for place, child in enumerate(group.children):
            above = [*path, (self, place)]
            if isinstance(child, Group):
                self.entries.append(_Stack(child, owner, above, np.zeros_like(base)))
            else:
                leaf = _Leaf(child, self.document)
                owner._parents[id(child)], owner._leaves[id(child)] = above[::-1], leaf  # from the inside out
                self.entries.append(leaf)
        self.share = group_share(group, self.whole)
        self.below, self.at = base, 0  # all entries before `at` lie on `below`
        self.lowest: int | None = None  # the lowest entry that changed; None: `result` holds
        self.changed = self.whole
        self.result = base
        self.merged: dict[tuple[int, int], Patch | None] = {}

    @property
    def shown(self) -> bool:
        return any(entry.shown for entry in self.entries)

    def touch(self, place: int, box: Box) -> None:
        """An entry changed within a box."""
        self.changed = box if self.lowest is None else union(self.changed, box)
        self.lowest = place if self.lowest is None else min(self.lowest, place)
        for run in RUNS:
            self.merged.pop((run, place // run), None)

    def canvas(self) -> Canvas:
        """Its own picture, without its opacity and masks. Not to be changed."""
        if self.lowest is None:
            return self.result
        if self.lowest < self.at:
            self.below, self.at = self.base, 0
        if self.lowest > self.at:
            if self.at == 0:
                self.below = self.base.copy()
            for entry in self.entries[self.at : self.lowest]:
                if entry.shown:
                    entry.lay(self.below, self.whole)
            self.at = self.lowest
        if self.result is self.base:
            self.result = self.base.copy()
        part = slices(self.changed)
        self.result[part] = self.below[part]
        self._lay_from(self.at, self.result, self.changed)
        self.lowest = None
        return self.result

    def _lay_from(self, first: int, canvas: Canvas, box: Box) -> None:
        place = first
        while place < len(self.entries):
            run = next((run for run in RUNS if place % run == 0 and self._plain(place, run)), None)
            if run is not None:
                _lay_within(canvas, self._merged(place, run), box, None, self.document)
                place += run
                continue
            if self.entries[place].shown:
                self.entries[place].lay(canvas, box)
            place += 1

    def _plain(self, place: int, run: int) -> bool:
        entries = self.entries[place : place + run]
        return len(entries) == run and all(entry.plain for entry in entries if entry.shown)

    def _merged(self, place: int, run: int) -> Patch | None:
        key = run, place // run
        if key not in self.merged:
            smaller = next((other for other in RUNS if other < run), None)
            if smaller is not None:
                parts = [self._merged(at, smaller) for at in range(place, place + run, smaller)]
            else:
                parts = [entry.patch() for entry in self.entries[place : place + run] if entry.shown]
            self.merged[key] = _one([patch for patch in parts if patch is not None])
        return self.merged[key]

    def patch(self) -> Patch:
        own = self.canvas()
        return Patch(self.whole, own if self.share is None else own * self.share)

    def lay(self, canvas: Canvas, box: Box) -> None:
        part = slices(box)
        share = self.share[part] if isinstance(self.share, np.ndarray) else self.share
        if not self.group.through:
            own = self.canvas()[part]
            lay(canvas[part], own if share is None else own * share, self.group.blend, self.document.linear)
        elif share is None:
            self._lay_from(0, canvas, box)
        else:
            after = canvas.copy()
            self._lay_from(0, after, box)
            mix(canvas[part], after[part], share, self.document)


def _lay_within(canvas: Canvas, patch: Patch | None, box: Box, layer: Layer | None, document: Document) -> None:
    """Lay as much of a patch as lies within a box; `layer`: whose blend mode it has."""
    common = intersection(patch.box, box) if patch is not None else (0, 0, 0, 0)
    if patch is not None and not is_empty(common):
        part = patch.values[slices(common, patch.box[0], patch.box[1])]
        lay(canvas[slices(common)], part, NORMAL if layer is None else layer.blend, document.linear)


def _one(patches: list[Patch]) -> Patch | None:
    """Plain layers as one."""
    if not patches:
        return None
    box = patches[0].box
    for patch in patches[1:]:
        box = union(box, patch.box)
    values = np.zeros((box[2] - box[0], box[3] - box[1], 4), np.float32)
    for patch in patches:
        lay(values[slices(patch.box, box[0], box[1])], patch.values, NORMAL)
    return Patch(box, values)
