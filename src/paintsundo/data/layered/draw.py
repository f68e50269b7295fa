"""A layered document as a drawing process: layer by layer in the order of the stages, stroke by stroke within."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paintsundo.data import brush
from paintsundo.data.layered.centrelines import line_keys
from paintsundo.data.layered.colours import to_srgb
from paintsundo.data.layered.document import Document, Group, Layer
from paintsundo.data.layered.incremental import Incremental
from paintsundo.data.layered.opening import Opened
from paintsundo.data.layered.ordering import Placed, Rules, is_line_work
from paintsundo.data.layered.shrink import Placement, shrunk
from paintsundo.data.process import DONE, NEVER, Picture
from paintsundo.data.source import Unusable
from paintsundo.data.staged import Stage, StagedProcess
from paintsundo.data.timeline import changed, nearest_known

WORK_RULE = (
    "the length of all strokes: painted pixels over the width of the brush, which is that of the lines in layers of "
    "lines and goes by the size of the area elsewhere; hiding a layer counts as nothing"
)
LINE_STAGES = ("sketch", "line")
LEAST_CHANGE = 3e-4  # layers that change a smaller share of the canvas are drawn together with the next one


@dataclass(frozen=True)
class Operation:
    """A layer is drawn (`shown`) or taken away, in a stage."""

    layer: Layer
    placed: Placed
    shown: bool = True


@dataclass
class _Pass:
    """What several operations change, while they are collected."""

    name: str
    order: NDArray[np.float64]
    cost: NDArray[np.float64]
    count: int = 0

    def add(self, mask: NDArray[np.bool_], keys: NDArray[np.float64], cost: NDArray[np.float64] | float) -> None:
        known = nearest_known(np.where(mask, keys, np.nan), mask) if not np.isnan(keys[mask]).all() else keys * 0 + 1
        span = np.ptp(known[mask]) or 1.0
        self.order[mask] = self.count + 0.999 * (known[mask] - known[mask].min()) / span
        self.cost[mask] = cost[mask] if isinstance(cost, np.ndarray) else cost
        self.count += 1


def layered_process(
    opened: Opened, placement: Placement, rules: Rules, sketches: str, most: int, **record: Any
) -> StagedProcess:
    """The process of an opened document on the canvas of a placement.

    `sketches`: "show" draws hidden layers of the sketch stage and hides them when the lines are done, "skip" leaves
    them out. At most `most` stages: further layers of a stage are drawn in one with their neighbours. The last state
    is `opened.picture`. Raises Unusable.
    """
    document = opened.document
    found = operations(document, placement, rules, sketches)
    small = found.document
    target = placement.on_paper(_shrunk_picture(opened.picture, placement))
    if (target == 255).all():
        raise Unusable("the finished picture is blank")
    if not found.operations:
        raise Unusable("no layer is visible")
    painter = _Painter(small, placement, found.looks)
    for chunk in chunks(found.operations, most):
        painter.paint(chunk)
    agrees = opened.agreement is None or opened.agreement.holds
    stages = painter.finished(target, agrees)
    extra = {
        **record.pop("extra", {}),
        "program": document.program,
        "size": list(document.size),
        "layers": [
            {"name": op.layer.name, "stage": op.placed.stage, "rule": op.placed.rule, "shown": op.shown}
            for op in found.operations
        ],
        "order_rule": "layers by stage, then from the bottom up; " + ", ".join(rules.order),
        "unsupported": list(document.unsupported),
        "agreement": None if opened.agreement is None else round(opened.agreement.share, 5),
    }
    return StagedProcess(stages, work_rule=WORK_RULE, extra=extra, **record)


def _shrunk_picture(picture: Picture, placement: Placement) -> Picture:
    small = placement.shrunk(picture.astype(np.float32))
    return np.round(np.clip(small, 0, 255)).astype(np.uint8)


@dataclass(frozen=True)
class Plan:
    """The operations of a document at canvas size, in time order, and how each layer looks, by its id()."""

    document: Document
    operations: list[Operation]
    looks: dict[int, NDArray[np.uint8]]


def operations(document: Document, placement: Placement, rules: Rules, sketches: str) -> Plan:
    """In which order the layers of a document are drawn and hidden."""
    wanted = set()
    for layer, path in document.leaves():
        hidden = not _seen(layer, path)
        if not hidden or (sketches == "show" and _named_sketch(layer, path, rules)):
            wanted.add(id(layer))
    originals = [(layer, path) for layer, path in document.leaves()]
    small = shrunk(document, placement, wanted)
    found, looks = [], {}
    for (original, path), (layer, _) in zip(originals, small.leaves(), strict=True):
        if id(original) not in wanted:
            continue
        pixels = layer.load()
        look = np.zeros((*placement.inner, 4), np.uint8)
        height, width = pixels.values.shape[:2]
        look[pixels.y : pixels.y + height, pixels.x : pixels.x + width] = pixels.values
        looks[id(layer)] = look
        placed = rules.stage(layer, path, look)
        hidden = not _seen(original, path)
        found.append((Operation(layer, placed), hidden))
    rank = {stage: k for k, stage in enumerate(rules.order)}
    ordered = sorted(found, key=lambda entry: rank[entry[0].placed.stage])  # stable: from the bottom up
    return Plan(small, _with_hiding(ordered, rules.order), looks)


def _seen(layer: Layer, path: Sequence[Group]) -> bool:
    return layer.visible and all(group.visible for group in path)


def _named_sketch(layer: Layer, path: Sequence[Group], rules: Rules) -> bool:
    names = [layer.name, *(group.name for group in reversed(path[1:]))]
    return next((stage for stage in map(rules.of_name, names) if stage), None) == "sketch"


def _with_hiding(ordered: list[tuple[Operation, bool]], order: Sequence[str]) -> list[Operation]:
    """Hidden sketches are taken away after the lines, or after the first stage that follows them."""
    result = [operation for operation, _ in ordered]
    hidden = [operation for operation, is_hidden in ordered if is_hidden]
    if not hidden:
        return result
    later = [operation.placed.stage for operation in result if operation.placed.stage != "sketch"]
    if not later:
        return [operation for operation in result if operation not in hidden]
    last = "line" if "line" in later else later[0]
    at = max(k for k, operation in enumerate(result) if operation.placed.stage == last) + 1
    gone = [Operation(op.layer, Placed(last, "hidden in the file"), shown=False) for op in reversed(hidden)]
    return [*result[:at], *gone, *result[at:]]


def chunks(operations: Sequence[Operation], most: int) -> list[list[Operation]]:
    """Operations in time order, in at most about `most` parts of one stage each; layers are hidden together."""
    runs: list[list[Operation]] = []
    for operation in operations:
        same = runs and (runs[-1][0].placed.stage, runs[-1][0].shown) == (operation.placed.stage, operation.shown)
        if same:
            runs[-1].append(operation)
        else:
            runs.append([operation])
    drawn = sum(len(run) for run in runs if run[0].shown)
    share = max(1.0, drawn / max(1, most - len(runs)))
    found: list[list[Operation]] = []
    for run in runs:
        parts = 1 if not run[0].shown else max(1, int(len(run) / share))
        edges = np.linspace(0, len(run), parts + 1).round().astype(int)
        found += [run[a:b] for a, b in pairwise(edges) if b > a]
    return found


class _Painter:
    """Shows layers one after the other and notes what changes, when and in which order."""

    def __init__(self, document: Document, placement: Placement, looks: dict[int, NDArray[np.uint8]]):
        self.incremental = Incremental(document)
        self.document, self.placement, self.looks = document, placement, looks
        self.canvas = np.full((*placement.canvas, 3), 255, np.uint8)
        self.white = self.canvas
        self.passes: list[tuple[_Pass, Picture]] = []
        self.waiting = False
        self.background()

    def background(self) -> None:
        """The document's own background colour is there before the first layer."""
        picture = self.picture()
        mask = changed(self.canvas, picture)
        if mask.any():
            self.note(self.new("flats"), mask, picture, lines=False)

    def new(self, name: str) -> _Pass:
        return _Pass(name, np.full(self.white.shape[:2], np.nan), np.zeros(self.white.shape[:2]))

    def picture(self) -> Picture:
        return self.placement.on_paper(to_srgb(self.incremental.picture(), self.document.profile))

    def paint(self, chunk: list[Operation]) -> None:
        """Several operations as one stage."""
        found = self.new(chunk[0].placed.stage)
        least = LEAST_CHANGE * found.order.size
        canvas = self.canvas
        for number, operation in enumerate(chunk):
            self.incremental.show(operation.layer, operation.shown)
            if not operation.shown and number + 1 < len(chunk):
                continue
            picture = self.picture()
            mask = changed(canvas, picture)
            if mask.sum() < (least if number + 1 < len(chunk) else 1):
                continue
            lines = operation.placed.stage in LINE_STAGES or is_line_work(self.looks[id(operation.layer)])
            if operation.shown:
                _reveal(found, mask, lines)
            else:
                found.add(mask, np.ones(mask.shape), 0.0)
            canvas = picture
        self.keep(found, canvas)

    def note(self, found: _Pass, mask: NDArray[np.bool_], picture: Picture, lines: bool) -> None:
        _reveal(found, mask, lines)
        self.keep(found, picture)

    def keep(self, found: _Pass, picture: Picture) -> None:
        """A pass is done. Pixels that are as before, after all, are left out."""
        same = ~changed(self.canvas, picture)
        found.order[same] = np.nan
        if not np.isnan(found.order).all():
            self.passes.append((found, picture))
            self.canvas = picture

    def finished(self, target: Picture, agrees: bool) -> tuple[Stage, ...]:
        """All stages, the last of which ends with the target.

        Where our picture agrees with the program's, small differences of rounding are taken into the stages: a pixel
        that has its last colour gets the target's. Otherwise the rest is a stage of its own.
        """
        if not agrees:
            mask = changed(self.canvas, target)
            if mask.any():
                self.note(self.new("effects"), mask, target, lines=False)
        if not self.passes:
            raise Unusable("no layer changes the picture")
        last = self.canvas
        passes = [
            (found, np.where(changed(picture, last)[..., None], picture, target)) for found, picture in self.passes
        ]
        drawn = np.any([~np.isnan(found.order) for found, _ in passes], axis=0)
        missed = ~drawn & changed(self.white, target)
        order = passes[-1][0].order
        order[missed] = np.nanmax(order)
        return _timed(passes)


