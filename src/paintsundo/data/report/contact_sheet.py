"""Contact sheets: states of drawing processes side by side, their stages as bands beneath."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from paintsundo.data.process import DrawingProcess, step_of_work
from paintsundo.data.report.bands import UNKNOWN, colour, fitting, font, stage_at

GROUND = "#e9ebee"
HEAD, CAPTION, STRIP, GAP = 16, 15, 5, 2  # pixels


def contact_sheet(
    processes: Sequence[DrawingProcess], states: int = 12, side: int = 128, captions: bool = True
) -> Image.Image:
    """One row per process, `states` columns from the blank canvas to the finished picture, in cells of `side` pixels.

    `captions`: the operation steps above the columns, a line about each process and the bands of its stages.
    """
    works = np.linspace(0, 1, states).tolist()
    head, above, below = (HEAD, CAPTION, STRIP) if captions else (0, 0, 0)
    row = above + side + below + GAP
    sheet = Image.new("RGB", (states * (side + GAP) + GAP, head + len(processes) * row + GAP), GROUND)
    draw = ImageDraw.Draw(sheet)
    if captions:
        for column, work in enumerate(works):
            centre = GAP + column * (side + GAP) + side / 2
            draw.text((centre, HEAD / 2), str(step_of_work(work)), "black", font(10), anchor="mm")
    for number, process in enumerate(processes):
        top = head + GAP + number * row
        if captions:
            words = fitting(draw, caption(process), sheet.width - 8)
            draw.text((GAP + 2, top + CAPTION / 2), words, "black", font(words=words), anchor="lm")
        spans = process.spans()
        for column, work in enumerate(works):
            left = GAP + column * (side + GAP)
            cell = thumbnail(process.state(work), side)
            corner = (left + (side - cell.width) // 2, top + above + (side - cell.height) // 2)
            sheet.paste(cell, corner)
            if captions:
                name = stage_at(spans, work) if work else ""
                band = (left, top + above + side, left + side - 1, top + above + side + below - 1)
                draw.rectangle(band, colour(name) if name else UNKNOWN)
    return sheet


def caption(process: DrawingProcess) -> str:
    """Where a process comes from, in one line."""
    length = f"{len(process.spans())} stages" if process.spans() else ""
    words = (process.source, process.subject, process.licence, process.author, length)
    return "  ·  ".join(filter(None, words))


def thumbnail(picture: np.ndarray, side: int) -> Image.Image:
    """A picture uint8 (H, W, 3) whose longer side has so many pixels."""
    height, width = picture.shape[:2]
    factor = side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.NEAREST)
