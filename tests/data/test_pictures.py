import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from paintsundo.data import segments
from paintsundo.data.pictures import ink_of, picture_process, read_picture
from paintsundo.data.report.change import changed_shares
from paintsundo.data.svg_art import UnusableArt


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    out = io.BytesIO()
    image.save(out, form)
    return out.getvalue()


def cartoon(size: int = 128) -> np.ndarray:
    image = Image.new("RGB", (4 * size, 4 * size), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((80, 80, 432, 432), fill=(250, 220, 60), outline=(10, 10, 10), width=16)
    draw.rectangle((200, 240, 312, 380), fill=(220, 60, 60), outline=(10, 10, 10), width=14)
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS))


def test_a_photograph_is_sketched_traced_blocked_in_and_finished(landscape: np.ndarray) -> None:
    process = picture_process(landscape)
    assert [stage.name for stage in process.stages] == ["sketch", "line", "flats", "details", "shading"]
    assert process.faults() == []
    assert (process.state(0) == 255).all()
    assert (process.finished == landscape).all()
    colours = [len(np.unique(stage.picture.reshape(-1, 3), axis=0)) for stage in process.stages[2:]]
    assert colours[0] <= 40
    assert colours[0] < colours[1] < colours[2]


def test_change_is_local_and_nothing_fades(landscape: np.ndarray) -> None:
    process = picture_process(landscape)
    assert changed_shares(process, 50).max() < 0.15
    film = process.film(np.linspace(0, 1, 101))
    assert (film[1:] != film[:-1]).any(axis=3).sum(axis=0).max() <= len(process.stages)


def test_outlined_pictures_are_inked_with_their_own_lines(landscape: np.ndarray) -> None:
    picture = cartoon()
    assert ink_of(landscape) is None
    found = ink_of(picture)
    assert found is not None
    lines, mask = found
    assert (picture[mask].max(axis=1) < 150).mean() > 0.97
    assert (lines[~mask].min(axis=1) > 100).mean() > 0.97
    process = picture_process(picture)
    names = [stage.name for stage in process.stages]
    assert names[:3] == ["sketch", "ink", "flats"]
    flats = process.stages[2].picture
    assert (flats[mask] == picture[mask]).all()  # the lines stay on top of the colours
    assert (process.finished == picture).all()


def test_the_same_picture_gives_the_same_process(landscape: np.ndarray) -> None:
    one, other = picture_process(landscape), picture_process(landscape.copy())
    assert all((a.reveal == b.reveal).all() for a, b in zip(one.stages, other.stages, strict=True))


def test_blank_pictures_are_refused() -> None:
    with pytest.raises(UnusableArt, match="blank"):
        picture_process(np.full((64, 64, 3), 255, np.uint8))


def test_one_colour_pictures_are_still_processes() -> None:
    process = picture_process(np.full((64, 64, 3), (20, 90, 200), np.uint8))
    assert process.faults() == []
    assert (process.finished == (20, 90, 200)).all()


def test_reading_squares_transparency_and_crops() -> None:
    ground = Image.fromarray(np.random.default_rng(0).integers(0, 200, (60, 90, 3), np.uint8))
    assert read_picture(encoded(ground), 64).shape == (64, 64, 3)
    clear = Image.new("RGBA", (80, 80), (255, 0, 0, 0))
    assert (read_picture(encoded(clear), 32) == 255).all()
    whole, part = read_picture(encoded(ground), 64), read_picture(encoded(ground), 64, 1)
    assert (part != whole).any()
    assert (part == read_picture(encoded(ground), 64, 1)).all()
    thing = Image.new("RGB", (120, 60), "white")
    ImageDraw.Draw(thing).rectangle((5, 5, 114, 54), fill=(200, 0, 0))
    square = read_picture(encoded(thing, "JPEG"), 64)
    assert (square[:10] > 245).all()  # completed with white, not cut
    assert (square[32, 5:58, 0] > 150).all()


@pytest.mark.parametrize("data", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"x" * 40])
def test_unreadable_pictures_are_refused(data: bytes) -> None:
    with pytest.raises(UnusableArt, match="unreadable"):
        read_picture(data, 64)


def test_deep_palette_and_cmyk_pictures_are_read() -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    deep = read_picture(encoded(Image.fromarray(ramp)), 64)
    assert abs(int(deep[32, 32, 0]) - ramp[32, 32] // 257) <= 3
    assert (deep[0] < 8).all()
    assert deep[-1].min() > 245 or deep[-2].min() > 245
    red = Image.new("RGB", (64, 64), (200, 30, 30))
    assert np.abs(read_picture(encoded(red.convert("P")), 32).astype(int) - (200, 30, 30)).max() < 30
    assert np.abs(read_picture(encoded(red.convert("CMYK"), "TIFF"), 32).astype(int) - (200, 30, 30)).max() < 30


def test_tiny_and_narrow_pictures_are_refused() -> None:
    for size in ((8, 8), (900, 40)):
        with pytest.raises(UnusableArt, match="small or too narrow"):
            read_picture(encoded(Image.new("RGB", size)), 64)


def test_lab_of_known_colours() -> None:
    colours = np.array([[[255, 255, 255], [255, 0, 0], [0, 0, 0]]], np.uint8)
    expected = [[100, 0, 0], [53.24, 80.09, 67.20], [0, 0, 0]]
    np.testing.assert_allclose(segments.lab(colours)[0], expected, atol=0.1)


def test_regions_are_connected_large_and_complete() -> None:
    picture = np.full((64, 64, 3), (200, 30, 30), np.uint8)
    picture[:, 32:] = (30, 30, 200)
    picture[10:12, 10:12] = (30, 200, 30)  # too small to be a region of its own
    parts = segments.regions(picture, 4, 0.01, 0.0)
    assert sorted(np.unique(parts)) == [1, 2]
    assert (parts[:, :32] == parts[0, 0]).all()
    flat = segments.flat_picture(picture, parts)
    assert (flat[:, 32:] == (30, 30, 200)).all()
