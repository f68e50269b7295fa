"""Broken, hostile and huge layered files are refused with a reason, and nothing else happens."""

import struct
from pathlib import Path

import numpy as np
import pytest
from layered_making import PAINT, archive, item, kra, ora, png, psd_header, tile_data

from paintsundo.data.source import Canvas, Unusable
from paintsundo.data.sources.layered import LayeredSource, Options

FILES = Path(__file__).parent / "layered"
LAYER = '<layer src="data/a.png" name="a"/>'


def refused(data, name, reason, **options):
    source = LayeredSource(Options(**options))
    with pytest.raises(Unusable, match=reason):
        source.draw(item(data, name), Canvas(64), 0, 0)


def test_sound_ones_are_drawn():
    source = LayeredSource()
    assert source.draw(item(ora(LAYER), "a.ora"), Canvas(64), 0, 0).faults() == []
    assert source.draw(item(kra(PAINT), "a.kra"), Canvas(64), 0, 0).faults() == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\\\up.png", "data/../../x", "C:/x.png"])
def test_names_that_lead_out(name):
    refused(ora(f'<layer src="{name}" name="a"/>'), "a.ora", "leads out")
    refused(archive({"mimetype": "x", "stack.xml": "<image/>", name: b"x"}), "a.ora", "leads out")
    refused(kra(PAINT.replace("layer2", name)), "a.kra", "leads out|missing")


def test_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(archive({"stack.xml": "<image/>", "../escaped.png": png()}), "a.ora", "leads out")
    assert list(tmp_path.parent.glob("escaped*")) == []
    assert list(tmp_path.iterdir()) == []


def test_zip_bombs():
    refused(ora(LAYER, data__b=bytes(30 << 20)), "a.ora", "GiB", gigabytes=0.01)
    many = {f"data/{k}.png": b"x" for k in range(500)}
    refused(archive({"stack.xml": "<image/>", **many}), "a.ora", "members", layers=10)
    # the directory says less than what is inside
    data = bytearray(archive({"stack.xml": "<image/>" + " " * 50000}))
    place = data.rindex(b"PK\1\2")
    data[place + 24 : place + 28] = struct.pack("<I", 100)
    refused(bytes(data), "a.ora", "damaged|not as long|XML")


def test_pictures_that_grow():
    huge = bytearray(png(8, 8))
    huge[16:24] = struct.pack(">II", 100000, 100000)
    stack = '<layer src="data/b" name="b"/>'
    refused(ora(stack, data__b=bytes(huge)), "a.ora", "megapixels|unreadable")


@pytest.mark.parametrize(
    "xml",
    [
        '<!DOCTYPE a [<!ENTITY x "boom">]><image w="32" h="24"><stack>&x;</stack></image>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><image w="9" h="9"><stack name="&x;"/></image>',
        '<!DOCTYPE a [<!ENTITY a "x"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]><image>&c;</image>',
    ],
)
def test_entities(xml):
    refused(archive({"stack.xml": xml}), "a.ora", "entities")
    refused(archive({"maindoc.xml": xml}), "a.kra", "entities")


@pytest.mark.parametrize(
    ("size", "reason"), [((0, 24), "measures"), ((-5, 5), "measures"), ((10**6, 10**6), "megapixels")]
)
def test_absurd_sizes(size, reason):
    refused(ora(LAYER, size=size), "a.ora", reason)
    refused(kra(PAINT, size=size), "a.kra", reason)
    if min(size) >= 0:
        refused(psd_header(*size) + bytes(20), "a.psd", reason)


def test_numbers_that_are_none():
    refused(ora('<layer src="data/a.png" opacity="nan"/>'), "a.ora", "no number")
    refused(ora('<layer src="data/a.png" x="1e300"/>'), "a.ora", "no number")
    refused(kra(PAINT.replace('opacity="255"', 'opacity="many"')), "a.kra", "no number")


