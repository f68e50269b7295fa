"""Whatever a file is made of, its process ends in the renderer's own picture of it."""

import base64
import io
import re

import numpy as np
import pytest
import resvg_py
from PIL import Image

from paintsundo.data.process import DONE, NEVER
from paintsundo.data.scene import Placed
from paintsundo.data.svg import Look, Sketch, scene_process, svg_process
from paintsundo.data.svg_fonts import font_options
from paintsundo.data.svg_reader import parse

OPEN = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 72 72">'
GROUND = '<rect x="6" y="40" width="60" height="26" fill="#7a3"/><circle cx="30" cy="40" r="18" fill="#c42"/>'


def a_picture() -> str:
    """A data reference."""
    out = io.BytesIO()
    ramp = np.linspace(0, 255, 24 * 24 * 3).reshape(24, 24, 3).astype(np.uint8)
    Image.fromarray(ramp).save(out, "PNG")
    return "data:;base64," + base64.b64encode(out.getvalue()).decode()


FEATURES = {
    "opacity": '<g opacity=".5"><rect x="20" y="20" width="30" height="30" fill="#24c" fill-opacity=".7"/></g>',
    "radial gradient": '<radialGradient id="g"><stop stop-color="#fff"/><stop offset="1" stop-color="#026"/>'
    '</radialGradient><circle cx="40" cy="30" r="20" fill="url(#g)"/>',
    "mask": '<mask id="m"><rect width="72" height="72" fill="#888"/></mask>'
    '<rect x="9" y="9" width="50" height="50" fill="#22a" mask="url(#m)"/>',
    "clip path in a clip path": '<clipPath id="a"><circle cx="36" cy="36" r="20"/></clipPath>'
    '<clipPath id="b" clip-path="url(#a)"><rect x="20" y="20" width="50" height="20"/></clipPath>'
    '<rect width="72" height="72" fill="#084" clip-path="url(#b)"/>',
    "pattern": '<pattern id="p" width="6" height="6" patternUnits="userSpaceOnUse"><circle cx="3" cy="3" r="2" '
    'fill="#822"/></pattern><rect x="9" y="9" width="50" height="30" fill="url(#p)"/>',
    "filters": '<filter id="f"><feGaussianBlur stdDeviation="2"/><feOffset dx="3" dy="3"/></filter>'
    '<rect x="9" y="9" width="40" height="40" fill="#848" filter="url(#f)"/>',
    "blending": '<circle cx="40" cy="44" r="20" fill="#59f" style="mix-blend-mode:multiply"/>',
    "use of a symbol": '<symbol id="s" viewBox="0 0 10 10"><path d="M0 0h10v10z" fill="#a0c"/></symbol>'
    '<use xlink:href="#s" x="10" y="8" width="40" height="20"/>',
    "use of a use": '<g id="a"><rect id="r" width="12" height="9" fill="#158"/></g><use id="u" href="#a" x="20"/>'
    '<use href="#u" y="20" transform="rotate(10)"/>',
    "nested svg": '<svg x="10%" y="8" width="40" height="20" viewBox="0 0 9 9" preserveAspectRatio="xMinYMax slice">'
    '<circle r="9" fill="#e80"/><rect width="40%" height="5" fill="#118"/></svg>',
    "switch": '<switch><foreignObject requiredExtensions="x"><p/></foreignObject><g systemLanguage="fr">'
    '<rect width="70" height="70"/></g><g><rect x="9" y="9" width="30" height="20" fill="#06c"/></g></switch>',
    "markers": '<marker id="t" markerWidth="5" markerHeight="5" refX="2" refY="2"><circle cx="2" cy="2" r="2" '
    'fill="#d06"/></marker><path d="M10 10L50 12L60 60" fill="none" stroke="#222" marker-mid="url(#t)" '
    'style="marker-end:url(#t)"/>',
    "picture": f'<image href="{a_picture()}" x="10" y="9" width="40" height="30" transform="rotate(5)"/>',
    "only a picture": f'<rect width="0" height="0"/><image href="{a_picture()}" width="72" height="72"/>',
    "style sheet": "<style><![CDATA[ .a{fill:#909} rect.a{fill:#0a9} #k{stroke:#400;stroke-width:3} "
    'g > path:first-child{fill:#f5a} ]]></style><rect id="k" class="a" x="12" y="9" width="30" height="20"/>'
    '<g><path d="M40 40h20v20z"/></g>',
    "strokes only": '<path d="M9 9C40 9 9 60 60 60" fill="none" stroke="#3a5" stroke-width="5" '
    'stroke-dasharray="9 4"/>',
    "text": '<text x="8" y="60" font-size="20" fill="#123">Wo<tspan fill="#b00" font-weight="bold">rd</tspan>s</text>',
    "text on a path": '<path id="q" d="M9 30q30-30 50 0" fill="none"/><text font-size="9">'
    '<textPath href="#q">along a path</textPath></text>',
    "currentColor": '<g color="#0a6"><path d="M9 9h30v30z" fill="currentColor"/></g>',
    "skew": '<g transform="skewX(20) scale(.8 1.2)"><rect x="9" y="9" width="30" height="30" fill="#56c"/></g>',
}


