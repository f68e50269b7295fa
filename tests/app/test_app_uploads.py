"""Uploads: any picture becomes RGB, anything else one sentence, and nothing is ever fetched or left behind."""

import io
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile
from studios import png

from paintsundo.app.options import LimitOptions
from paintsundo.app.uploads import Upload, display_name, read_upload
from paintsundo.conditioning.images import open_picture
from paintsundo.errors import UserError
from tiny_models import drawing


def read(data: bytes | Image.Image, folder: Path, **limits: float) -> Upload:
    return read_upload(data, LimitOptions(**limits), folder / "uploads")


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width: int, height: int, data: bytes, extra: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp"), ("GIF", "gif"), ("BMP", "bmp"), ("TIFF", "tif")],
)
def test_every_kind_is_read_as_the_command_line_reads_it(kind: str, suffix: str, tmp_path: Path) -> None:
    data = saved(drawing(), kind)
    upload = read(data, tmp_path)
    file = tmp_path / f"picture.{suffix}"
    file.write_bytes(data)
    assert upload.suffix == suffix
    assert upload.data == data
    assert np.array_equal(np.asarray(upload.image), np.asarray(open_picture(file)))


def test_a_pasted_picture_is_kept_without_loss(tmp_path: Path) -> None:
    upload = read(drawing(), tmp_path)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(upload.data))), np.asarray(drawing()))


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    upload = read(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), tmp_path)
    assert upload.image.getpixel((3, 3)) == (255, 0, 0)


BOMB = png_of(30_000, 30_000, zlib.compress(b"\0" * 10_000))
LARGE = png_of(8_000, 8_000, zlib.compress(b"\0" * 8_000 * 24_001, 1))


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "empty"),
        (b"http://169.254.169.254/latest/meta-data/", "not a picture"),
        (b"file:///etc/passwd", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://x/'/></svg>", "not a picture"),
        (b"%PDF-1.4\n", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (b"<html><script>alert(1)</script></html>", "not a picture"),
        (b"GIF89a", "not a picture|damaged"),
        (b"\x89PNG\r\n\x1a\n", "not a picture|damaged"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 500, "not a picture|damaged"),
        (b"II*\0\x08\0\0\0\xff\xff" + b"\xff" * 400, "not a picture|damaged"),
        (BOMB, "million"),
        (LARGE, "8000x8000"),
        (png_of(200, 200, b"not zlib at all"), "damaged"),
        (png_of(0, 0, b""), "not a picture|damaged|small"),
        (png_of(4, 4, zlib.compress(b"\0" * 52)), "small"),
        (png_of(4000, 9, zlib.compress(b"\0" * 12_001 * 9)), "long and narrow"),
        (png()[:-200], "damaged"),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else "",
)
def test_what_is_no_usable_picture_is_one_sentence(data: bytes, part: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=part) as error:
        read(data, tmp_path)
    assert "\n" not in str(error.value)
    assert str(tmp_path) not in str(error.value)
    assert not list(tmp_path.rglob("*.*"))


def test_too_many_bytes_are_refused_before_they_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = png() + b"\0" * 2**20
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("was opened"))
    with pytest.raises(UserError, match="more than 1 MiB"):
        read(data, tmp_path, picture_mib=1)


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = png()
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(UserError, match="60x80"):
        read(data, tmp_path, picture_pixels=4799)


def test_a_bomb_in_a_text_chunk_does_not_unpack(tmp_path: Path) -> None:
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 200_000_000, 9))
    data = png_of(16, 16, zlib.compress(b"\0" * 49 * 16), text)
    with pytest.raises(UserError, match="damaged"):
        read(data, tmp_path)


def test_no_connection_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        pytest.fail("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    for text in ("http://127.0.0.1:1/x.png", "https://example.com/x.png", "//x/y.png", "data:image/png;base64,AAAA"):
        with pytest.raises(UserError):
            read(text.encode(), tmp_path)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a.png", "a.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\x.png", "x.png"),
        ("<img src=x onerror=alert(1)>.png", "<img src=x onerror=alert(1)>.png"),
        ("a\nb\0c\x1b[31m.png", "abc[31m.png"),
        ("\u202egnp.exe", "gnp.exe"),
        ("..", "picture"),
        ("", "picture"),
        ("x" * 500, "x" * 80),
        ("été.png", "été.png"),
    ],
)
def test_names_are_for_showing_alone(given: str, shown: str) -> None:
    assert display_name(given) == shown
