"""Vector files that are broken, hostile or huge: refused with a reason, and nothing outside their bytes is read."""

import base64
import gzip
import io
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paintsundo.data.scene import Placed, render
from paintsundo.data.source import Unusable
from paintsundo.data.svg import scene_process, svg_process
from paintsundo.data.svg_document import Limits, read_document
from paintsundo.data.svg_reader import parse

OPEN = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 72 72">'
SQUARE = '<path d="M9 9h50v50h-50z"/>'
LAUGHS = "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10 if k else "ha"}">' for k in range(10))
QUADRATIC = f'<!ENTITY a "{"a" * 50_000}">'


def url_chain(links: int) -> str:
    """Patterns that each use the next one ten times."""
    paint = '<rect width="3" height="3" fill="url(#p{})"/>'
    patterns = [f'<pattern id="p{k}" width="1" height="1">{paint.format(k + 1) * 10}</pattern>' for k in range(links)]
    return OPEN + "".join(patterns) + f'<pattern id="p{links}"/><rect width="60" height="60" fill="url(#p0)"/></svg>'


HOSTILE = {
    "empty file": "  \n",
    "not well-formed: ": "<svg",
    "not an SVG document": "<html></html>",
    "declares external entities": f'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>{OPEN}<desc>&x;</desc></svg>',
    "declares nested entities": f"<!DOCTYPE svg [{LAUGHS}]>{OPEN}<text>&l9;</text></svg>",
    "declares entities that grow": f"<!DOCTYPE svg [{QUADRATIC}]>{OPEN}<text>{'&a;' * 10_000}</text></svg>",
    "holds <script>": f"{OPEN}<script>alert(1)</script>{SQUARE}</svg>",
    "script in an event attribute": f'{OPEN}<path onload="x()" d="M0 0h9v9z"/></svg>',
    "style sheet in another file": f"{OPEN}<style>@import url(http://a/b.css);</style>{SQUARE}</svg>",
    "reference to another file: file:///etc/passwd": f'{OPEN}<image href="file:///etc/passwd"/></svg>',
    "reference to another file: /etc/passwd": f'{OPEN}<image xlink:href="/etc/passwd" width="9" height="9"/></svg>',
    "reference to another file: https://a/b.png": f'{OPEN}<image href="https://a/b.png"/></svg>',
    "reference to another file": f'{OPEN}<use href="other.svg#a"/></svg>',
    "SVG inside an <image>": f'{OPEN}<image href="data:image/svg+xml,%3Csvg/%3E" width="9" height="9"/></svg>',
    "no size": f'<svg xmlns="http://www.w3.org/2000/svg">{SQUARE}</svg>',
    "empty view box": f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1e30 1e30">{SQUARE}</svg>',
    "a view box too narrow": f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1000">{SQUARE}</svg>',
    "no shapes": OPEN + "<g/></svg>",
    "nested too deeply": OPEN + "<g>" * 5000 + SQUARE + "</g>" * 5000 + "</svg>",
    "nested too deeply: its references": url_chain(30),
    "more than 10000 shapes": OPEN + '<path d="M0 0h9"/>' * 10_001 + "</svg>",
    "larger than 4 MB": OPEN + f"<desc>{'x' * 4_000_000}</desc></svg>",
    "all but blank": OPEN + '<path fill="#fff" d="M0 0h9v9z"/></svg>',
    "<feTurbulence> of more": OPEN + f'<filter id="f"><feTurbulence numOctaves="9999"/></filter>{SQUARE}</svg>',
    "a pattern far larger": OPEN
    + '<pattern id="p" width="90000" height="90000" patternUnits="userSpaceOnUse"><path d="M0 0h9"/></pattern>'
    + '<rect width="60" height="60" fill="url(#p)"/></svg>',
}


@pytest.mark.parametrize("reason", HOSTILE)
def test_hostile_and_empty_files_are_refused_with_a_reason_and_at_once(reason: str) -> None:
    begin = time.monotonic()
    with pytest.raises(Unusable, match="^" + re.escape(reason)):
        svg_process(HOSTILE[reason].encode(), 64)
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("data", [b"", b"\x1f\x8b", gzip.compress(b"<svg")[:-3], b"\xff\xfe<", b"\x00" * 99, b"GIF89a"])
def test_broken_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(Unusable, match=r"empty file|not well-formed"):
        svg_process(data, 64)


def test_a_gzip_bomb_is_refused_before_it_fills_memory() -> None:
    bomb = gzip.compress(b" " * 300_000_000)
    with pytest.raises(Unusable, match="larger than 4 MB"):
        read_document(bomb)


