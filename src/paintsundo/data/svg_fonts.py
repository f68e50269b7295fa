"""Fonts for the texts of SVG files."""

from __future__ import annotations

import atexit
import io
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import ImageFont

FONTS = ("system", "builtin", "none")


@lru_cache(maxsize=8)
def font_options(fonts: str) -> dict[str, Any]:
    """Arguments of the renderer.

    `fonts`: "system", what is installed; "builtin", one plain font that is the same everywhere; "none", texts are not
    drawn; or a font file or a folder of fonts. Where a text asks for a font that there is not, the plain one is taken.
    """
    if fonts == "none":
        return {"skip_system_fonts": True}
    plain, family = _builtin()
    options: dict[str, Any] = {"skip_system_fonts": fonts != "system", "font_files": [plain], "serif_family": family}
    if fonts not in FONTS:
        if Path(fonts).is_dir():
            options["font_dirs"] = [fonts]
        else:
            options["font_files"] = [fonts, plain]
    return options


@lru_cache(maxsize=1)
def _builtin() -> tuple[str, str]:
    """Pillow's own font as a file, removed when the program ends, and its family."""
    font = ImageFont.load_default(16)
    assert isinstance(font, ImageFont.FreeTypeFont)
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "plain.ttf"
    assert isinstance(font.path, io.BytesIO)
    path.write_bytes(font.path.getvalue())
    return str(path), str(font.getname()[0])
