"""Characters written stroke after stroke in the order in which people write them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paintsundo.data.glyphs.reading import read
from paintsundo.data.glyphs.tags import tags_of
from paintsundo.data.glyphs.writing import Pen, paint, place, works, write
from paintsundo.data.process import DrawingProcess
from paintsundo.data.source import Canvas, Item, Source, record_of
from paintsundo.errors import UserError

MOST_STAGES = 11  # with the guide as many as loaders hold
SHADE = 24  # levels that vary=true adds to a colour or takes from it, at most
WIDTHS = (0.8, 1.25)  # factors of the width with vary=true


@dataclass
class Options:
    """See `configs/source/glyphs.yaml`."""

    width: float = 0.04
    colour: str = "#202020"
    margin: float = 0.08
    guide: bool = False
    vary: bool = False
    stages: int = 4


class GlyphsSource(Source):
    """Files of KanjiVG, as they are (.svg) or from `fetch` (.kvg), and of hanzi-writer (.json)."""

    name = "glyphs"
    suffixes = frozenset({".svg", ".kvg", ".json"})
    Options = Options
    largest = 1 << 20
    seconds = 60.0

    def check(self) -> None:
        options = self.options
        if not 0.002 <= options.width <= 0.2:
            raise UserError(f"source.width={options.width}: choose 0.002 to 0.2 of the canvas side")
        if not 0 <= options.margin <= 0.4:
            raise UserError(f"source.margin={options.margin}: choose 0 to 0.4 of the canvas side")
        if not 1 <= options.stages <= MOST_STAGES:
            raise UserError(f"source.stages={options.stages}: choose 1 to {MOST_STAGES}")
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", options.colour):
            raise UserError(f"source.colour={options.colour}: choose a colour as #rrggbb")
        if min(_levels(options.colour)) > 230:
            raise UserError(f"source.colour={options.colour}: cannot be seen on white paper")

    def draw(self, item: Item, canvas: Canvas, variant: int, seed: int) -> DrawingProcess:
        glyph = read(item.read(), item.stem)
        shape = canvas.dimensions(1, 1)
        strokes = place(glyph, shape, self._pen(seed), self.options.margin, self.options.guide)
        record = record_of(item)
        record["tags"] = tuple(dict.fromkeys((*record["tags"], *tags_of(glyph))))
        record["extra"] |= {
            "character": glyph.character,
            "strokes": len(glyph.strokes),
            "radical": glyph.radical,
            "radical_strokes": list(glyph.radical_strokes),
            "stroke_ends": works(strokes)[-len(glyph.strokes) :],
        }
        return write(strokes, shape, self.options.stages, **record)

    def preview(self, item: Item, side: int = 256) -> NDArray[np.uint8] | None:
        options = self.options
        pen = Pen(options.colour, options.width)
        return paint(
            place(read(item.read(), item.stem), (side, side), pen, options.margin, options.guide), (side, side)
        )

    def _pen(self, seed: int) -> Pen:
        options = self.options
        if not options.vary:
            return Pen(options.colour, options.width)
        random = np.random.default_rng(seed)
        shifted = np.clip(_levels(options.colour) + random.integers(-SHADE, SHADE, 3, endpoint=True), 0, 255)
        return Pen("#" + "".join(f"{level:02x}" for level in shifted), options.width * random.uniform(*WIDTHS))


def _levels(colour: str) -> NDArray[np.int64]:
    return np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
