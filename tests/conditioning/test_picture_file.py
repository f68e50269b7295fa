"""Any file into open_picture: a sensible RGB picture or one clear line."""

import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from paintsundo.conditioning import open_picture
from paintsundo.conditioning.picture_file import MAX_PIXELS, to_rgb
from paintsundo.errors import UserError

WIDTH, HEIGHT = 48, 32


@pytest.fixture
def colours() -> np.ndarray:
    """uint8 (HEIGHT, WIDTH, 3): smooth, with no symmetry."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([x * 5, y * 7, 255 - x * 2 - y * 3], axis=-1).astype(np.uint8)


def opened(path) -> np.ndarray:
    picture = open_picture(path)
    assert picture.mode == "RGB"
    assert not picture.info
    return np.asarray(picture).astype(int)


def refusal(path) -> str:
    with pytest.raises(UserError) as raised:
        open_picture(path)
    message = str(raised.value)
    assert "\n" not in message
    assert os.path.basename(path) in message
    return message


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "tga", "ppm", "webp", "qoi", "pcx"])
def test_lossless_formats_come_back_exactly(tmp_path, colours, suffix):
    path = tmp_path / f"picture.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    try:
        Image.fromarray(colours).save(path, **options)
    except (KeyError, OSError, ValueError):
        pytest.skip(f"this Pillow cannot write {suffix}")
    assert np.array_equal(opened(path), colours)


@pytest.mark.parametrize("suffix", ["jpg", "avif", "jp2"])
def test_lossy_formats_come_back_nearly(tmp_path, colours, suffix):
    path = tmp_path / f"picture.{suffix}"
    try:
        Image.fromarray(colours).save(path, quality=95)
    except (KeyError, OSError, ValueError):
        pytest.skip(f"this Pillow cannot write {suffix}")
    assert np.abs(opened(path) - colours).mean() < 3


def test_the_suffix_does_not_matter(tmp_path, colours):
    path = tmp_path / "picture.txt"
    Image.fromarray(colours).save(path, format="PNG")
    assert np.array_equal(opened(path), colours)


@pytest.mark.parametrize("name", ["été (1).png", "a, b [c] {d}.png", "  .png", "名前.png", "a'b\"c.png"])
def test_names_are_taken_as_they_are(tmp_path, colours, name):
    Image.fromarray(colours).save(tmp_path / name)
    assert np.array_equal(opened(tmp_path / name), colours)
    assert np.array_equal(opened(str(tmp_path / name)), colours)


def test_transparency_is_laid_over_white(tmp_path, colours):
    alpha = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    alpha[:, 16:32] = 128
    alpha[:, 32:] = 255
    Image.fromarray(np.dstack([colours, alpha])).save(tmp_path / "rgba.png")
    picture = opened(tmp_path / "rgba.png")
    assert (picture[:, :16] == 255).all()
    half = colours[:, 16:32] * (128 / 255) + 255 * (127 / 255)
    assert np.abs(picture[:, 16:32] - half).max() <= 1
    assert np.array_equal(picture[:, 32:], colours[:, 32:])


def test_grey_with_alpha_is_laid_over_white(tmp_path):
    grey = Image.new("LA", (WIDTH, HEIGHT), (40, 0))
    grey.paste((40, 255), (0, 0, 24, HEIGHT))
    grey.save(tmp_path / "la.png")
    picture = opened(tmp_path / "la.png")
    assert (picture[:, :24] == 40).all()
    assert (picture[:, 24:] == 255).all()


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_becomes_rgb(tmp_path, colours, mode):
    grey = Image.fromarray(colours).convert(mode)
    grey.save(tmp_path / "grey.png")
    assert np.array_equal(opened(tmp_path / "grey.png"), np.asarray(grey.convert("RGB")))


def test_grey_with_a_transparent_value_is_laid_over_white(tmp_path):
    grey = Image.new("L", (WIDTH, HEIGHT), 7)
    grey.paste(99, (0, 0, 24, HEIGHT))
    grey.save(tmp_path / "trns.png", transparency=7)
    picture = opened(tmp_path / "trns.png")
    assert (picture[:, :24] == 99).all()
    assert (picture[:, 24:] == 255).all()


def test_a_palette_with_transparency_is_laid_over_white(tmp_path):
    palette = Image.new("P", (WIDTH, HEIGHT), 1)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.paste(0, (0, 0, 24, HEIGHT))
    palette.save(tmp_path / "palette.png", transparency=1)
    picture = opened(tmp_path / "palette.png")
    assert (picture[:, :24] == (10, 20, 30)).all()
    assert (picture[:, 24:] == 255).all()


def test_graded_palette_transparency(tmp_path):
    palette = Image.new("P", (WIDTH, HEIGHT), 1)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.save(tmp_path / "graded.png", transparency=bytes([255, 51]))
    expected = np.array([200, 100, 50]) * 0.2 + 255 * 0.8
    assert np.abs(opened(tmp_path / "graded.png") - expected).max() <= 1


def test_cmyk_without_a_profile(tmp_path):
    Image.new("CMYK", (WIDTH, HEIGHT), (255, 0, 0, 0)).save(tmp_path / "cyan.tiff")
    assert np.array_equal(opened(tmp_path / "cyan.tiff")[0, 0], [0, 255, 255])
    Image.new("CMYK", (WIDTH, HEIGHT), (0, 0, 0, 255)).save(tmp_path / "black.jpg", quality=95)
    assert opened(tmp_path / "black.jpg").max() < 8


@pytest.mark.parametrize("profile", ["broken", "srgb"])
def test_cmyk_with_an_unusable_profile_is_still_read(tmp_path, profile):
    """A profile of another colour space, or none at all behind the tag, falls back to the plain formula."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    icc = {"broken": b"not a profile", "srgb": srgb}[profile]
    Image.new("CMYK", (WIDTH, HEIGHT), (255, 0, 0, 0)).save(tmp_path / "cyan.tiff", icc_profile=icc)
    assert np.array_equal(opened(tmp_path / "cyan.tiff")[0, 0], [0, 255, 255])


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_16_bit_grey(tmp_path, suffix):
    ramp = np.linspace(0, 65535, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f"deep.{suffix}"), ramp)
    assert np.abs(opened(tmp_path / f"deep.{suffix}") - np.round(ramp / 257.0)[..., None]).max() <= 1


