"""Finished pictures of any kind: how they may have been painted."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from paintsundo.data import timeline
from paintsundo.data.manner import with_manner
from paintsundo.data.painter import STYLES, paint
from paintsundo.data.pictures import opened, picture_process, read_canvas
from paintsundo.data.process import DrawingProcess
from paintsundo.data.source import Canvas, Item, Source, record_of
from paintsundo.errors import UserError

REGIONS, MIXED = "regions", "mixed"


@dataclass
class Options:
    """See `configs/source/pictures.yaml`."""

    style: str = REGIONS
    crops: int = 1
    style_weights: dict[str, float] = field(default_factory=lambda: {"line": 0.45, "painting": 0.35, "lineless": 0.2})
    work_shares: dict[str, float] = field(default_factory=lambda: dict(timeline.PICTURE_WEIGHTS))


class PicturesSource(Source):
    """The stages are worked out from the picture by a synthetic painter."""

    name = "pictures"
    suffixes = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
    Options = Options
    largest = 512 << 20

    def check(self) -> None:
        options = self.options
        if options.crops < 1:
            raise UserError(f"source.crops={options.crops}: choose at least 1")
        styles = (REGIONS, MIXED, *STYLES)
        if options.style not in styles:
            raise UserError(f"source.style={options.style}: choose {', '.join(styles)}")
        weights = options.style_weights
        unknown = sorted(set(weights) - set(STYLES))
        if unknown or any(weight < 0 for weight in weights.values()) or not any(weights.values()):
            raise UserError(
                f"source.style_weights needs weights, one of them positive, for some of {', '.join(STYLES)}"
            )
        shares = options.work_shares
        if set(timeline.PICTURE_WEIGHTS) - set(shares) or any(share <= 0 for share in shares.values()):
            wanted = ", ".join(timeline.PICTURE_WEIGHTS)
            raise UserError(f"source.work_shares needs a positive share for each of {wanted}")

    def variants(self, item: Item) -> int:
        return int(self.options.crops)

    def draw(self, item: Item, canvas: Canvas, variant: int, seed: int) -> DrawingProcess:
        style = self.options.style
        picture = read_canvas(item.read(), canvas, variant, quick=style != REGIONS)
        record = record_of(item)
        if style == REGIONS:
            record["extra"] = {**record["extra"], "style": style}
            return with_manner(picture_process(picture, weights=self.options.work_shares, **record))
        # Equal pictures are painted alike, others of the same data set each in their own way.
        own = (abs(int(seed)), int(variant), int(record["hash"][:12], 16))
        chosen = None if style == MIXED else style
        return with_manner(paint(picture, own, chosen, self.options.style_weights, **record))

    def preview(self, item: Item, side: int = 256) -> NDArray[np.uint8] | None:
        picture = opened(item.read(), 2 * side)
        picture.thumbnail((side, side))
        return np.asarray(picture)