def test_groups_without_end():
    refused(ora("<stack>" * 5000 + LAYER + "</stack>" * 5000), "a.ora", "nested")
    refused(ora("<stack>" * 70 + LAYER + "</stack>" * 70), "a.ora", "nested")
    group = '<layer nodetype="grouplayer"><layers>'
    refused(kra(group * 3000 + PAINT + "</layers></layer>" * 3000), "a.kra", "nested")


def test_too_many_layers():
    refused(ora(LAYER * 60), "a.ora", "more than 50 layers", layers=50)
    refused(kra(PAINT * 60), "a.kra", "more than 50 layers", layers=50)


def test_layers_that_lie_far_away_cost_nothing():
    stack = LAYER + '<layer src="data/a.png" x="900000000" y="-900000000"/>'
    assert LayeredSource().draw(item(ora(stack), "a.ora"), Canvas(64), 0, 0).faults() == []


def test_a_clone_of_itself_and_of_its_group():
    clone = '<layer nodetype="clonelayer" name="c" uuid="c" clonefromuuid="{}" filename="x"/>'
    inside = f'<layer nodetype="grouplayer" uuid="g" name="g"><layers>{clone.format("g")}{PAINT}</layers></layer>'
    for layers in (PAINT + clone.format("c"), inside):
        refused(kra(layers), "a.kra", "clone")


@pytest.mark.parametrize("data", [b"", b"PK\3\4", b"nothing", b"8BPS", psd_header(10, 10)[:20], png()])
@pytest.mark.parametrize("suffix", [".ora", ".kra", ".psd", ".psb"])
def test_what_is_no_such_file(data, suffix):
    refused(data, f"a{suffix}", ".")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (psd_header(10, 10, 4, 8, 4), "CMYK"),
        (psd_header(10, 10, 3, 8, 9), "Lab"),
        (psd_header(10, 10, 3, 32, 3), "32 bits"),
        (psd_header(10, 10, 3, 8, 77), "colour mode 77"),
    ],
)
def test_colours_that_are_not_supported_are_named(header, reason):
    refused(header + bytes(40), "a.psd", reason)
    refused(kra(PAINT, space="CMYKA"), "a.kra", "colour space CMYKA")


def test_missing_parts():
    refused(ora('<layer src="data/missing.png"/>'), "a.ora", "missing")
    refused(archive({"mimetype": "x"}), "a.ora", "'stack.xml' is missing")
    refused(kra(PAINT.replace("layer2", "layer9")), "a.kra", "missing")
    refused(kra(PAINT, layer2=tile_data((1, 2, 3, 255))[:-50]), "a.kra", "damaged")
    refused(ora(""), "a.ora", "no layer|blank")


@pytest.mark.parametrize("name", ["gimp_nested.psd", "krita_nested.psd", "krita_drawing.kra", "krita_nested.ora"])
def test_damaged_files_never_raise_anything_else(name):
    data = (FILES / name).read_bytes()
    random = np.random.default_rng(len(name))
    source = LayeredSource(Options(megapixels=1.0, gigabytes=0.1, difference="mark"))
    reasons = []
    for trial in range(30):
        broken = bytearray(data)
        if trial % 3 == 0:
            broken = broken[: int(random.integers(0, len(data)))]
        else:
            count, reach = int(random.integers(1, 12)), len(data) if trial % 3 == 1 else min(3000, len(data))
            for place in random.integers(0, reach, count):
                broken[int(place)] = int(random.integers(0, 256))
        try:
            assert source.draw(item(bytes(broken), name), Canvas(32), 0, 0).faults() == []
        except Unusable as error:
            reasons.append(str(error))
    assert len(reasons) >= 6
    assert all(reason and "\n" not in reason for reason in reasons)


def test_encrypted_members():
    data = bytearray(ora(LAYER))
    for mark, offset in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        place = data.find(mark)
        while place >= 0:
            data[place + offset] |= 1
            place = data.find(mark, place + 4)
    refused(bytes(data), "a.ora", "encrypted")