def test_dark_16_bit_grey_stays_dark(tmp_path):
    cv2.imwrite(str(tmp_path / "dark.png"), np.full((HEIGHT, WIDTH), 200, dtype=np.uint16))
    assert opened(tmp_path / "dark.png").max() <= 1


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour(tmp_path, colours, channels):
    deep = np.dstack([colours[..., ::-1], np.full((HEIGHT, WIDTH), 255, np.uint8)])[..., :channels]
    cv2.imwrite(str(tmp_path / "deep.png"), deep.astype(np.uint16) * 257)
    assert np.abs(opened(tmp_path / "deep.png") - colours).max() <= 1


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_floating_point_grey(tmp_path, top):
    ramp = np.linspace(0, top, WIDTH * HEIGHT, dtype=np.float32).reshape(HEIGHT, WIDTH)
    Image.fromarray(ramp).save(tmp_path / "float.tiff")
    assert np.abs(opened(tmp_path / "float.tiff") - np.round(ramp / top * 255)[..., None]).max() <= 1


def test_32_bit_integers(tmp_path):
    Image.fromarray(np.full((HEIGHT, WIDTH), 65535, dtype=np.int32)).save(tmp_path / "int.tiff")
    assert (opened(tmp_path / "int.tiff") == 255).all()


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "green", "blue")]
    for suffix in ("gif", "webp", "png"):
        options = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(tmp_path / f"film.{suffix}", save_all=True, append_images=frames[1:], duration=100, **options)
        assert (opened(tmp_path / f"film.{suffix}") == (255, 0, 0)).all()


def test_a_transparent_gif_is_laid_over_white(tmp_path):
    frame = Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0))
    frame.paste((255, 0, 0, 255), (0, 0, 24, HEIGHT))
    frame.save(tmp_path / "film.gif", save_all=True, append_images=[frame.rotate(180)])
    picture = opened(tmp_path / "film.gif")
    assert (picture[:, :24] == (255, 0, 0)).all()
    assert (picture[:, 24:] == 255).all()


