"""Characters: files of stroke order, how they are written, fetched and built."""

from __future__ import annotations

import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from paintsundo.data import inputs, shards
from paintsundo.data.art import fetch_art
from paintsundo.data.build import BuildSettings, build
from paintsundo.data.glyphs.reading import character_of, read
from paintsundo.data.inspection import faults_of
from paintsundo.data.process import DrawingProcess
from paintsundo.data.scene import render
from paintsundo.data.source import Canvas, Item, Unusable
from paintsundo.data.sources import source_class
from paintsundo.data.sources.glyphs import GlyphsSource, Options
from paintsundo.data.splits import RESERVED, is_reserved, is_test_subject
from paintsundo.errors import UserError

PATHS = ("M20,30c20,0 40,0 70,0", "M55,10c0,30 0,50 0,90", "M54,32c-5,30 -20,50 -40,62", "M57,32c5,30 20,50 40,62")


def kanji(paths: tuple[str, ...] = PATHS, group: str = "") -> bytes:
    """A tree (U+6728), its first two strokes a radical, in the form of KanjiVG's files."""
    lines = [f'<path id="s{k}" kvg:type="x" d="{path}"/>' for k, path in enumerate(paths, start=1)]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.0//EN" '
        '"http://www.w3.org/TR/2001/REC-SVG-20010904/DTD/svg10.dtd" [<!ATTLIST g kvg:element CDATA #IMPLIED>]>'
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 109 109"><g id="kvg:StrokePaths_06728">'
        f'<g kvg:element="木"{group}><g kvg:element="十" kvg:radical="general">{"".join(lines[:2])}</g>'
        f'{"".join(lines[2:])}</g></g><g id="kvg:StrokeNumbers_06728"><path d="M0,0 L5,5"/></g></svg>'
    ).encode()


def hanzi(**fields: object) -> bytes:
    """A cross of two bars, y upwards: the first from left to right, the second downwards."""
    found = {
        "strokes": ["M 100 450 L 900 450 L 900 350 L 100 350 Z", "M 450 850 L 550 850 L 550 0 L 450 0 Z"],
        "medians": [[[110, 400], [500, 400], [890, 400]], [[500, 840], [500, 10]]],
        "radStrokes": [1],
    }
    return json.dumps(found | fields).encode()


def draw(data: bytes, name: str = "06728.kvg", size: int = 96, seed: int = 0, **options: object) -> DrawingProcess:
    item = Item(name, data, {"subject": "6728", "source": f"kanjivg/{name}", "licence": "CC BY-SA 3.0", "author": "U"})
    return GlyphsSource(Options(**options)).draw(item, Canvas(size), 0, seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [64, 96, 129])
def test_the_last_state_is_the_direct_rendering_of_kanjivg(size: int) -> None:
    side = size * 0.8
    look = f'fill="none" stroke="#203040" stroke-width="{0.05 * size / side * 109}" stroke-linecap="round"'
    markup = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}"><g {look} stroke-linejoin="round" '
        f'transform="translate({size * 0.1} {size * 0.1}) scale({side / 109})">'
        + "".join(f'<path d="{path}"/>' for path in PATHS)
        + "</g></svg>"
    )
    process = draw(kanji(), size=size, margin=0.1, width=0.05, colour="#203040")
    assert process.faults() == []
    assert (process.finished == render(markup, size)).all()
    assert (process.state(0) == 255).all()


def test_the_last_state_is_the_direct_rendering_of_hanzi_writer() -> None:
    outlines = "".join(f'<path d="{path}"/>' for path in json.loads(hanzi())["strokes"])
    markup = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="100" height="100"><g fill="#202020" '
        f'transform="scale({100 / 1024}) translate(0 900) scale(1 -1)">{outlines}</g></svg>'
    )
    assert (draw(hanzi(), "十.json", 100, margin=0).finished == render(markup, 100)).all()


def ink(picture: np.ndarray) -> np.ndarray:
    return (picture < 128).all(axis=2)


