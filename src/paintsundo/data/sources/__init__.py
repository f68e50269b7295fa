"""The sources of drawing processes by name, imported when they are asked for."""

from __future__ import annotations

from importlib import import_module

from paintsundo.data.source import Source
from paintsundo.errors import UserError

CLASSES = {
    "svg": "SvgSource",
    "pictures": "PicturesSource",
    "glyphs": "GlyphsSource",
    "layered": "LayeredSource",
    "recording": "RecordingSource",
}


def source_class(name: str) -> type[Source]:
    """The class of a source: `paintsundo.data.sources.<name>`. Raises UserError for an unknown name."""
    if name not in CLASSES:
        raise UserError(f"source={name}: choose one of {', '.join(CLASSES)}")
    found: type[Source] = getattr(import_module(f"{__name__}.{name}"), CLASSES[name])
    return found
