"""Test files made by ImageMagick: a PSD of two layers and the picture that it makes of them itself."""

from __future__ import annotations

import subprocess
import tempfile
from functools import cache
from pathlib import Path

from PIL import Image

from support.layered_files import pictures

# Its linear and vivid lights, hard mix and modes of hue are other ones than Photoshop's, under the same names.
MODES = """
Over Multiply Screen Overlay Darken Lighten Difference Exclusion HardLight SoftLight ColorDodge ColorBurn PinLight
LinearBurn LinearDodge LinearLight VividLight HardMix Hue Saturate Colorize Luminize Dissolve
"""
FEATURES = {"field": "mode over opaque", "shapes": "mode over transparent"}  # by the lower layer
PROGRAMS = ("magick", "convert", "/usr/bin/convert")
TIMEOUT = 60.0


@cache
def program() -> str:
    """The command of ImageMagick 6 or 7; "" where it is not installed."""
    for name in PROGRAMS:
        try:
            said = subprocess.run([name, "-version"], capture_output=True, text=True, timeout=TIMEOUT).stdout
        except OSError:
            continue
        if said.startswith("Version: ImageMagick"):
            return name
    return ""


def names() -> dict[str, str]:
    """Files without suffix, and the feature that each shows."""
    return {f"{mode}_{under}": feature for mode in MODES.split() for under, feature in FEATURES.items()}


def make(folder: Path) -> None:
    """Write the FOLDER/<name>.psd that are not there. Raises CalledProcessError when ImageMagick fails."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        for name in ("soft", *FEATURES):
            Image.fromarray(pictures.LAYERS[name](), "RGBA").save(Path(work, f"{name}.png"))
        for name in names():
            mode, under = name.split("_")
            layers = ["(", f"{work}/{under}.png", ")", "(", f"{work}/soft.png", "-compose", mode, ")"]
            merged = ["(", *layers, "-background", "none", "-layers", "merge", "+repage", ")"]  # the first is the whole
            path = folder / f"{name}.psd"
            if not path.exists():
                subprocess.run([program(), *merged, *layers, str(path)], check=True, timeout=TIMEOUT)