@pytest.mark.parametrize("stages", [1, 2, 4])
@pytest.mark.parametrize(("data", "name"), [(kanji(), "06728.kvg"), (hanzi(), "十.json")])
def test_strokes_come_in_order_and_work_is_their_length(data: bytes, name: str, stages: int) -> None:
    process = draw(data, name, stages=stages, margin=0)
    glyph = read(data)
    lengths = np.array([np.hypot(*np.diff(stroke.line, axis=0).T).sum() for stroke in glyph.strokes])
    ends = np.cumsum(lengths) / lengths.sum()
    assert process.extra["stroke_ends"] == pytest.approx(ends, abs=0.01)
    assert len(process.spans()) == min(stages, len(lengths))
    assert all(np.abs(ends - span.end).min() < 0.01 for span in process.spans())
    begin = 0.0
    for number, (stroke, end) in enumerate(zip(glyph.strokes, ends, strict=True)):
        state = ink(process.state(begin + 0.6 * (end - begin)))
        points = stroke.line * 96
        steps = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
        for share, drawn in ((0.35, True), (0.85, False)):  # of this stroke
            x, y = (np.interp(share * steps[-1], steps, points[:, k]) for k in (0, 1))
            assert state[int(y), int(x)] == drawn, (number, share)
        last = points[-1] - 3 * (points[-1] - points[-2]) / np.hypot(*(points[-1] - points[-2]))
        assert not state[int(last[1]), int(last[0])]
        begin = end


def test_a_line_that_crosses_itself_is_written_at_its_first_pass() -> None:
    process = draw(kanji(("M20,50L90,50L90,90L55,90L55,10",)), margin=0, stages=1)
    ends = np.cumsum([70, 40, 35, 80]) / 225
    crossing = (int(50 / 109 * 96), int(55 / 109 * 96))
    assert ink(process.state(ends[0]))[crossing]
    assert (ink(process.state(0.99)) >= ink(process.state(ends[0]))).all()


def test_a_guide_is_drawn_first_and_stays() -> None:
    plain, guided = draw(kanji()), draw(kanji(), guide=True)
    first, *rest = guided.spans()
    assert (first.name, len(rest)) == ("guide", len(plain.spans()))
    grid = guided.state(first.end)
    assert (grid < 255).any()
    assert not ink(grid).any()
    assert (guided.finished[ink(plain.finished)] < 128).all()
    assert guided.faults() == []


def test_the_seed_varies_width_and_colour_a_little() -> None:
    assert (draw(kanji(), seed=1).finished == draw(kanji(), seed=2).finished).all()
    one, same, other = (draw(kanji(), seed=seed, vary=True) for seed in (1, 1, 2))
    assert shards.encode(one, split="train") == shards.encode(same, split="train")
    assert (one.finished != other.finished).any()
    areas = [ink(each.finished).sum() / ink(draw(kanji()).finished).sum() for each in (one, other)]
    assert all(0.7 < area < 1.4 for area in areas)
    assert len({tuple(each.finished.reshape(-1, 3).min(axis=0)) for each in (one, other)}) == 2


def test_the_record_says_what_is_known() -> None:
    process = draw(kanji())
    assert process.tags == ("glyph", "han character", "木", "4 strokes", "radical 十")
    assert (process.subject, process.licence, process.author) == ("6728", "CC BY-SA 3.0", "U")
    assert (process.extra["character"], process.extra["radical_strokes"]) == ("木", [0, 1])
    assert "length" in process.work_rule
    assert draw(hanzi(), "十.json").extra["radical_strokes"] == [1]
    assert "hiragana" in draw(kanji(), "0306f.kvg").tags
    assert [character_of(stem) for stem in ("永", "06c38", "0d800", "110000", "name")] == ["永", "永", "", "", ""]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "unreadable"),
        (b"<svg><path d='M0 0L9 9'/></svg>", "no file of KanjiVG"),
        (b'<!DOCTYPE svg [<!ENTITY a "b">]>' + kanji().split(b"]>", 1)[1], "entities"),
        (kanji(group=' transform="scale(9)"'), "transformed"),
        (kanji((PATHS[0], 'M0,0"')), "unreadable"),
        (kanji((PATHS[0], "url(x)")), "no path"),
        (kanji((PATHS[0], "M5,5")), "no length"),
        (kanji(("M20,20L20,20",)), "no length"),
        (kanji(("M20,30L900,30",)), "outside"),
        (kanji(("M20,30L9e999,30",)), "no length"),
        (kanji(PATHS * 40), "more than 128 strokes"),
        (b"{", "no strokes with medians"),
        (b'{"a":' + b"[" * 200_000, "no strokes with medians"),
        (hanzi(medians=[[[1, 2]]]), "differ in number"),
        (hanzi(medians=[[1, 2], [3, 4]]), "no row of points"),
        (hanzi(strokes=[], medians=[]), "0 strokes"),
        (hanzi(strokes=["M 0 0 L 9 9 Z", 7]), "no path"),
    ],
)
def test_what_is_no_stroke_order_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        draw(data)


@pytest.mark.parametrize(
    "options", [{"width": 0.0}, {"margin": 0.5}, {"stages": 12}, {"colour": "red"}, {"colour": "#ffffff"}]
)
def test_impossible_options_are_named(options: dict[str, object]) -> None:
    with pytest.raises(UserError, match=f"source.{next(iter(options))}="):
        GlyphsSource(Options(**options)).check()  # type: ignore[arg-type]


