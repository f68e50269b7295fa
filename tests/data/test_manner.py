"""The manner of a process is a tag, and files may be drawn in other manners than their own."""

import numpy as np
import pytest

from paintsundo.data.manner import BLOCKED_IN, LINES_FIRST, MANNERS, WITHOUT_LINES, manner_of
from paintsundo.data.source import Canvas, Item
from paintsundo.data.sources.pictures import PicturesSource
from paintsundo.data.sources.svg import Options, SvgSource
from paintsundo.errors import UserError

INKED = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">'
    b'<circle cx="50" cy="50" r="35" fill="#fa3" stroke="#000" stroke-width="4"/>'
    b'<rect x="20" y="60" width="60" height="20" fill="#36c"/></svg>'
)
BARE = INKED.replace(b' stroke="#000" stroke-width="4"', b"")


def item(content, name="face.svg"):
    return Item(name, content, {"subject": "face", "source": "s", "tags": ["x"]})


@pytest.mark.parametrize(("content", "manner"), [(INKED, LINES_FIRST), (BARE, WITHOUT_LINES)])
def test_vector_art_is_told_apart_by_its_lines(content, manner):
    process = SvgSource().draw(item(content), Canvas(96), 0, 0)
    assert manner_of(process) == manner
    assert process.tags == ("x", manner)


def test_some_files_are_painted_in_another_manner_towards_the_same_picture():
    own, painted = SvgSource(), SvgSource(Options(painted=1.0))
    seen = set()
    for seed in range(8):
        process = painted.draw(item(INKED), Canvas(96), 0, seed)
        np.testing.assert_array_equal(process.finished, own.draw(item(INKED), Canvas(96), 0, seed).finished)
        seen.add(process.tags[-1])
    assert seen == {BLOCKED_IN, WITHOUT_LINES}


def test_the_share_of_painted_files_is_kept():
    source = SvgSource(Options(painted=0.5))
    manners = [source.draw(item(INKED), Canvas(32), 0, seed).tags[-1] for seed in range(40)]
    assert 8 <= manners.count(LINES_FIRST) <= 32


def test_pictures_carry_the_style_they_are_painted_in(tmp_path):
    rng = np.random.default_rng(0)
    from PIL import Image

    file = tmp_path / "p.png"
    Image.fromarray(np.kron(rng.integers(0, 255, (8, 8, 3), np.uint8), np.ones((16, 16, 1), np.uint8))).save(file)
    for style, manner in zip(("line", "painting", "lineless"), MANNERS, strict=True):
        source = PicturesSource(PicturesSource.Options(style=style))
        assert source.draw(item(file.read_bytes(), "p.png"), Canvas(96), 0, 0).tags[-1] == manner


def test_an_impossible_share_is_refused():
    with pytest.raises(UserError, match="painted"):
        SvgSource(Options(painted=2)).check()