def direct(text: str, size: int) -> np.ndarray:
    """The file itself through the renderer."""
    sized = text.replace("<svg ", f'<svg width="{size}" height="{size}" ', 1)
    out = resvg_py.svg_to_bytes(svg_string=sized, background="#ffffff", **font_options("builtin"))
    return np.asarray(Image.open(io.BytesIO(bytes(out))).convert("RGB"))


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("ground", ["", GROUND])
def test_every_feature_ends_in_the_direct_rendering(name: str, ground: str) -> None:
    text = OPEN + ground + FEATURES[name] + "</svg>"
    process = svg_process(text.encode(), 144, fonts="builtin")
    assert process.faults() == []
    assert (process.finished == direct(text, 144)).all()
    assert (process.state(0) == 255).all()
    assert len(process.stages) >= 2


@pytest.mark.parametrize("aspect", ["none", "xMaxYMin meet", "xMidYMin slice"])
def test_aspect_ratios_of_the_root_are_kept(aspect: str) -> None:
    text = OPEN.replace('"0 0 72 72"', f'"0 0 72 40" preserveAspectRatio="{aspect}"') + GROUND + "</svg>"
    assert (svg_process(text.encode(), 96).finished == direct(text, 96)).all()


def test_numbers_are_taken_in_full_precision() -> None:
    box = "1.2345678 -0.98765432 744.0944882 1052.3622047"
    text = OPEN.replace("0 0 72 72", box) + f'<g transform="scale(9)">{GROUND}</g></svg>'
    assert (svg_process(text.encode(), 200).finished == direct(text, 200)).all()


def test_files_without_a_namespace_are_read() -> None:
    text = f'<svg viewBox="0 0 72 72">{GROUND}</svg>'
    assert (svg_process(text.encode(), 96).finished == direct(text, 96)).all()


def test_the_canvas_can_have_the_proportions_of_the_file() -> None:
    text = OPEN.replace("72 72", "72 36") + GROUND + "</svg>"
    process = scene_process([Placed(parse(text.encode()))], (88, 176))
    sized = text.replace("<svg ", '<svg width="176" height="88" ')
    out = resvg_py.svg_to_bytes(svg_string=sized, background="#ffffff")
    assert process.size == (88, 176)
    assert (process.finished == np.asarray(Image.open(io.BytesIO(bytes(out))).convert("RGB"))).all()


def test_text_without_fonts_is_said_to_be_missing() -> None:
    text = OPEN + GROUND + FEATURES["text"] + "</svg>"
    process = svg_process(text.encode(), 96)
    assert process.extra["notes"] == ["not drawn: text, for want of fonts"]
    assert "notes" not in svg_process(text.encode(), 96, fonts="builtin").extra


def test_missing_fonts_are_replaced_by_one_that_is_always_there() -> None:
    text = OPEN + '<text x="3" y="50" font-size="40" font-family="No Such Font">ab</text></svg>'
    for fonts in ("builtin", "system", font_options("builtin")["font_files"][0]):
        assert (svg_process(text.encode(), 96, fonts=fonts).finished < 128).any()


def distances(text: str, **options: object) -> np.ndarray:
    process = svg_process(text.encode(), 96, **options)
    film = np.stack([process.state_at_step(step) for step in range(999, -1, -1)])
    return np.abs(film.astype(np.int32) - process.finished).sum(axis=(1, 2, 3))


FACE = (
    '<circle cx="36" cy="36" r="30" fill="#fc2"/><circle cx="24" cy="30" r="7" fill="#fff"/>'
    '<circle cx="48" cy="30" r="7" fill="#fff"/><circle cx="24" cy="30" r="3" fill="#124"/>'
    '<path d="M20 46q16 14 32 0z" fill="#a12"/>'
)


