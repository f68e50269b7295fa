"""Small vector art and pictures for the data tests."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 72 72">'

INKED = (
    HEAD
    + """
<g id="color"><circle cx="36" cy="36" r="23" fill="#FCEA2B"/>
<path fill="#fff" d="M50,41c0,1-.3,3-1,4c-12,3-25,0-27-.1c-1-1-1-3-1-4.4h.1s15,3.6,29,.1z"/>
<rect x="30" y="15" width="12" height="6" fill="#EA5A47"/></g>
<g id="line" fill="none" stroke="#000" stroke-linecap="round" stroke-linejoin="round" stroke-width="2">
<circle cx="36" cy="36" r="23"/><path d="M50 41c0 1-.3 3-1 4c-12 3-25 0-27-.1c-1-1-1-3-1-4.4"/>
<path fill="#000" stroke="none" d="M30 31a3 3 0 1 1-6 0a3 3 0 0 1 6 0"/>
<path fill="#000" stroke="none" d="M48 31a3 3 0 1 1-6 0a3 3 0 0 1 6 0"/></g></svg>"""
).encode()

SHADED = (
    HEAD
    + """
<defs><linearGradient id="g"><stop offset="0" stop-color="#3060c0"/><stop offset="1" stop-color="#80d0f0"/>
</linearGradient><clipPath id="c"><rect x="10" y="8" width="52" height="50"/></clipPath></defs>
<style>.dark { fill: #804020 } #hat { fill: #208040; stroke: none }</style>
<g clip-path="url(#c)"><ellipse cx="36" cy="40" rx="30" ry="26" fill="url(#g)"/></g>
<path id="hat" d="M18 20 H54 L46 6 H26 Z"/>
<g transform="translate(4 2) rotate(5 36 36)"><rect id="eye" class="dark" x="22" y="34" width="6" height="8"/></g>
<use xlink:href="#eye" x="20" y="1"/>
<path d="M30 54q6 5 14-1" style="fill:none;stroke:#a02040;stroke-width:2.5"/>
<g opacity=".4"><ellipse cx="36" cy="54" rx="22" ry="9" fill="#102040"/></g></svg>"""
).encode()

WIDE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="40mm" height="20mm">'
    b'<rect x="10" y="10" width="130" height="55" fill="#c04040"/>'
    b'<circle cx="75" cy="38" r="14" fill="gold"/></svg>'
)


@pytest.fixture
def inked() -> bytes:
    """Art with a layer of outlines, as OpenMoji's."""
    return INKED


@pytest.fixture
def shaded() -> bytes:
    """Art without outlines: gradient, clip path, style sheet, <use>, translucent overlay."""
    return SHADED


@pytest.fixture
def wide() -> bytes:
    """Art without a view box, its size in millimetres."""
    return WIDE


def paint_landscape(size: int = 128) -> np.ndarray:
    """A picture like a photograph: sky, hills with texture, a sun, noise."""
    ys, xs = np.mgrid[:size, :size] / size
    noise = np.random.default_rng(5).normal(0, 5, (size, size, 1))
    picture = np.stack([90 + 80 * ys, 140 + 60 * ys, 230 - 30 * ys], axis=2)
    hill = ys > 0.55 + 0.12 * np.sin(5 * xs)
    near = ys > 0.8 + 0.06 * np.cos(7 * xs)
    picture[hill] = (70, 130, 60)
    picture[near] = (110, 80, 40)
    picture[hill] += (12 * np.sin(60 * xs + 30 * ys))[hill][:, None]
    picture[(xs - 0.75) ** 2 + (ys - 0.2) ** 2 < 0.01] = (250, 220, 90)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def landscape() -> np.ndarray:
    """uint8 (128, 128, 3)."""
    return paint_landscape()


def png(picture: np.ndarray) -> bytes:
    """PNG bytes of a picture."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def art_folder(tmp_path: Path) -> Path:
    """A folder of SVGs: two good ones, a reserved name, three that must be refused."""
    folder = tmp_path / "art"
    folder.mkdir()
    (folder / "face.svg").write_bytes(INKED)
    (folder / "bonnet.svg").write_bytes(SHADED)
    (folder / f"{RESERVED}.svg").write_bytes(INKED)
    (folder / "blank.svg").write_text(HEAD + '<rect width="5" height="5" fill="#fff"/></svg>')
    (folder / "broken.svg").write_text("<svg")
    entity = '<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    (folder / "entity.svg").write_text(entity + HEAD + "<desc>&x;</desc></svg>")
    return folder


RESERVED = "cat37"  # SHA-256 ends in 0
