import io
import json
import tarfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paintsundo.data import inputs
from paintsundo.data.art import fetch_art, minified, shrunk
from paintsundo.data.art_sets import Subjects, _licences, _photos, keeps_variant
from paintsundo.data.splits import is_reserved
from paintsundo.data.svg_art import UnusableArt
from paintsundo.errors import UserError


def npm_package(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


@pytest.fixture
def downloads(tmp_path: Path, inked: bytes, shaded: bytes) -> Path:
    folder = tmp_path / "downloads"
    folder.mkdir()
    codes = {"1F600": "grinning face", "1F44B": "waving hand", "1F44B-1F3FB": "waving hand: light skin tone"}
    entries = [
        {
            "hexcode": code,
            "annotation": name,
            "subgroups": "face-smiling",
            "group": "people-body",
            "tags": "happy, smile",
            "skintone": "1" if "skin" in name else "",
            "openmoji_author": "A. Author",
        }
        for code, name in codes.items()
    ]
    art = {f"color/svg/{code}.svg": inked.replace(b"#EA5A47", f"#EA5A{k:02d}".encode()) for k, code in enumerate(codes)}
    # further subjects, some of them reserved
    art |= {f"color/svg/CAT{k}.svg": inked.replace(b"36", b"35", k) for k in range(1, 6)}
    npm_package(folder / "openmoji-17.0.0.tgz", {"data/openmoji.json": json.dumps(entries).encode(), **art})
    body = shaded.split(b">", 1)[1].rsplit(b"</svg>", 1)[0].decode()
    icons = {"grinning-face": {"body": body}, "old": {"body": body, "hidden": True}}
    noto = {"prefix": "noto", "icons": icons, "width": 72, "height": 72}
    chars = {"1f600": "grinning-face"}
    npm_package(
        folder / "iconify-json-noto-1.2.9.tgz",
        {"icons.json": json.dumps(noto).encode(), "chars.json": json.dumps(chars).encode()},
    )
    return folder


def test_sets_are_packed_with_records_and_reserved_files_apart(downloads: Path, tmp_path: Path) -> None:
    output = tmp_path / "pack"
    manifest = fetch_art(output, downloads, ["openmoji", "noto"])
    assert manifest["sets"]["openmoji"]["licence"] == "CC BY-SA 4.0"
    assert manifest["sets"]["openmoji"]["reserved"] == 2  # cat3 and cat5
    assert json.loads((output / "manifest.json").read_text()) == manifest
    items = {item.record["source"]: item for item in inputs.read_items(output, {".svg"})}
    reserved = {name for name, item in items.items() if item.split == "test"}
    assert reserved == {"openmoji/CAT3", "openmoji/CAT5"}
    face = items["openmoji/1F600"]
    assert face.record["author"] == "A. Author"
    assert "grinning face" in face.record["tags"]
    assert items["noto/grinning-face"].record["subject"] == face.record["subject"] == "1F600"
    assert items["noto/grinning-face"].split == face.split
    assert "noto/old" not in items
    again = tmp_path / "again"
    fetch_art(again, downloads, ["openmoji", "noto"])
    for path in output.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_unknown_sets_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown set twemoji"):
        fetch_art(tmp_path, None, ["twemoji"])


def test_few_skin_tone_variants_are_kept() -> None:
    tones = ["1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"]
    kept = [tone for tone in tones if keeps_variant(f"1F44B-{tone}", "1F44B")]
    assert len(kept) == 1
    names = ["light", "medium-light", "medium", "medium-dark", "dark"]
    same = [name for name in names if keeps_variant(f"waving-hand-{name}-skin-tone", "1F44B")]
    assert [tones.index(kept[0])] == [names.index(same[0])]
    assert len(same) == 1
    assert keeps_variant("1F44B", "1F44B")
    assert not keeps_variant("1F9D1-1F3FB-200D-1F91D-200D-1F9D1-1F3FD", "1F9D1")


def test_vector_files_are_cut_down_to_what_is_drawn(shaded: bytes) -> None:
    spread = shaded.replace(b'viewBox="0 0 72 72"', b'viewBox="-200 -200 400 400"')
    small = minified(spread.replace(b"<defs>", b"<title>words</title><metadata>more</metadata><defs>"))
    assert b"words" not in small
    assert b"metadata" not in small
    assert inputs_box(small) < 120  # the empty canvas around it is gone
    with pytest.raises(UnusableArt, match="few"):
        minified(shaded, least=50)


def inputs_box(data: bytes) -> float:
    return float(data.split(b'viewBox="')[1].split(b'"')[0].split()[2])


def test_pictures_become_small_jpegs() -> None:
    out = io.BytesIO()
    Image.fromarray(np.zeros((700, 1400, 4), np.uint8)).save(out, "PNG")
    small = Image.open(io.BytesIO(shrunk(out.getvalue())))
    assert (small.format, small.size) == ("JPEG", (512, 256))
    assert np.asarray(small).min() > 250  # transparent: white
    with pytest.raises(UnusableArt, match="unreadable"):
        shrunk(b"nothing")


def test_pictures_carry_their_own_licence_and_not_the_packaging_s(tmp_path: Path) -> None:
    documents = tmp_path / "usr/share/doc/walls"
    documents.mkdir(parents=True)
    (documents / "copyright").write_text(
        "Format: x\n\nFiles: 16.04/Dune.jpg\n       16.04/Sea*.jpg\nCopyright: 2021, One\n           2022, Two\n"
        "License: CC-BY-4.0\n\nFiles: 16.04/Secret.jpg\nCopyright: X\nLicense: proprietary\n\n"
        "Files: debian/*\nCopyright: 2023, Packager\nLicense: Expat\n"
    )
    pictures = tmp_path / "usr/share/backgrounds"
    pictures.mkdir()
    for name in ("Dune.jpg", "Seaside.jpg", "Secret.jpg", "SandDune.jpg"):
        Image.new("RGB", (128, 128)).save(pictures / name)
    found = {
        art.stem: (art.licence, art.author) for art in _photos("CC-BY|Expat", "backgrounds/")(tmp_path, Subjects())
    }
    # a forbidden licence and a picture of which nothing is said are left out
    assert found == {"dune": ("CC-BY-4.0", "2021, One 2022, Two"), "seaside": ("CC-BY-4.0", "2021, One 2022, Two")}


def test_the_most_specific_licence_counts_where_all_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "copyright"
    path.write_text(
        "Files: *\nCopyright: 2014, All\nLicense: GPL-2+\n\n"
        "Files: nature/Dune.jpg\nCopyright: 2007, One\nLicense: CC0-1.0\n\n"
        "Files: debian/*\nCopyright: 2014, Packager\nLicense: Expat\n"
    )
    rules = _licences(path)

    def first(name: str) -> tuple[str, str]:
        return next((licence, holder) for pattern, licence, holder in rules if pattern.search(name))

    assert first("usr/share/nature/Dune.jpg") == ("CC0-1.0", "2007, One")
    assert first("usr/share/wallpapers/Other.png") == ("GPL-2+", "2014, All")
    assert first("debian/rules") == ("Expat", "2014, Packager")


def test_a_subject_of_tests_is_left_out_of_every_set(downloads: Path, tmp_path: Path, inked: bytes) -> None:
    """Fluent names what OpenMoji gives code points, here one that is reserved by their hash while its name is not."""
    names = (
        unicodedata.name(chr(code)).lower().replace(" ", "-")
        for code in range(0x1F601, 0x1F650)
        if is_reserved(f"{code:X}")
    )
    name = next(name for name in names if not is_reserved(name) and not is_reserved(f"{name}-default"))
    npm_package(
        downloads / "fluentui-emoji-1.3.0.tgz",
        {f"icons/flat/{stem}.svg": inked for stem in (name, f"{name}-default", "grinning-face")},
    )
    output = tmp_path / "pack"
    manifest = fetch_art(output, downloads, ["fluent-flat"])
    assert manifest["sets"]["fluent-flat"]["left_out"]["subject of tests"] == 2
    items = inputs.read_items(output, {".svg"})
    assert [item.record["subject"] for item in items] == ["1F600"]
