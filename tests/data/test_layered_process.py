"""Layered documents as processes: stages, their order, hidden sketches, the last state."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from layered_making import PAINT, archive, item, kra, ora, png
from PIL import Image

from paintsundo.data import shards
from paintsundo.data.layered.document import Group, Layer, Pixels
from paintsundo.data.layered.limits import Limits
from paintsundo.data.layered.opening import opened
from paintsundo.data.layered.ordering import Rules, is_line_work
from paintsundo.data.layered.rules import KRITA
from paintsundo.data.layered.shrink import place, weights
from paintsundo.data.layered.words import STAGES, WORDS
from paintsundo.data.source import Canvas, Item, Unusable
from paintsundo.data.sources.layered import LayeredSource, Options
from paintsundo.errors import UserError

FILES = Path(__file__).parent / "layered"
DRAWING = FILES / "krita_drawing.kra"
NOTHING = np.zeros((64, 64, 4), np.uint8)


def drawn(path, canvas=None, **options):
    source = LayeredSource(Options(**options))
    source.check()
    return source.draw(Item(path.name, path, {"subject": "art", "source": "set/art"}), canvas or Canvas(128), 0, 0)


@pytest.fixture(scope="module")
def process():
    return drawn(DRAWING)


def test_is_sound_and_begins_blank(process):
    assert process.faults() == []
    assert (process.state(0) == 255).all()
    assert process.subject == "art"
    assert process.extra["program"] == "Krita"


def test_ends_with_the_programs_own_picture(process):
    with DRAWING.open("rb") as stream:
        picture = opened(stream, DRAWING.name, Limits()).picture
    height = round(128 * 64 / 96)
    placement = place(picture.shape[:2], (128, 128), "pad")
    assert placement.inner == (height, 128)
    expected = np.round(placement.shrunk(picture.astype(np.float32))).clip(0, 255).astype(np.uint8)
    top = (128 - height) // 2
    assert np.array_equal(process.finished[top : top + height], expected)
    assert (process.finished[:top] == 255).all()
    assert (process.finished[top + height :] == 255).all()


def test_layers_are_drawn_by_stage_not_by_depth(process):
    assert [span.name for span in process.spans()] == ["sketch", "line", "line", "flats", "flats", "shading", "effects"]
    names = [layer["name"] for layer in process.extra["layers"]]
    assert names == ["ラフ", "線画", "ラフ", "paper", "塗り", "影", "glow"]
    assert process.extra["layers"][0]["rule"] == "name 'ラフ'"


def test_hidden_sketches_come_and_go(process):
    gone = process.spans()[2]
    before, after = process.state(gone.begin), process.state(gone.end)
    assert (after >= before).all()  # dark lines are taken away
    assert (after > before).any(axis=2).mean() > 0.01
    skipped = drawn(DRAWING, hidden_sketches="skip")
    assert "sketch" not in [span.name for span in skipped.spans()]
    assert np.array_equal(skipped.finished, process.finished)


def test_lines_are_drawn_stroke_by_stroke(process):
    line = process.spans()[1]
    shares = []
    for share in (0.25, 0.5, 0.75):
        now = process.state(line.begin + share * (line.end - line.begin))
        new = (now != process.state(line.begin)).any(axis=2)
        whole = (process.state(line.end) != process.state(line.begin)).any(axis=2)
        shares.append(new.sum() / whole.sum())
        ys, xs = np.nonzero(new ^ whole)
        rest = np.zeros_like(whole)
        rest[ys, xs] = True
        assert not (rest & new).any()
    assert np.allclose(shares, (0.25, 0.5, 0.75), atol=0.05)


def test_is_pure(process):
    assert shards.encode(drawn(DRAWING)) == shards.encode(process)


def test_survives_a_shard(process):
    again = shards.decode(shards.encode(process))
    assert np.array_equal(again.state(0.5), process.state(0.5))
    json.dumps(dict(again.extra))


def test_canvas_of_the_files_proportions_and_cropped():
    wide = drawn(DRAWING, Canvas(128, "source"))
    assert wide.size == Canvas(128, "source").dimensions(96, 64)
    cropped = drawn(DRAWING, fit="crop")
    assert cropped.size == (128, 128)
    assert not (cropped.finished[:10] == 255).all()


def test_many_layers_share_stages():
    stack = "".join(
        f'<layer src="data/a.png" name="{k}" x="{k % 8 * 30}" y="{k // 8 * 20}" opacity="0.9"/>' for k in range(80)
    )
    data = ora(stack, (256, 256))
    few = LayeredSource(Options(stages=10)).draw(item(data, "a.ora"), Canvas(128), 0, 0)
    many = LayeredSource(Options(stages=200)).draw(item(data, "a.ora"), Canvas(128), 0, 0)
    assert len(few.stages) <= 10
    assert len(many.stages) == 80
    assert few.faults() == many.faults() == []
    assert np.array_equal(few.finished, many.finished)
    half = [np.abs(one.state(0.5).astype(int) - one.finished).mean() for one in (few, many)]
    assert half[0] == pytest.approx(half[1], rel=0.1)


def picture_of(colour, alpha=255, size=(32, 24)):
    return png(*size, colour=(*colour, alpha))


def test_a_picture_that_is_not_the_programs_is_refused_or_marked():
    other = picture_of((10, 200, 30))
    data = ora('<layer src="data/a.png" name="a"/>', mergedimage="")
    data = archive(
        {
            "stack.xml": '<image w="32" h="24"><stack><layer src="a.png" name="a"/></stack></image>',
            "a.png": png(),
            "mergedimage.png": other,
        }
    )
    with pytest.raises(Unusable, match="agrees with the file's own on 0 %"):
        LayeredSource().draw(item(data, "a.ora"), Canvas(64), 0, 0)
    marked = LayeredSource(Options(difference="mark")).draw(item(data, "a.ora"), Canvas(64), 0, 0)
    assert marked.extra["agreement"] == 0
    assert marked.faults() == []
    middle = marked.finished[32, 32]
    assert middle.tolist() == [10, 200, 30]
    assert marked.spans()[-1].name == "effects"
    assert marked.state(marked.spans()[-1].begin)[32, 32].tolist() == [200, 40, 40]


def test_unsupported_features_without_a_picture_to_compare_are_refused():
    filtered = '<layer nodetype="adjustmentlayer" name="invert" filename="layer9" visible="1"/>'
    with pytest.raises(Unusable, match="filter layer 'invert'"):
        LayeredSource().draw(item(kra(filtered + PAINT), "a.kra"), Canvas(64), 0, 0)
    hidden = filtered.replace('visible="1"', 'visible="0"')
    assert LayeredSource().draw(item(kra(hidden + PAINT), "a.kra"), Canvas(64), 0, 0).extra["unsupported"] == []


def test_preview_is_the_picture_in_the_file():
    found = LayeredSource().preview(Item("a.kra", DRAWING, {}), 48)
    assert found.shape == (32, 48, 3)
    with DRAWING.open("rb") as stream:
        picture = Image.fromarray(opened(stream, "a.kra", Limits()).picture).resize((48, 32), Image.Resampling.BOX)
    assert np.abs(found.astype(int) - np.asarray(picture)).mean() < 2


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("Sketch 2", "sketch"),
        ("rough draft", "sketch"),
        ("下描き", "sketch"),
        ("草稿", "sketch"),
        ("스케치", "sketch"),
        ("esquisse", "sketch"),
        ("Набросок", "sketch"),
        ("Lineart", "line"),
        ("INK", "line"),
        ("主線", "line"),
        ("线稿", "line"),
        ("선화", "line"),
        ("Encrage visage", "line"),
        ("flats", "flats"),
        ("Base Colors", "flats"),
        ("肌の塗り", "flats"),
        ("底色", "flats"),
        ("Hintergrund", "flats"),
        ("hair shadow", "shading"),
        ("肌の影", "shading"),
        ("Ombre portée", "shading"),
        ("тени", "shading"),
        ("ハイライト", "light"),
        ("rim light", "light"),
        ("高光", "light"),
        ("グラデ", "effects"),
        ("FX", "effects"),
        ("Layer 12", None),
        ("airline", None),
        ("レイヤー 3", None),
    ],
)
def test_names_in_several_languages(name, stage):
    assert Rules(STAGES, WORDS).of_name(name) == stage


def one(name="Layer 1", mode="normal", pixels=None):
    return Layer(name, lambda: pixels or Pixels(0, 0, NOTHING), blend=KRITA[mode])


def test_rules_in_their_order():
    rules = Rules(STAGES, WORDS)
    root, lines = Group("root", ()), Group("線", ())
    assert rules.stage(one(), (root, lines), NOTHING).stage == "line"
    assert rules.stage(one("shadow"), (root, lines), NOTHING).stage == "shading"
    assert rules.stage(one(mode="multiply"), (root,), NOTHING).stage == "shading"
    assert rules.stage(one(mode="add"), (root,), NOTHING).stage == "light"
    assert rules.stage(one(), (root, Group("g", (), blend=KRITA["screen"])), NOTHING).stage == "light"
    assert rules.stage(one(), (root,), NOTHING).stage == "flats"
    assert "no other rule" in rules.stage(one(), (root,), NOTHING).rule
    assert Rules(("line", "paint"), {"paint": ("blob",)}).stage(one("Blob"), (root,), NOTHING).stage == "paint"


def test_line_work_is_thin_sparse_and_dark():
    look = NOTHING.copy()
    look[10:12, 5:60] = (20, 20, 20, 255)
    assert is_line_work(look)
    light = look.copy()
    light[10:12, 5:60, :3] = 240
    thick = NOTHING.copy()
    thick[10:30, 5:60] = (20, 20, 20, 255)
    assert not is_line_work(light)
    assert not is_line_work(thick)
    assert not is_line_work(NOTHING)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("hidden_sketches", "maybe"),
        ("difference", "ignore"),
        ("fit", "stretch"),
        ("order", []),
        ("order", ["line", "line"]),
        ("names", {"unknown": ["x"]}),
        ("stages", 0),
        ("megapixels", -1.0),
    ],
)
def test_impossible_options(option, value):
    with pytest.raises(UserError, match=rf"source\.{option}"):
        LayeredSource(Options(**{option: value})).check()


@pytest.mark.parametrize(("count", "wanted"), [(100, 100), (100, 37), (37, 100), (5, 1), (1, 7)])
def test_resampling_keeps_means(count, wanted):
    matrix = weights(count, 0, count, wanted)
    assert matrix.shape == (wanted, count)
    assert np.allclose(matrix.sum(axis=1), 1, atol=1e-5)
    if wanted <= count:
        assert np.allclose(matrix.sum(axis=0), wanted / count, atol=1e-5)  # every pixel counts the same
    if wanted == count:
        assert np.allclose(matrix.toarray(), np.eye(count), atol=1e-6)


def test_colours_under_nothing_do_not_bleed():
    """A half covered pixel has the covering colour, whatever colour the transparent pixels store."""
    values = np.zeros((64, 64, 4), np.uint8)
    values[..., :3] = (0, 255, 0)
    values[:, :33] = (255, 0, 0, 255)
    out = io.BytesIO()
    Image.fromarray(values).save(out, "PNG")
    data = archive(
        {
            "stack.xml": '<image w="64" h="64"><stack><layer src="a.png" name="a"/></stack></image>',
            "a.png": out.getvalue(),
        }
    )
    process = LayeredSource().draw(item(data, "a.ora"), Canvas(32), 0, 0)
    assert process.finished[5, 16].tolist() == [255, 128, 128]
