"""Files of stroke order: KanjiVG's SVG (https://kanjivg.tagaini.net/svg-format.html), and the JSON of Make Me a Hanzi
as hanzi-writer has it (https://github.com/skishore/makemeahanzi).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn
from xml.parsers import expat

import numpy as np

from paintsundo.data import svg_paths
from paintsundo.data.source import Unusable
from paintsundo.data.svg_paths import Polyline

KANJIVG_SIDE = 109.0
HANZI_SIDE, HANZI_TOP = 1024.0, 900.0  # its y axis points up
MOST_STROKES = 128
MOST_LETTERS = 20_000  # of one path
_PATH = re.compile(r"[MmLlHhVvCcSsQqTtAaZzEe0-9+\-.,\s]+")
_CODE_POINT = re.compile(r"[0-9a-fA-F]{4,6}")
_RADICALS = ("general", "tradit", "nelson", "jis")  # whose rule it is, the usual one first


@dataclass(frozen=True)
class Stroke:
    """One movement of the pen.

    Attributes:
        path: SVG path data, in the glyph's own units: the line, or the outline of what it fills.
        line: (N, 2) x, y in shares of the glyph's square, in the direction of writing.
        filled: whether `path` is an outline.
    """

    path: str
    line: Polyline
    filled: bool = False


@dataclass(frozen=True)
class Glyph:
    """A character.

    Attributes:
        strokes: in the order of writing.
        matrix: SVG's six numbers that take the units of paths to shares of the glyph's square.
        character: "" where the file does not say it.
        radical: "" where it is not known.
        radical_strokes: numbers from 0 of the strokes that belong to it.
    """

    strokes: tuple[Stroke, ...]
    matrix: tuple[float, float, float, float, float, float]
    character: str = ""
    radical: str = ""
    radical_strokes: tuple[int, ...] = ()


def read(data: bytes, stem: str = "") -> Glyph:
    """The glyph of a file; its stem, a character or its code point, says which it is. Raises Unusable."""
    glyph = _hanzi(data, stem) if data.lstrip()[:1] == b"{" else _kanjivg(data, stem)
    if not 1 <= len(glyph.strokes) <= MOST_STROKES:
        raise Unusable(f"{len(glyph.strokes)} strokes: 1 to {MOST_STROKES} are drawn")
    return glyph


def character_of(stem: str) -> str:
    """The character named by itself or, as in KanjiVG, by its code point in hexadecimal; "" for other names."""
    if len(stem) == 1:
        return stem
    if _CODE_POINT.fullmatch(stem) and int(stem, 16) <= 0x10FFFF and not 0xD800 <= int(stem, 16) < 0xE000:
        return chr(int(stem, 16))
    return ""


def _path(text: Any) -> str:
    if not isinstance(text, str) or len(text) > MOST_LETTERS or not _PATH.fullmatch(text):
        raise Unusable("a stroke is no path")
    return " ".join(text.split())


def _line(points: Polyline) -> Polyline:
    if len(points) < 2 or not np.isfinite(points).all():
        raise Unusable("a stroke has no length")
    if points.min() < -0.5 or points.max() > 1.5:
        raise Unusable("a stroke lies outside the glyph's square")
    return points


def _hanzi(data: bytes, stem: str) -> Glyph:
    try:
        found = json.loads(data)
        outlines, medians = found["strokes"], found["medians"]
        lines = [np.array(median, np.float64) for median in medians]
        if not isinstance(outlines, list) or len(outlines) != len(lines):
            raise ValueError("outlines and medians differ in number")
        if any(line.ndim != 2 or line.shape[1] != 2 for line in lines):
            raise ValueError("a median is no row of points")
        radical = tuple(int(number) for number in found.get("radStrokes", ()))
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise Unusable(f"no strokes with medians: {error}") from error
    strokes = tuple(
        Stroke(_path(outline), _line(np.column_stack([line[:, 0], HANZI_TOP - line[:, 1]]) / HANZI_SIDE), True)
        for outline, line in zip(outlines, lines, strict=True)
    )
    matrix = (1 / HANZI_SIDE, 0.0, 0.0, -1 / HANZI_SIDE, 0.0, HANZI_TOP / HANZI_SIDE)
    within = tuple(number for number in radical if 0 <= number < len(strokes))
    return Glyph(strokes, matrix, character_of(stem), radical_strokes=within)


class _KanjiReader:
    """Collects the paths inside KanjiVG's group of strokes, and the groups they lie in."""

    def __init__(self) -> None:
        self.groups: list[dict[str, str]] = []  # that are open, the group of strokes itself first
        self.paths: list[str] = []
        self.character = ""
        self.radicals: dict[str, tuple[str, list[int]]] = {}  # by whose rule: element, strokes
        self._open = 0  # elements inside the group of strokes

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._open and "StrokePaths" not in attributes.get("id", ""):
            return
        self._open += 1
        if "transform" in attributes:
            raise Unusable("its strokes are transformed")
        if name == "g":
            self.groups.append(attributes)
            self.character = self.character or attributes.get("kvg:element", "")
        elif name == "path":
            for group in self.groups:
                if rule := group.get("kvg:radical"):
                    element = group.get("kvg:original") or group.get("kvg:element", "")
                    self.radicals.setdefault(rule, (element, []))[1].append(len(self.paths))
            self.paths.append(_path(attributes.get("d")))
            if len(self.paths) > MOST_STROKES:
                raise Unusable(f"more than {MOST_STROKES} strokes")

    def end(self, name: str) -> None:
        if self._open:
            self._open -= 1
            if name == "g":
                self.groups.pop()

    def entity(self, *_: Any) -> NoReturn:
        raise Unusable("declares entities")


def _kanjivg(data: bytes, stem: str) -> Glyph:
    reader = _KanjiReader()
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.EntityDeclHandler = reader.entity
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        if isinstance(error, Unusable):
            raise
        raise Unusable(f"unreadable: {error}") from error
    if not reader.paths:
        raise Unusable("no strokes in order: no file of KanjiVG")
    strokes = tuple(Stroke(path, _line(_points(svg_paths.parse_path(path)) / KANJIVG_SIDE)) for path in reader.paths)
    named = character_of(stem) or (reader.character if len(reader.character) == 1 else "")
    rule = next((rule for rule in _RADICALS if rule in reader.radicals), None)
    radical, numbers = reader.radicals[rule] if rule else ("", [])
    scale = 1 / KANJIVG_SIDE
    return Glyph(strokes, (scale, 0.0, 0.0, scale, 0.0, 0.0), named, radical, tuple(numbers))


def _points(lines: Sequence[Polyline]) -> Polyline:
    return np.vstack(lines) if lines else np.empty((0, 2))
