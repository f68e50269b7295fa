"""Finished pictures of any kind: how they may have been painted."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from paintsundo.data import timeline
from paintsundo.data.pictures import opened, picture_process, read_picture
from paintsundo.data.process import DrawingProcess
from paintsundo.data.source import Canvas, Item, Source, record_of
from paintsundo.errors import UserError


@dataclass
class Options:
    """See `configs/source/pictures.yaml`."""

    crops: int = 1
    work_shares: dict[str, float] = field(default_factory=lambda: dict(timeline.PICTURE_WEIGHTS))


class PicturesSource(Source):
    """Sketch, lines, flat colours, details and the picture itself, worked out from the picture."""

    name = "pictures"
    suffixes = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
    Options = Options
    largest = 512 << 20

    def check(self) -> None:
        if self.options.crops < 1:
            raise UserError(f"source.crops={self.options.crops}: choose at least 1")
        shares = self.options.work_shares
        if set(timeline.PICTURE_WEIGHTS) - set(shares) or any(share <= 0 for share in shares.values()):
            wanted = ", ".join(timeline.PICTURE_WEIGHTS)
            raise UserError(f"source.work_shares needs a positive share for each of {wanted}")

    def variants(self, item: Item) -> int:
        return int(self.options.crops)

    def draw(self, item: Item, canvas: Canvas, variant: int, seed: int) -> DrawingProcess:
        picture = read_picture(item.read(), canvas.size, variant)
        return picture_process(picture, weights=self.options.work_shares, **record_of(item))

    def preview(self, item: Item, side: int = 256) -> NDArray[np.uint8] | None:
        picture = opened(item.read())
        picture.thumbnail((side, side))
        return np.asarray(picture)
