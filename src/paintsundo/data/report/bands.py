"""Stages as bands of colour along the work axis, and how far a process has come as curves."""

from __future__ import annotations

import unicodedata
import zlib
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from paintsundo.data.process import DrawingProcess, Span, step_of_work
from paintsundo.data.report.change import progress

COLOURS = {
    "sketch": "#9db8e8",
    "construction": "#b9c7e6",
    "line": "#6b7280",
    "ink": "#4b5563",
    "background": "#c8b79a",
    "flats": "#f2b36b",
    "details": "#e58a6f",
    "shading": "#a98bc9",
    "light": "#f3dd7e",
    "effects": "#7fc9c0",
}
SIGNS = "·…"  # beyond ASCII, and in the font that comes with pillow
FONTS = (  # of many scripts, on Linux, macOS and Windows
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJK.ttc",
    "NotoSerifCJK-Regular.ttc",
    "DroidSansFallbackFull.ttf",
    "wqy-microhei.ttc",
    "Arial Unicode.ttf",
    "Hiragino Sans GB.ttc",
    "msyh.ttc",
    "msgothic.ttc",
    "DejaVuSans.ttf",
)
OTHERS = ("#8fbf8a", "#d99ac5", "#7aa8c7", "#c9a86a", "#9aa0a6", "#b0c36a", "#d98880")
UNKNOWN = "#d5d8dc"
STEP_INK, PROGRESS_INK, GRID, TEXT = "#1f2937", "#2f9e6e", "#d9dce1", "#374151"
BAND, GAP, AXIS = 20, 6, 34  # pixels: height of the bands, space beneath them, width of the scale on the left
SHORT = 0.002  # of the work axis: shorter stages are marked with a tick
PAUSE = 0.005  # of the work axis: stages less apart follow each other at once


def colour(name: str) -> str:
    """The colour of a stage: its own for common names, else one chosen by the name."""
    return COLOURS.get(name) or OTHERS[zlib.crc32(name.encode()) % len(OTHERS)]


def font(size: int = 11, words: str = "") -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with pillow; for words that are not English an installed one of many scripts."""
    plain = all(letter.isascii() or letter in SIGNS for letter in words)
    return ImageFont.load_default(size) if plain else _of_many_scripts(size)


@cache
def _of_many_scripts(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    for name in FONTS:
        with suppress(OSError):
            return ImageFont.truetype(name, size)
    return ImageFont.load_default(size)


def stage_at(spans: Sequence[Span], work: float) -> str:
    """The name of the stage that is under way at a share of the work, or has just ended; "" where none is known."""
    found = next((span for span in reversed(spans) if span.begin <= work), None)
    return found.name if found and work <= found.end + PAUSE else ""


def panel(process: DrawingProcess, works: NDArray[np.float64], width: int, height: int) -> Image.Image:
    """What lies beneath a film whose N states are those at `works` (N,): bands of stages, and over the film's time the
    operation step (dark) and the progress towards the finished picture (green).
    """
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    left, right = AXIS, width - 8
    places = np.linspace(left, right, len(works))
    _draw_bands(draw, process.spans(), works, places)
    top, bottom = BAND + GAP + 6, height - 8
    for step in (0, 500, 999):
        y = bottom - (bottom - top) * step / 999
        draw.line((left, y, right, y), GRID)
        draw.text((left - 5, y), str(step), TEXT, font(10), anchor="rm")
    steps = np.array([step_of_work(work) for work in works.tolist()])
    for values, ink in ((progress(process, works), PROGRESS_INK), (steps / 999, STEP_INK)):
        points = zip(places, bottom - (bottom - top) * np.clip(values, 0, 1), strict=True)
        draw.line([(float(x), float(y)) for x, y in points], ink, 2)
    return image


def with_cursor(image: Image.Image, share: float, words: str) -> Image.Image:
    """A panel with the present place, 0 ... 1 of the film, marked, and words about it."""
    marked = image.copy()
    draw, letters = ImageDraw.Draw(marked), font(words=words)
    left, right = AXIS, image.width - 8
    x = left + (right - left) * share
    draw.line((x, 0, x, image.height), "#d63a3a", 1)
    on_left = x + 6 + draw.textlength(words, letters) > right
    place, anchor = (x - 6 if on_left else x + 6, BAND + GAP), "rt" if on_left else "lt"
    draw.rectangle(draw.textbbox(place, words, letters, anchor=anchor), "white")
    draw.text(place, words, TEXT, letters, anchor=anchor)
    return marked


def _draw_bands(
    draw: ImageDraw.ImageDraw, spans: Sequence[Span], works: NDArray[np.float64], places: NDArray[np.float64]
) -> None:
    draw.rectangle((places[0], 0, places[-1], BAND), UNKNOWN)
    for span in sorted(spans, key=lambda span: span.end - span.begin, reverse=True):
        begin, end = np.interp((span.begin, span.end), works, places)
        if span.end - span.begin < SHORT:
            draw.line((end, 0, end, BAND + 3), "black", 2)
            continue
        draw.rectangle((begin, 0, end, BAND), colour(span.name))
        label = fitting(draw, span.name, end - begin - 6)
        draw.text(((begin + end) / 2, BAND / 2), label, "black", font(words=label), anchor="mm")


def fitting(draw: ImageDraw.ImageDraw, words: str, width: float) -> str:
    """Words cut to a width in pixels, in one line, accents joined to their letters."""
    words = unicodedata.normalize("NFC", words)
    words = "".join(letter if letter.isprintable() else " " for letter in words)
    if draw.textlength(words, font(words=words)) <= width:
        return words
    while words and draw.textlength(f"{words}…", font(words=words)) > width:
        words = words[:-1]
    return f"{words}…" if words else ""
