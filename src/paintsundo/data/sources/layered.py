"""Layered files of painting programs: Photoshop, OpenRaster, Krita."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.layered.draw import layered_process
from paintsundo.data.layered.limits import Limits
from paintsundo.data.layered.opening import SUFFIXES, Opened, embedded, opened
from paintsundo.data.layered.ordering import Rules
from paintsundo.data.layered.shrink import place
from paintsundo.data.layered.words import STAGES, WORDS
from paintsundo.data.process import DrawingProcess
from paintsundo.data.source import Canvas, Item, Source, Unusable, record_of
from paintsundo.errors import UserError


@dataclass
class Options:
    """See `configs/source/layered.yaml`."""

    order: list[str] = field(default_factory=lambda: list(STAGES))
    names: dict[str, list[str]] = field(default_factory=dict)
    hidden_sketches: str = "show"
    difference: str = "reject"
    fit: str = "pad"
    stages: int = 48
    megapixels: float = 80.0
    layers: int = 2000
    depth: int = 60
    gigabytes: float = 16.0


class LayeredSource(Source):
    """Every layer is drawn in its stage, within layers stroke by stroke."""

    name = "layered"
    suffixes = SUFFIXES
    Options = Options
    per_shard = 50
    largest = 4 << 30

    def check(self) -> None:
        options = self.options
        for name, choices in (
            ("hidden_sketches", ("show", "skip")),
            ("difference", ("reject", "mark")),
            ("fit", ("pad", "crop")),
        ):
            if getattr(options, name) not in choices:
                raise UserError(f"source.{name}={getattr(options, name)}: choose {' or '.join(choices)}")
        if not options.order or len(set(options.order)) < len(options.order):
            raise UserError("source.order: name each stage once")
        if unknown := sorted(set(options.names) - set(options.order)):
            raise UserError(f"source.names: {', '.join(unknown)} not among the stages of source.order")
        for name in ("stages", "megapixels", "layers", "depth", "gigabytes"):
            if not getattr(options, name) > 0:
                raise UserError(f"source.{name}={getattr(options, name)}: choose a number above 0")

    @property
    def limits(self) -> Limits:
        options = self.options
        return Limits(options.megapixels, options.layers, options.depth, options.gigabytes)

    def draw(self, item: Item, canvas: Canvas, variant: int, seed: int) -> DrawingProcess:
        options = self.options
        with item.open() as stream:
            found = opened(stream, item.name, self.limits)
            self.judge(found)
            height, width = found.document.size
            if max(height, width) > 16 * min(height, width):
                raise Unusable("too narrow")
            placement = place(found.document.size, canvas.dimensions(width, height), options.fit)
            names = {stage: (*WORDS.get(stage, ()), *options.names.get(stage, ())) for stage in options.order}
            rules = Rules(options.order, names)
            return layered_process(found, placement, rules, options.hidden_sketches, options.stages, **record_of(item))

    def judge(self, found: Opened) -> None:
        """Raises Unusable for a picture that is not the program's, or may not be, unless such are to be marked."""
        if self.options.difference == "mark":
            return
        missing = f"; not supported: {', '.join(found.document.unsupported)}" if found.document.unsupported else ""
        if found.agreement is not None and not found.agreement.holds:
            share = math.floor(1000 * found.agreement.share) / 10
            raise Unusable(f"our picture agrees with the file's own on {share:g} % of the pixels only{missing}")
        if found.agreement is None and missing:
            raise Unusable(f"the file has no flattened picture to compare with{missing}")

    def preview(self, item: Item, side: int = 256) -> NDArray[np.uint8] | None:
        with item.open() as stream:
            picture = embedded(stream, item.name, self.limits)
        if picture is None:
            return None
        scale = side / max(picture.shape[:2])
        if scale >= 1:
            return picture
        size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
