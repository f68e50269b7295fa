"""Reading a picture file of any kind into plain RGB."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps

from paintsundo.errors import UserError

MIN_SIDE = 8  # pixels
MAX_ASPECT = 10  # longer side : shorter side
MAX_PIXELS = 120_000_000  # the largest phone cameras; about 1 GB while it is converted

# What painters and cameras write. Left out of what Pillow knows: EPS and PDF, which start other programs, and
# scientific and icon formats.
FORMATS: tuple[str, ...] = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF", "JPEG2000")
FORMATS += ("TGA", "PPM", "PCX", "ICO", "PSD", "QOI", "SGI", "DDS")


def open_picture(path: str | os.PathLike[str]) -> Image.Image:
    """Read a picture file as RGB, 8 bits per channel.

    EXIF orientation is applied, transparency laid over white, 16-bit, floating-point, CMYK (by its own
    profile if it has one) and palette pictures converted; of an animation the first frame is taken.

    Raises:
        UserError: in one line with the file's name: missing, not a picture, damaged or truncated, a side
            under MIN_SIDE pixels, one side over MAX_ASPECT times the other, more than MAX_PIXELS pixels.
    """
    name = _printable(path)
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            # A pipe or device could be read for ever.
            raise UserError(f"{name}: {'a folder' if path.is_dir() else 'not a file'}, not a picture")
        with warnings.catch_warnings(), path.open("rb") as file:
            # Size is judged below; other warnings (odd EXIF, palette transparency) do not concern the user.
            warnings.simplefilter("ignore")
            return _read(file, name)
    except (UserError, MemoryError):
        raise
    except FileNotFoundError:
        raise UserError(f"{name}: no such file") from None
    except PermissionError:
        raise UserError(f"{name}: not allowed to read this file") from None
    except Image.DecompressionBombError:
        raise UserError(f"{name}: more than {MAX_PIXELS // 10**6} million pixels") from None
    except Image.UnidentifiedImageError:
        raise UserError(f"{name}: not a picture of a known kind") from None
    except Exception as error:  # decoders raise anything from OSError to struct.error on a damaged file
        raise UserError(f"{name}: damaged or truncated picture ({_one_line(error)})") from error


def _read(file: BinaryIO, name: str) -> Image.Image:
    Image.init()
    with Image.open(file, formats=[kind for kind in FORMATS if kind in Image.OPEN]) as image:
        _check_size(image.width, image.height, name)
        image.load()
        return to_rgb(image, in_place=True)


def to_rgb(image: Image.Image, in_place: bool = False) -> Image.Image:
    """A picture of any mode, converted as `open_picture` does; `in_place` may turn the given one upright."""
    # A broken orientation tag does not make the picture unreadable.
    with contextlib.suppress(Exception):
        image = ImageOps.exif_transpose(image, in_place=in_place) or image  # type: ignore[call-overload]
    rgb = _as_rgb(image)
    # What is saved later must not carry a foreign profile, comment or orientation.
    rgb.info = {}
    return rgb


def _check_size(width: int, height: int, name: str) -> None:
    short, long = min(width, height), max(width, height)
    if short < MIN_SIDE:
        raise UserError(f"{name}: {width}x{height} pixels is too small (each side at least {MIN_SIDE})")
    if long > MAX_ASPECT * short:
        raise UserError(f"{name}: {width}x{height} pixels is too long and narrow (at most {MAX_ASPECT}:1)")
    if width * height > MAX_PIXELS:
        raise UserError(f"{name}: {width}x{height} is more than {MAX_PIXELS // 10**6} million pixels")


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _deep_grey(image)
    if "A" in image.getbands() or "a" in image.mode or "transparency" in image.info:
        return _over_white(image.convert("RGBA"))
    if image.mode == "CMYK" and image.info.get("icc_profile"):
        # An unusable profile leaves the plain formula below.
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
            if converted is not None:
                return converted
    return image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=image.getchannel("A"))
    return white


def _deep_grey(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or floating point → RGB, by the range that its values show."""
    values = np.nan_to_num(np.asarray(image).astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    top = float(values.max())
    if image.mode.startswith("I;16"):
        full = 65535.0
    elif image.mode == "F" and top <= 1:
        full = 1.0
    else:
        full = 255.0 if top <= 255 else 65535.0 if top <= 65535 else top
    grey = np.clip(np.round(values * (255 / full)), 0, 255).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[np.asarray(image) == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _printable(path: str | os.PathLike[str]) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in os.fspath(path))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
