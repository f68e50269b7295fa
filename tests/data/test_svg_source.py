"""Vector art as a source of data sets: its options, canvases, compositions."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from paintsundo.data.source import Canvas, Item, Unusable
from paintsundo.data.sources.svg import Options, SvgSource
from paintsundo.data.svg import Sketch
from paintsundo.errors import UserError

ROOT = Path(__file__).parents[2]


def item(data: bytes, name: str = "a/face.svg") -> Item:
    return Item(name, data, {"subject": "face", "source": "set/face", "licence": "CC0", "author": "A", "tags": ["x"]})


def test_the_configuration_says_the_defaults() -> None:
    written = OmegaConf.to_container(OmegaConf.load(ROOT / "configs/source/svg.yaml"))
    assert written.pop("name") == "svg"
    assert written == asdict(Options())


def test_drawing_is_pure_and_carries_its_origin(inked: bytes) -> None:
    source = SvgSource()
    source.check()
    one, other = (source.draw(item(inked), Canvas(96), 0, seed) for seed in (0, 7))
    assert one.subject == "face"
    assert (one.licence, one.author, one.tags) == ("CC0", "A", ("x", "lines first"))
    assert one.work_rule
    assert [stage.name for stage in one.stages] == [span.name for span in one.spans()]
    for first, second in zip(one.stages, other.stages, strict=True):
        assert (first.reveal == second.reveal).all()
        assert (first.picture == second.picture).all()


def test_a_canvas_of_the_source_s_proportions(wide: bytes) -> None:
    process = SvgSource().draw(item(wide), Canvas(96, "source"), 0, 0)
    assert process.size == (64, 136)  # 2 to 1 but for whole multiples of 8
    assert (process.finished[:12] != 255).any()  # no margin above as on a square
    assert process.faults() == []


def test_previews_are_small_finished_pictures(wide: bytes) -> None:
    preview = SvgSource().preview(item(wide), 64)
    assert preview is not None
    assert preview.shape == (48, 88, 3)
    assert (preview == (192, 64, 64)).all(axis=2).any()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"stages": []}, "stages"),
        ({"stages": ["glow"]}, "stages"),
        ({"order": "random"}, "order"),
        ({"outside": "read"}, "outside"),
        ({"fonts": "/no/such/font.ttf"}, "fonts"),
        ({"megabytes": 0}, "megabytes"),
        ({"sketch": Sketch(colour="blau")}, "colour"),
        ({"sketch": Sketch(width=0)}, "width"),
        ({"work_shares": {"sketch": 1.0}}, "work_shares"),
    ],
)
def test_impossible_options_are_named(options: dict, word: str) -> None:
    with pytest.raises(UserError, match=word):
        SvgSource(Options(**options)).check()


def test_options_reach_the_drawing(inked: bytes, shaded: bytes) -> None:
    def stages(**options: object) -> list[str]:
        return [stage.name for stage in SvgSource(Options(**options)).draw(item(inked), Canvas(64), 0, 0).stages]

    assert stages() == ["sketch", "ink", "flats"]
    assert stages(stages=["flats", "ink", "details"]) == ["ink", "flats"]
    scripted = inked.replace(b"</svg>", b"<script>x()</script></svg>")
    with pytest.raises(Unusable, match="script"):
        SvgSource().draw(item(scripted), Canvas(64), 0, 0)
    process = SvgSource(Options(outside="leave_out")).draw(item(scripted), Canvas(64), 0, 0)
    assert process.extra["notes"] == ["left out: holds <script>"]
    assert process.extra["stems"] == ["face"]
    with pytest.raises(Unusable, match="more than 2 shapes"):
        SvgSource(Options(shapes=2)).draw(item(shaded), Canvas(64), 0, 0)


def test_compositions_leave_unusable_elements_out(inked: bytes, shaded: bytes) -> None:
    source = SvgSource()
    items = [item(inked), item(b"<svg", "b.svg"), item(shaded, "c.svg")]
    process = source.compose(items, Canvas(96), 3)
    assert process.extra["stems"] == ["face", "c"]
    assert np.array_equal(process.finished, source.compose(items, Canvas(96), 3).finished)
    with pytest.raises(Unusable, match="no usable element"):
        source.compose(items[1:2], Canvas(96), 3)