@pytest.mark.parametrize("side", [9_000, 20_000])
def test_a_picture_bomb_inside_is_refused(side: int) -> None:
    out = io.BytesIO()
    Image.new("1", (side, side)).save(out, "PNG")
    data = base64.b64encode(out.getvalue()).decode()
    with pytest.raises(Unusable, match="too many pixels"):
        parse(f'{OPEN}<image href="data:image/png;base64,{data}" width="9" height="9"/></svg>'.encode())


@pytest.mark.parametrize(
    "paint",
    [
        'href="file:///etc/passwd"',
        'fill="url(file:///etc/passwd)"',
        'style="fill:url(http://a/b#c)"',
        'filter="url(x.svg#f)"',
    ],
)
def test_outside_paint_servers_are_refused(paint: str) -> None:
    with pytest.raises(Unusable, match="another file"):
        parse((OPEN + f'<path {paint} d="M0 0h9v9z"/></svg>').encode())


def test_use_cannot_multiply_without_end() -> None:
    levels = "".join(f'<g id="l{k}">' + f'<use href="#l{k + 1}"/>' * 10 + "</g>" for k in range(12))
    with pytest.raises(Unusable, match=r"nested too deeply|more than"):
        parse((OPEN + levels + '<g id="l12"/></svg>').encode())
    with pytest.raises(Unusable, match=r"nested too deeply|more than"):
        parse((OPEN + '<g id="a"><use href="#a"/></g></svg>').encode())


def test_a_pattern_that_paints_itself_ends() -> None:
    loop = '<pattern id="p" width=".5" height=".5"><rect width="9" height="9" fill="url(#p)"/></pattern>'
    data = f'{OPEN}{loop}{SQUARE}<rect width="30" height="30" fill="url(#p)"/></svg>'.encode()
    assert svg_process(data, 64).faults() == []


def test_scripts_and_outside_parts_can_be_left_out_with_a_note(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9), "red").save(tmp_path / "secret.png")
    content = (
        f'<script>x()</script><style>@import "a.css";</style>'
        f'<image href="{tmp_path}/secret.png" width="72" height="72"/>'
        f'<g onclick="x()"><path d="M9 9h50v50h-50z" fill="#00f" stroke="url(a.svg#b)"/></g>'
    )
    art = parse((OPEN + content + "</svg>").encode(), limits=Limits(outside="leave_out"))
    process = scene_process([Placed(art)], 72)
    assert not (process.finished == (255, 0, 0)).all(axis=2).any()  # what lies on the disk is never drawn
    assert (process.finished[30, 30] == (0, 0, 255)).all()
    notes = process.extra["notes"]
    assert any("<script>" in note for note in notes)
    assert any("secret.png" in note for note in notes)
    assert any("style sheet" in note for note in notes)
    assert any("event attribute" in note for note in notes)


def test_a_local_picture_is_not_read_even_by_the_renderer(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9), "red").save(tmp_path / "secret.png")
    direct = f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="{tmp_path}/secret.png"/></svg>'
    assert (render(direct, 9) == (255, 0, 0)).all()  # the renderer itself would
    with pytest.raises(Unusable, match="another file"):
        parse(direct.encode())


def test_entities_of_plain_text_are_taken() -> None:
    names = '<!DOCTYPE svg [<!ENTITY s "http://www.w3.org/2000/svg"><!ENTITY c "#20a040">]>'
    data = f'{names}<svg xmlns="&s;" viewBox="0 0 72 72"><path fill="&c;" d="M9 9h50v50h-50z"/></svg>'
    for encoding in ("utf-8", "utf-16"):
        assert (svg_process(data.encode(encoding), 72).finished[30, 30] == (0x20, 0xA0, 0x40)).all()


def test_huge_numbers_are_drawn_or_refused_but_harm_nothing() -> None:
    odd = ['<circle r="1e38"/>', '<path d="M0 0L1e39 1e39z"/>', '<path d="M1 1h9" stroke="red" stroke-width="1e38"/>']
    odd += [
        '<path d="M0 0H1e9" stroke="#000" stroke-dasharray="1e-6"/>',
        '<g transform="scale(1e30)"><path d="M0 0h1"/></g>',
    ]
    for markup in odd:
        try:
            process = svg_process(f"{OPEN}{SQUARE}{markup}</svg>".encode(), 64)
        except Unusable:
            continue
        assert np.isfinite(process.finished).all()
        assert process.faults() == []
