"""Krita's tiled pixel data: packing, planes, places, and damage."""

import numpy as np
import pytest

from paintsundo.data.layered.krita_tiles import read_tiles, unpacked
from paintsundo.data.layered.limits import Limits
from paintsundo.data.source import Unusable


def packed(data: bytes) -> bytes:
    """A small LZF compressor: greedy, with a table of the last place of three bytes."""
    out, literal, seen, at = bytearray(), bytearray(), {}, 0

    def flush():
        for k in range(0, len(literal), 32):
            part = literal[k : k + 32]
            out.append(len(part) - 1)
            out.extend(part)
        literal.clear()

    while at < len(data):
        key = data[at : at + 3]
        place = seen.get(key) if len(key) == 3 else None
        seen[key] = at
        if place is None or at - place > 8192:
            literal.append(data[at])
            at += 1
            continue
        length = 3
        while length < 264 and at + length < len(data) and data[place + length] == data[at + length]:
            length += 1
        flush()
        back = at - place - 1
        code = length - 2
        out += bytes([min(code, 7) << 5 | back >> 8])
        if code >= 7:
            out.append(code - 7)
        out.append(back & 255)
        at += length
    flush()
    return bytes(out)


def device(tiles: dict[tuple[int, int], np.ndarray], compress: bool = True) -> bytes:
    depth = next(iter(tiles.values())).shape[2]
    out = f"VERSION 2\nTILEWIDTH 64\nTILEHEIGHT 64\nPIXELSIZE {depth}\nDATA {len(tiles)}\n".encode()
    for (x, y), tile in tiles.items():
        body = b"\1" + packed(tile.transpose(2, 0, 1).tobytes()) if compress else b"\0" + tile.tobytes()
        out += f"{x},{y},LZF,{len(body)}\n".encode() + body
    return out


@pytest.mark.parametrize(
    "data",
    [b"a" * 5000, bytes(range(256)) * 20, b"abcabcabd" * 40 + b"x", b"x", np.random.default_rng(1).bytes(3000)],
)
def test_packed_bytes_come_back(data):
    assert unpacked(packed(data), len(data)) == data


@pytest.mark.parametrize("compress", [True, False])
def test_tiles_lie_where_they_say(compress):
    random = np.random.default_rng(2)
    tiles = {(x, y): random.integers(0, 40, (64, 64, 4), np.uint8) for x, y in ((-64, 0), (64, 64))}
    left, top, found = read_tiles(device(tiles, compress), 4, bytes([1, 2, 3, 4]), Limits())
    assert (left, top, found.shape) == (-64, 0, (128, 192, 4))
    assert np.array_equal(found[:64, :64], tiles[-64, 0])
    assert np.array_equal(found[64:, 128:], tiles[64, 64])
    assert (found[64:, :64] == [1, 2, 3, 4]).all()


def test_tiles_outside_the_canvas_are_left_out():
    tile = np.ones((64, 64, 1), np.uint8)
    _, _, found = read_tiles(device({(0, 0): tile, (6400, 0): tile}), 1, b"\0", Limits(), around=(64, 64))
    assert found.shape == (64, 64, 1)
    assert (
        read_tiles(b"VERSION 2\nTILEWIDTH 64\nTILEHEIGHT 64\nPIXELSIZE 4\nDATA 0\n", 4, bytes(4), Limits())[2].size == 0
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-7], "damaged"),
        (lambda data: data.replace(b"VERSION 2", b"VERSION 1"), "older"),
        (lambda data: data.replace(b"PIXELSIZE 4", b"PIXELSIZE 2"), "fit"),
        (lambda data: data.replace(b"DATA 1\n", b"DATA 900000\n"), "damaged"),
        (lambda data: data.replace(b"0,0,LZF", b"0,9999999999,LZF"), "damaged"),
        (lambda data: data.replace(b"LZF", b"XXX"), "damaged"),
        (lambda data: b"\0" * 100, "unknown"),
        (lambda data: data[:-300] + b"\xff" * 300, "damaged"),
    ],
)
def test_damage_is_refused(change, reason):
    tile = np.random.default_rng(3).integers(0, 255, (64, 64, 4), np.uint8)
    with pytest.raises(Unusable, match=reason):
        read_tiles(change(device({(0, 0): tile})), 4, bytes(4), Limits())


def test_tiles_far_apart_do_not_fill_the_memory():
    tile = np.zeros((64, 64, 4), np.uint8)
    with pytest.raises(Unusable, match="megapixels"):
        read_tiles(device({(0, 0): tile, (4000000, 4000000): tile}), 4, bytes(4), Limits())


def test_a_packed_tile_cannot_grow_beyond_its_size():
    bomb = b"\0a" + b"\xe0\xff\x00" * 2000
    with pytest.raises(Unusable, match="damaged"):
        unpacked(bomb, 1000)
