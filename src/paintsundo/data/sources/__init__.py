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
    """The class of a source: of one of these names, or "package.module:Class" of your own.

    Raises UserError for a name that is neither.
    """
    module, colon, chosen = name.partition(":")
    if not colon:
        if name not in CLASSES:
            raise UserError(f"source={name}: choose one of {', '.join(CLASSES)}, or package.module:Class")
        module, chosen = f"{__name__}.{name}", CLASSES[name]
    try:
        found: type[Source] = getattr(import_module(module), chosen)
    except (ImportError, AttributeError, ValueError) as error:
        if not colon:
            raise
        raise UserError(f"source={name}: {error}") from error
    return found
