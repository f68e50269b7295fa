"""Pictures as a source: options, records, formats, and the look that the bundled models were trained on."""

import hashlib
import io

import cv2
import numpy as np
import pytest
import scipy
from PIL import Image

from paintsundo.data.painter import STYLES
from paintsundo.data.pictures import opened, read_canvas
from paintsundo.data.source import Canvas, Item, Unusable
from paintsundo.data.sources.pictures import Options, PicturesSource
from paintsundo.errors import UserError


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def item(picture: np.ndarray) -> Item:
    return Item(
        "scene.png", encoded(Image.fromarray(picture)), {"subject": "scene", "source": "test/scene", "licence": "CC0"}
    )


def digest(process: object) -> str:
    found = hashlib.sha256()
    for stage in process.stages:  # type: ignore[attr-defined]
        found.update(stage.name.encode() + stage.picture.tobytes() + stage.reveal.tobytes())
    return found.hexdigest()


def blocks() -> np.ndarray:
    """A picture of whole numbers only: the same on every machine."""
    ys, xs = np.mgrid[:128, :128]
    picture = np.full((128, 128, 3), (120, 170, 220), np.uint8)
    picture[ys > 70 + xs // 8] = (70, 130, 60)
    picture[(xs - 90) ** 2 + (ys - 34) ** 2 < 400] = (250, 220, 90)
    picture[50:110, 20:60] = (180, 60, 50)
    picture[..., 0] += ((xs * 7 + ys * 13) % 11).astype(np.uint8) // 2
    return picture


RECORDED_WITH = {"numpy": "2.4", "scipy": "1.17", "opencv": "5.0"}
REGIONS_DIGEST = "7421baf54b2b97c0a8fc6161d80f2ed3f6b32d0454497260bbf8f685291a14bf"


@pytest.mark.skipif(
    any(
        not version.startswith(RECORDED_WITH[name] + ".")
        for name, version in (("numpy", np.__version__), ("scipy", scipy.__version__), ("opencv", cv2.__version__))
    ),
    reason="recorded with other versions of the libraries",
)
def test_regions_are_drawn_as_the_bundled_models_saw_them() -> None:
    process = PicturesSource().draw(item(blocks()), Canvas(128), 0, 5)
    assert [stage.name for stage in process.stages] == ["sketch", "line", "flats", "details", "shading"]
    assert digest(process) == REGIONS_DIGEST


@pytest.mark.parametrize("style", ["regions", *STYLES, "mixed"])
def test_processes_say_how_they_were_made(style: str, landscape: np.ndarray) -> None:
    source = PicturesSource(Options(style=style))
    source.check()
    process = source.draw(item(landscape), Canvas(96), 0, 3)
    assert process.extra["style"] in ((style,) if style != "mixed" else STYLES)
    assert process.extra["stems"] == ["scene"]
    assert process.licence == "CC0"
    assert process.work_rule
    if style != "regions":
        assert process.extra["seed"][0] == 3
        assert "width of the brush" in process.work_rule
    assert digest(process) == digest(source.draw(item(landscape), Canvas(96), 0, 3))


def test_mixed_styles_differ_between_pictures_and_seeds(landscape: np.ndarray) -> None:
    source = PicturesSource(Options(style="mixed"))
    drawn = [source.draw(item(landscape), Canvas(32), 0, seed).extra["style"] for seed in range(8)]
    others = [source.draw(item(np.roll(landscape, k, 0)), Canvas(32), 0, 0).extra["style"] for k in range(1, 9)]
    assert len(set(drawn)) >= 2
    assert len(set(others)) >= 2


@pytest.mark.parametrize("style", ["regions", *STYLES])
def test_canvases_of_the_sources_proportions(style: str, landscape: np.ndarray) -> None:
    wide = item(np.concatenate([landscape, landscape[:, ::-1]], axis=1))
    process = PicturesSource(Options(style=style)).draw(wide, Canvas(96, "source"), 0, 0)
    assert process.size == (64, 136)
    assert process.faults() == []
    assert (process.finished == read_canvas(wide.read(), Canvas(96, "source"))).all()


def test_crops_are_parts_of_the_same_proportions(landscape: np.ndarray) -> None:
    wide = item(np.concatenate([landscape, landscape[:, ::-1]], axis=1))
    whole, part = (read_canvas(wide.read(), Canvas(96, "source"), crop) for crop in (0, 1))
    assert whole.shape == part.shape
    assert (whole != part).any()
    assert (part == read_canvas(wide.read(), Canvas(96, "source"), 1)).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (Options(style="oils"), "source.style=oils"),
        (Options(crops=0), "crops"),
        (Options(style_weights={"oils": 1.0}), "style_weights"),
        (Options(style_weights={"line": 0.0}), "style_weights"),
        (Options(work_shares={"sketch": 1.0}), "work_shares"),
    ],
)
def test_impossible_options(options: Options, said: str) -> None:
    with pytest.raises(UserError, match=said):
        PicturesSource(options).check()


def test_formats_come_out_as_they_are_seen() -> None:
    red = Image.new("RGB", (64, 48), (200, 30, 30))
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("lime", "blue")]
    moving = opened(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert moving.getpixel((5, 5)) == (0, 255, 0)  # the first frame
    keyed = encoded(red, "PNG", transparency=(200, 30, 30))  # one colour of an RGB picture is transparent
    assert opened(keyed).getpixel((5, 5)) == (255, 255, 255)
    real = Image.fromarray(np.full((48, 64), 0.5, np.float32))
    assert opened(encoded(real, "TIFF")).getpixel((5, 5)) == (128, 128, 128)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    assert opened(encoded(red, "JPEG", exif=exif)).size == (48, 64)


def test_large_photographs_are_read_quickly_and_alike() -> None:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8))
    data = encoded(small.resize((2400, 1800), Image.Resampling.BICUBIC), "JPEG", quality=92)
    assert opened(data, 300).width < 2400
    whole, quick = (read_canvas(data, Canvas(96), 0, quick).astype(int) for quick in (False, True))
    assert np.abs(whole - quick).max() <= 6
    assert np.abs(whole - quick).mean() < 1


def test_bombs_and_damage_have_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paintsundo.data.pictures.MOST_PIXELS", 10_000)
    with pytest.raises(Unusable, match=r"200 × 100 pixels"):
        opened(encoded(Image.new("RGB", (200, 100))))
    data = encoded(Image.effect_noise((90, 90), 80))
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(150):
        broken = bytearray(data[: rng.integers(20, len(data))])
        for place in rng.integers(8, len(broken), 6):
            broken[place] = rng.integers(256)
        try:  # anything but a picture or a reason fails the test
            opened(bytes(broken))
        except Unusable:
            refused += 1
    assert refused > 100
