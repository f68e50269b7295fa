"""Uploaded bytes → a checked picture. Nothing is ever fetched: a visitor sends a picture, not its address."""

from __future__ import annotations

import io
import re
import secrets
import threading
import unicodedata
import warnings
from pathlib import Path

from PIL import Image

from paintsundo.app.options import LimitOptions
from paintsundo.conditioning.images import open_picture
from paintsundo.conditioning.picture_file import FORMATS
from paintsundo.errors import UserError

NAME_LENGTH = 80
# A large picture needs several times its own memory while it is converted.
_AT_ONCE = threading.Semaphore(2)
_SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif", "JPEG2000": "jp2", "PPM": "ppm"}


class Upload:
    """A picture that was uploaded and can be used.

    Attributes:
        data: the file as it was sent.
        image: the picture, RGB.
        suffix: of its file name, by what it is, not by what it was called.
    """

    def __init__(self, data: bytes, image: Image.Image, suffix: str) -> None:
        self.data = data
        self.image = image
        self.suffix = suffix


def read_upload(upload: bytes | Image.Image, limits: LimitOptions, folder: Path) -> Upload:
    """Check an upload and decode it, the size before anything else.

    Args:
        upload: a picture file; or a picture, which is then kept as a lossless PNG.
        folder: where the file lies while it is read.

    Raises:
        UserError: too many bytes or pixels, no picture, damaged.
    """
    data = upload if isinstance(upload, bytes) else _as_png(upload)
    if not data:
        raise UserError("the picture is empty: choose a picture file")
    if len(data) > limits.picture_mib * 2**20:
        raise UserError(f"the picture has more than {limits.picture_mib:g} MiB: choose a smaller one")
    with _AT_ONCE:  # an icon is decoded as soon as it is opened
        kind = _kind(data, limits.picture_pixels)
    suffix = _SUFFIXES.get(kind, kind.lower())
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{secrets.token_hex(8)}.{suffix}"
    try:
        file.write_bytes(data)
        with _AT_ONCE:
            image = open_picture(file)
    except UserError as error:
        raise UserError(str(error).replace(str(file), "the picture")) from None
    finally:
        file.unlink(missing_ok=True)
    return Upload(data, image, suffix)


def _kind(data: bytes, most_pixels: int) -> str:
    """What kind of picture it says it is, its size checked before it is decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.init()
            with Image.open(io.BytesIO(data), formats=[kind for kind in FORMATS if kind in Image.OPEN]) as image:
                width, height, kind = image.width, image.height, str(image.format)
    except Image.DecompressionBombError:
        raise UserError(f"the picture has more than {most_pixels / 10**6:g} million pixels") from None
    except Image.UnidentifiedImageError:
        raise UserError("this file is not a picture of a known kind: PNG, JPEG, WebP and others are") from None
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception:  # decoders raise anything on a damaged header
        raise UserError("the picture is damaged and cannot be read") from None
    if width * height > most_pixels:
        raise UserError(
            f"the picture has {width}x{height} pixels, more than {most_pixels / 10**6:g} million: choose a smaller one"
        )
    return kind


def _as_png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def display_name(name: str, otherwise: str = "picture") -> str:
    """What to call an upload: the last part of its name, printable, short. For showing, never for a path."""
    return display_text(re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1], otherwise)


def display_text(text: str, otherwise: str = "") -> str:
    """A name that somebody typed: printable, short, in one line."""
    # Marks that turn the direction of writing make one name look like another.
    letters = unicodedata.normalize("NFC", text)
    kept = "".join(letter for letter in letters if letter.isprintable() and unicodedata.category(letter) != "Cf")
    return kept.strip(". ")[:NAME_LENGTH].strip() or otherwise
