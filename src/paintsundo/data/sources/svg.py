"""Vector art: single files, and compositions of several on one canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from paintsundo.data import timeline
from paintsundo.data.compose import compose
from paintsundo.data.process import DrawingProcess
from paintsundo.data.scene import Placed, Scene
from paintsundo.data.source import Canvas, Item, Source, Unusable, record_of
from paintsundo.data.svg import scene_process
from paintsundo.data.svg_reader import parse
from paintsundo.errors import UserError


@dataclass
class Options:
    """See `configs/source/svg.yaml`."""

    work_shares: dict[str, float] = field(default_factory=lambda: dict(timeline.WEIGHTS))


class SvgSource(Source):
    """Sketch, ink, flat colours, details, shading of vector art."""

    name = "svg"
    suffixes = frozenset({".svg"})
    Options = Options
    largest = 32 << 20
    composes = True

    def check(self) -> None:
        shares = self.options.work_shares
        if set(timeline.WEIGHTS) - set(shares) or any(share <= 0 for share in shares.values()):
            raise UserError(f"source.work_shares needs a positive share for each of {', '.join(timeline.WEIGHTS)}")

    def draw(self, item: Item, canvas: Canvas, variant: int, seed: int) -> DrawingProcess:
        placed = [Placed(parse(item.read()))]
        return scene_process(placed, canvas.size, weights=self.options.work_shares, **record_of(item))

    def compose(self, items: Sequence[Item], canvas: Canvas, seed: int) -> DrawingProcess:
        usable = [item for item in items if _parses(item)]
        if not usable:
            raise Unusable("no usable element")
        placed, background = compose([item.read() for item in usable], seed)
        record = record_of(*usable)
        if background:
            record["tags"] = (*record["tags"], "background")
        return scene_process(placed, canvas.size, background, weights=self.options.work_shares, **record)

    def preview(self, item: Item, side: int = 256) -> NDArray[np.uint8] | None:
        return Scene([Placed(parse(item.read()))], side).paint()


def _parses(item: Item) -> bool:
    try:
        parse(item.read())
    except Unusable:
        return False
    return True
