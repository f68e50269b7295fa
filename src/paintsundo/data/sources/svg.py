"""Vector art: single files, and compositions of several on one canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from paintsundo.data import timeline
from paintsundo.data.compose import compose
from paintsundo.data.manner import with_manner
from paintsundo.data.painter import STYLES, paint
from paintsundo.data.process import DrawingProcess
from paintsundo.data.scene import Placed, Scene
from paintsundo.data.source import Canvas, Item, Source, Unusable, record_of
from paintsundo.data.svg import ORDERS, STAGES, Look, Sketch, scene_process
from paintsundo.data.svg_art import SvgArt
from paintsundo.data.svg_document import OUTSIDE, Limits
from paintsundo.data.svg_fonts import FONTS
from paintsundo.data.svg_reader import parse
from paintsundo.errors import UserError

# The synthetic painter's styles that the file's own shapes do not give.
OTHER_MANNERS = {style: 1.0 for style in STYLES if style != "line"}


@dataclass
class Options:
    """See `configs/source/svg.yaml`."""

    stages: list[str] = field(default_factory=lambda: list(STAGES))
    order: str = "painter"
    steady: bool = True
    sketch: Sketch = field(default_factory=Sketch)
    fonts: str = "system"
    outside: str = "refuse"
    megabytes: float = 4.0
    shapes: int = 10_000
    painted: float = 0.0
    work_shares: dict[str, float] = field(default_factory=lambda: dict(timeline.WEIGHTS))


class SvgSource(Source):
    """Sketch, ink, flat colours, details, shading of vector art."""

    name = "svg"
    suffixes = frozenset({".svg", ".svgz"})
    Options = Options
    largest = 32 << 20
    composes = True

    @property
    def look(self) -> Look:
        options = self.options
        stages = tuple(stage for stage in STAGES if stage in options.stages)
        return Look(stages, options.order, options.steady, options.sketch)

    @property
    def limits(self) -> Limits:
        return Limits(self.options.megabytes, self.options.shapes, self.options.outside)

    def check(self) -> None:
        options = self.options
        if not options.stages or set(options.stages) - set(STAGES):
            raise UserError(f"source.stages: choose at least one of {', '.join(STAGES)}")
        if options.order not in ORDERS:
            raise UserError(f"source.order={options.order}: choose {' or '.join(ORDERS)}")
        if options.outside not in OUTSIDE:
            raise UserError(f"source.outside={options.outside}: choose {' or '.join(OUTSIDE)}")
        if options.fonts not in FONTS and not Path(options.fonts).exists():
            raise UserError(f"source.fonts={options.fonts}: no such file; choose {', '.join(FONTS)} or a font")
        if options.megabytes <= 0 or options.shapes < 1:
            raise UserError("source.megabytes and source.shapes must be positive")
        if not 0 <= options.painted <= 1:
            raise UserError(f"source.painted={options.painted} is a share, 0 to 1")
        try:
            ImageColor.getrgb(options.sketch.colour)
        except ValueError as error:
            raise UserError(f"source.sketch.colour={options.sketch.colour} is not a colour") from error
        if not 0 < options.sketch.width <= 0.1 or not 0 <= options.sketch.smoothing <= 0.1:
            raise UserError("source.sketch.width and source.sketch.smoothing are shares of the canvas, 0 to 0.1")
        shares = options.work_shares
        if set(timeline.WEIGHTS) - set(shares) or any(share <= 0 for share in shares.values()):
            raise UserError(f"source.work_shares needs a positive share for each of {', '.join(timeline.WEIGHTS)}")

    def parsed(self, item: Item) -> SvgArt:
        """The art of a file. Raises Unusable."""
        return parse(item.read(), limits=self.limits)

    def draw(self, item: Item, canvas: Canvas, variant: int, seed: int) -> DrawingProcess:
        art, record = self.parsed(item), record_of(item)
        dimensions = canvas.dimensions(*art.view_box[2:])
        own = (abs(int(seed)), int(variant), int(record["hash"][:12], 16))
        if np.random.default_rng(own).random() < self.options.painted:
            picture = Scene([Placed(art)], dimensions, self.options.fonts).paint()
            return with_manner(paint(picture, own, weights=OTHER_MANNERS, **record))
        process = scene_process(
            [Placed(art)],
            dimensions,
            look=self.look,
            fonts=self.options.fonts,
            weights=self.options.work_shares,
            **record,
        )
        return with_manner(process)

    def compose(self, items: Sequence[Item], canvas: Canvas, seed: int) -> DrawingProcess:
        usable = [item for item in items if self._parses(item)]
        if not usable:
            raise Unusable("no usable element")
        placed, background = compose([item.read() for item in usable], seed, self.limits)
        record = record_of(*usable)
        if background:
            record["tags"] = (*record["tags"], "background")
        process = scene_process(
            placed,
            canvas.dimensions(1, 1),
            background,
            look=self.look,
            fonts=self.options.fonts,
            weights=self.options.work_shares,
            **record,
        )
        return with_manner(process)

    def preview(self, item: Item, side: int = 256) -> NDArray[np.uint8] | None:
        art = self.parsed(item)
        return Scene([Placed(art)], Canvas(side, "source").dimensions(*art.view_box[2:]), self.options.fonts).paint()

    def _parses(self, item: Item) -> bool:
        try:
            self.parsed(item)
        except Unusable:
            return False
        return True