def test_each_step_leads_towards_the_picture_unless_told_otherwise() -> None:
    text = OPEN + FACE + "</svg>"
    assert np.mean(np.diff(distances(text)) <= 0) >= 0.98
    other = np.diff(distances(text, look=Look(steady=False)))
    assert np.mean(other <= 0) < 0.97


def test_a_sketch_of_strokes_is_not_wiped_away_before_they_are_drawn() -> None:
    grid = "".join(f'<path d="M{k} 6V66M6 {k}H66" stroke="#777" stroke-width="4" fill="none"/>' for k in (20, 50))
    process = svg_process((OPEN + grid + "</svg>").encode(), 96)
    drawn = [(process.state(w) != 255).any(axis=2).sum() for w in np.linspace(0, 1, 60)]
    assert np.diff(drawn).min() >= 0


def test_a_line_is_drawn_along_its_length() -> None:
    process = svg_process((OPEN + FEATURES["strokes only"] + "</svg>").encode(), 144)
    last = process.stages[-1]
    seen = last.reveal != NEVER
    ys, xs = np.nonzero(seen)
    along = xs + ys  # the curve runs from the top left to the bottom right
    when = last.reveal[seen] / DONE
    assert len(process.stages) >= 2
    assert abs(np.corrcoef(along, when)[0, 1]) > 0.3


def test_stages_can_be_chosen_and_the_last_one_ends_with_the_picture() -> None:
    text = OPEN + FACE + FEATURES["radial gradient"] + "</svg>"
    for stages in (("ink", "flats", "details", "shading"), ("sketch", "shading"), ("sketch", "flats"), ("flats",)):
        process = svg_process(text.encode(), 96, look=Look(stages=stages))
        assert {stage.name for stage in process.stages} <= set(stages)
        assert (process.finished == direct(text, 96)).all()


def test_areas_can_be_painted_in_the_order_of_the_file() -> None:
    text = (
        OPEN + '<rect x="50" y="50" width="9" height="9" fill="#00f"/><rect width="40" height="40" fill="#f00"/></svg>'
    )
    for order, first in (("painter", (255, 0, 0)), ("file", (0, 0, 255))):
        process = svg_process(text.encode(), 72, look=Look(stages=("flats",), order=order))
        early = process.state(0.01)
        colours = {tuple(int(v) for v in colour) for colour in early[(early != 255).any(axis=2)]}
        assert colours == {first}


def test_the_look_of_the_sketch_is_adjustable() -> None:
    text = OPEN + '<rect x="9" y="9" width="50" height="50" fill="#000"/></svg>'
    look = Look(sketch=Sketch(colour="#ff0000", width=0.05))
    sketch = svg_process(text.encode(), 96, look=look).stages[0]
    assert sketch.name == "sketch"
    assert (sketch.picture == (255, 0, 0)).all(axis=2).any()
    thin = svg_process(text.encode(), 96).stages[0]
    assert (sketch.reveal != NEVER).sum() > 1.5 * (thin.reveal != NEVER).sum()


def test_texts_and_pictures_come_into_compositions() -> None:
    text = OPEN + GROUND + FEATURES["picture"] + FEATURES["use of a symbol"] + "</svg>"
    placed = [Placed(parse(text.encode(), f"e{k}"), (k / 2, 0.2, 0.5, 0.5)) for k in range(2)]
    process = scene_process(placed, 96)
    assert process.faults() == []
    alone = scene_process([Placed(parse(text.encode()))], 48).finished
    np.testing.assert_allclose(process.finished[19:67, :48].mean(axis=(0, 1)), alone.mean(axis=(0, 1)), atol=3)
    assert len(re.findall("e0s", placed[0].art.markup())) >= 1


def test_nothing_is_laid_in_darker_than_a_shadow_or_a_gradient_will_be() -> None:
    ramp = '<linearGradient id="g"><stop stop-color="#fff"/><stop offset="1" stop-color="#400"/></linearGradient>'
    shadow = '<path d="M8 60h56v5h-56z" fill="#000" opacity=".3"/>'
    body = '<rect x="8" y="8" width="56" height="50" fill="url(#g)" stroke="#000" stroke-width="2"/>'
    text = OPEN + ramp + shadow + body + "</svg>"
    process = svg_process(text.encode(), 144)
    canvas = np.min([process.state(span.end) for span in process.spans()], axis=0)
    assert canvas[126, 40].min() > 150  # the shadow is never ink
    steady, other = (np.diff(distances(text, look=Look(steady=steady))) for steady in (True, False))
    assert np.mean(steady <= 0) > 0.95 > np.mean(other <= 0)
    assert steady.clip(0).sum() < 0.5 * other.clip(0).sum()
