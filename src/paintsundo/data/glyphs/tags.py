"""What is said of a glyph."""

from __future__ import annotations

import unicodedata

from paintsundo.data.glyphs.reading import Glyph


def tags_of(glyph: Glyph) -> tuple[str, ...]:
    """What a glyph is: its script and character, how many strokes it has, its radical where that is known."""
    count = len(glyph.strokes)
    found: list[str] = ["glyph"]
    if glyph.character:
        found += [_script(glyph.character), glyph.character]
    found.append(f"{count} stroke{'s' if count > 1 else ''}")
    if glyph.radical:
        found.append(f"radical {glyph.radical}")
    return tuple(found)


def _script(character: str) -> str:
    name = unicodedata.name(character, "symbol")
    return "han character" if name.startswith("CJK") else name.split()[0].lower()