TURNS = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, 3),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p, 1),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", ["png", "webp", "tiff"])
def test_exif_orientation_is_applied(tmp_path, colours, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(colours).save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(opened(path), TURNS[orientation](colours))


def test_pictures_in_memory_are_converted_alike_and_left_alone(tmp_path, colours):
    exif = Image.Exif()
    exif[0x0112] = 6
    rgba = Image.fromarray(np.dstack([colours, np.full((HEIGHT, WIDTH), 128, np.uint8)]))
    rgba.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as image:
        assert np.array_equal(np.asarray(to_rgb(image)), opened(tmp_path / "turned.png"))
        assert image.size == (WIDTH, HEIGHT)
        assert image.mode == "RGBA"
        assert image.getexif()[0x0112] == 6


def test_a_broken_exif_block_is_ignored(tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "exif.jpg", quality=95, exif=b"Exif\0\0II*\0\xff\xff\xff\x7fjunk")
    assert opened(tmp_path / "exif.jpg").shape == colours.shape


def test_text_named_png(tmp_path):
    (tmp_path / "text.png").write_text("This is no picture.\n" * 50)
    assert "not a picture" in refusal(tmp_path / "text.png")


def test_an_empty_file(tmp_path):
    (tmp_path / "empty.png").touch()
    assert "not a picture" in refusal(tmp_path / "empty.png")


def test_a_missing_file_and_a_folder(tmp_path):
    assert "no such file" in refusal(tmp_path / "missing.png")
    (tmp_path / "folder.png").mkdir()
    assert "a folder" in refusal(tmp_path / "folder.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_rather_than_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert "not a file" in refusal(tmp_path / "pipe.png")


def test_control_characters_in_a_name_do_not_break_the_line(tmp_path):
    with pytest.raises(UserError) as raised:
        open_picture(tmp_path / "two\nlines\x1b[31m.png")
    assert "two\\nlines\\x1b" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "tiff"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_truncated_files_are_told(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, format={"jpg": "JPEG"}.get(suffix, suffix.upper()))
    whole = buffer.getvalue()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(whole[: int(len(whole) * share)])
    message = refusal(path)
    assert "damaged or truncated" in message or "not a picture" in message


def test_random_damage_never_raises_anything_else(tmp_path, colours):
    """Bytes overwritten anywhere in the file: a picture, or a UserError."""
    random = np.random.default_rng(1)
    outcomes = set()
    for suffix in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"):
        buffer = io.BytesIO()
        Image.fromarray(colours).save(buffer, format=suffix)
        for _ in range(40):
            data = bytearray(buffer.getvalue())
            for position in random.integers(0, len(data), 6):
                data[position] = random.integers(0, 256)
            path = tmp_path / "damaged"
            path.write_bytes(data)
            try:
                outcomes.add(open_picture(path).mode)
            except UserError as error:
                outcomes.add(f"told in {len(str(error).splitlines())} line")
    assert outcomes == {"RGB", "told in 1 line"}


@pytest.mark.parametrize("size", [(1, 1), (7, 100), (100, 7)])
def test_pictures_of_next_to_no_pixels_are_refused(tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "small.png")
    assert f"{size[0]}x{size[1]} pixels is too small" in refusal(tmp_path / "small.png")


@pytest.mark.parametrize("size", [(20000, 100), (100, 20000), (89, 8)])
def test_strips_are_refused(tmp_path, size):
    Image.new("L", size).save(tmp_path / "strip.png")
    assert "too long and narrow" in refusal(tmp_path / "strip.png")


def test_the_smallest_and_narrowest_pictures_allowed(tmp_path):
    Image.new("RGB", (80, 8), "red").save(tmp_path / "strip.png")
    assert opened(tmp_path / "strip.png").shape == (8, 80, 3)


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises a picture of any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("side", [11000, 12000, 20000, 60000])
def test_decompression_bombs_are_refused_by_their_header(tmp_path, side):
    assert side**2 > MAX_PIXELS
    (tmp_path / "bomb.png").write_bytes(png_claiming(side, side))
    assert "million pixels" in refusal(tmp_path / "bomb.png")


def test_a_text_bomb_inside_a_png_is_refused(tmp_path):
    text = b"comment\0\0" + zlib.compress(b"a" * 80_000_000)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    plain = png_claiming(16, 16)
    (tmp_path / "text.png").write_bytes(plain[:33] + chunk + plain[33:])
    refusal(tmp_path / "text.png")


def test_postscript_is_not_run(tmp_path):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n"
    (tmp_path / "picture.eps").write_bytes(eps)
    assert "not a picture of a known kind" in refusal(tmp_path / "picture.eps")