def _reveal(found: _Pass, mask: NDArray[np.bool_], lines: bool) -> None:
    """Add what a layer changes: stroke by stroke for lines, otherwise swept by a brush area by area."""
    height = mask.shape[0]
    if lines:
        keys, width = line_keys(mask)
        found.add(mask, keys, 1 / width)
        return
    parts = brush.components(mask.astype(np.int32))
    behind = mask & (mask.mean() > 0.6)
    keys, cost = brush.painting(parts, behind=behind)
    found.add(mask, keys, cost / (brush.BAND * height))


def _timed(passes: list[tuple[_Pass, Picture]]) -> tuple[Stage, ...]:
    """Passes laid out on the work axis by their work; each has at least one position of its own."""
    work = np.array([float(found.cost[~np.isnan(found.order)].sum()) for found, _ in passes])
    total = work.sum() or 1.0
    free = DONE - len(passes)
    ends = np.floor(np.cumsum(work) / total * free).astype(np.int64) + np.arange(1, len(passes) + 1)
    ends[-1] = DONE
    stages = []
    begin = 1
    for (found, picture), end in zip(passes, ends, strict=True):
        mask = ~np.isnan(found.order)
        places = np.argsort(found.order[mask], kind="stable")
        done = np.cumsum(found.cost[mask][places])
        when = np.empty(len(places))
        when[places] = done / done[-1] if done[-1] > 0 else 1.0
        reveal = np.full(mask.shape, NEVER, np.uint16)
        reveal[mask] = np.round(begin + (end - begin) * when).astype(np.uint16)
        stages.append(Stage(found.name, picture, reveal))
        begin = int(end) + 1
    return tuple(stages)
