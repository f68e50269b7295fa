"""Pixel data of Krita files: tiles of 64 × 64 pixels, each packed with LZF channel by channel (version 2).

A file begins with lines of text (VERSION, TILEWIDTH, TILEHEIGHT, PIXELSIZE, DATA count); a tile is a line
`x,y,LZF,size` and `size` bytes, the first of which says whether the rest is packed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from paintsundo.data.layered.limits import Limits
from paintsundo.data.source import Unusable

FARTHEST = 1 << 22  # pixels from the corner of the canvas


def unpacked(data: bytes, size: int) -> bytes:
    """LZF data (M. Lehmann, liblzf) as exactly `size` bytes. Raises Unusable."""
    out = bytearray()
    at, end = 0, len(data)
    try:
        while at < end:
            control = data[at]
            at += 1
            if control < 32:
                out += data[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += data[at]
                at += 1
            back = ((control & 31) << 8) + data[at] + 1
            at += 1
            length += 2
            begin = len(out) - back
            if begin < 0 or len(out) + length > size:
                raise Unusable("a damaged tile")
            if back >= length:
                out += out[begin : begin + length]
            else:  # the copy overlaps what it writes
                out += (out[begin:] * (length // back + 1))[:length]
    except IndexError as error:
        raise Unusable("a damaged tile") from error
    if len(out) != size:
        raise Unusable("a damaged tile")
    return bytes(out)


def read_tiles(
    data: bytes, pixel_size: int, default: bytes, limits: Limits, around: tuple[int, int] | None = None
) -> tuple[int, int, NDArray[np.uint8]]:
    """Bytes of a paint device as (x, y, (h, w, pixel_size) uint8): the rectangle of tiles that it has.

    Pixels of tiles that are missing inside the rectangle have the `default` value. `around` (height, width): tiles
    wholly outside of a canvas of this size are left out. Raises Unusable.
    """
    header, at = _header(data)
    if header.get("VERSION") != 2:
        raise Unusable("a layer in an older tile format")
    width, height = header.get("TILEWIDTH", 0), header.get("TILEHEIGHT", 0)
    if header.get("PIXELSIZE") != pixel_size or not (0 < width <= 1024 and 0 < height <= 1024):
        raise Unusable("a layer whose tiles do not fit its colour space")
    if len(default) != pixel_size:
        raise Unusable("a layer whose default colour does not fit its colour space")
    tiles: dict[tuple[int, int], tuple[int, int]] = {}
    for _ in range(header.get("DATA", 0)):
        stop = data.find(b"\n", at, at + 64)
        parts = data[at:stop].split(b",") if stop > 0 else []
        if len(parts) != 4 or parts[2] != b"LZF":
            raise Unusable("a damaged list of tiles")
        try:
            x, y, length = int(parts[0]), int(parts[1]), int(parts[3])
        except ValueError as error:
            raise Unusable("a damaged list of tiles") from error
        at = stop + 1
        if length < 1 or at + length > len(data) or max(abs(x), abs(y)) > FARTHEST:
            raise Unusable("a damaged list of tiles")
        outside = around is not None and (x >= around[1] or y >= around[0] or x + width <= 0 or y + height <= 0)
        if not outside:
            tiles[y, x] = (at, length)
        at += length
    if not tiles:
        return 0, 0, np.zeros((0, 0, pixel_size), np.uint8)
    top, left = min(y for y, _ in tiles), min(x for _, x in tiles)
    bottom, right = max(y for y, _ in tiles) + height, max(x for _, x in tiles) + width
    limits.check_size(right - left, bottom - top, "a layer")
    found = np.empty((bottom - top, right - left, pixel_size), np.uint8)
    found[:] = np.frombuffer(default, np.uint8)
    for (y, x), (begin, length) in tiles.items():
        tile = _tile(data[begin : begin + length], (height, width, pixel_size))
        found[y - top : y - top + height, x - left : x - left + width] = tile
    return left, top, found


def _tile(data: bytes, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """One tile's pixels: packed ones are planar, others lie pixel by pixel."""
    height, width, depth = shape
    size = height * width * depth
    if data[0] == 1:
        return np.frombuffer(unpacked(data[1:], size), np.uint8).reshape(depth, height, width).transpose(1, 2, 0)
    if data[0] != 0 or len(data) != size + 1:
        raise Unusable("a damaged tile")
    return np.frombuffer(data, np.uint8, offset=1).reshape(shape)


def _header(data: bytes) -> tuple[dict[str, int], int]:
    found: dict[str, int] = {}
    at = 0
    while "DATA" not in found:
        stop = data.find(b"\n", at, at + 64)
        name, _, value = data[at:stop].partition(b" ") if stop > 0 else (b"", b"", b"")
        if not value.isdigit() or len(found) > 8:
            raise Unusable("a layer in an unknown format")
        found[name.decode("latin-1")] = int(value)
        at = stop + 1
    return found, at