def test_the_preview_is_the_finished_picture() -> None:
    source = GlyphsSource()
    preview = source.preview(Item("06728.kvg", kanji(), {"subject": "6728", "source": "kanjivg"}), 96)
    assert preview is not None
    assert (preview == draw(kanji()).finished).all()


CHARACTERS = "".join(chr(code) for code in range(0x4E00, 0x4E60))


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    """Packages of both sets, and their licences."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    with zipfile.ZipFile(folder / "kanjivg-20260714-py3-none-any.whl", "w") as wheel:
        wheel.writestr("kanjivg-20260714.dist-info/licenses/COPYING", "share alike")
        for k, character in enumerate(CHARACTERS):
            data = kanji((f"M{20 + k / 10},30L90,30", *PATHS[1:]))
            wheel.writestr(f"kanji/{ord(character):05x}.svg", data)
            wheel.writestr(f"kanji/{ord(character):05x}-Kaisho.svg", data)
    unpacked = tmp_path / "package"
    unpacked.mkdir()
    (unpacked / "ARPHICPL.TXT").write_text("licence")
    (unpacked / "package.json").write_text("{}")
    for k, character in enumerate(CHARACTERS):
        (unpacked / f"{character}.json").write_bytes(hanzi(radStrokes=[], k=k))
    with tarfile.open(folder / "hanzi-writer-data-2.0.1.tgz", "w:gz") as archive:
        archive.add(unpacked, "package")
    return folder


@pytest.fixture
def art(downloads: Path, tmp_path: Path) -> Path:
    fetch_art(tmp_path / "art", downloads, ["kanjivg", "hanzi-writer"])
    return tmp_path / "art"


def test_both_sets_are_fetched_with_their_licences_and_one_split_a_character(art: Path) -> None:
    manifest = json.loads((art / "manifest.json").read_text())["sets"]
    assert manifest["kanjivg"]["licence"] == "CC BY-SA 3.0"
    assert manifest["hanzi-writer"]["licence"] == "Arphic Public License"
    with tarfile.open(art / "kanjivg.tar.xz") as archive:
        assert "COPYING" in archive.getnames()
    items = inputs.read_items(art, {".kvg", ".json"}, ["kanjivg", "hanzi-writer"])
    assert len(items) == sum(entry["files"] + entry["reserved"] for entry in manifest.values())
    splits: dict[str, set[str]] = {}
    for item in items:
        splits.setdefault(item.record["subject"], set()).add(item.split)
        assert item.record["licence"]
        assert item.record["author"]
    assert all(len(found - {RESERVED}) <= 1 for found in splits.values())
    assert set(CHARACTERS) - {chr(int(subject, 16)) for subject in splits} == {
        character
        for character in CHARACTERS
        if is_test_subject(character) and not is_reserved(character) and not is_reserved(f"{ord(character):05x}")
    }
    assert {"train", RESERVED} <= set.union(*splits.values())
    assert not list(art.glob("*reserved*")) or manifest["kanjivg"]["reserved"] > 0


def test_vector_art_does_not_take_characters(art: Path) -> None:
    with pytest.raises(UserError, match=r"holds no \.svg"):
        inputs.read_items(art, source_class("svg").suffixes)


def open_settings(art: Path, output: Path) -> BuildSettings:
    parts = OmegaConf.to_container(OmegaConf.load(Path(__file__).parents[2] / "configs" / "source" / "open.yaml"))
    assert isinstance(parts, dict)
    for part in parts["parts"]:
        part |= {"compositions": 3} if part["source"] == "svg" else {}
        part |= {"limit": 5} if part["source"] == "glyphs" else {}
    return BuildSettings(parts, str(art), str(output), size=64, workers=0)


def test_the_open_mix_builds_from_tiny_inputs(art: Path, tmp_path: Path, inked: bytes, shaded: bytes) -> None:
    (art / "face.svg").write_bytes(inked)
    (art / "hat.svg").write_bytes(shaded)
    levels = np.random.default_rng(0).integers(0, 255, (4, 4, 3), np.uint8)
    Image.fromarray(levels).resize((128, 128)).save(art / "photo.png")
    settings = open_settings(art, tmp_path / "set")
    settings.check()
    manifest = build(settings, progress=False)
    processes = list(shards.read_processes(tmp_path / "set"))
    assert len(processes) == manifest["samples"] >= 2 + 4 + 5
    assert sum("glyph" in process.tags for process in processes) == 5
    assert {"CC BY-SA 3.0", "Arphic Public License"} >= {p.licence for p in processes if "glyph" in p.tags} != set()
    assert list(faults_of(tmp_path / "set")) == []
