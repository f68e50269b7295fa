import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from drawn_dataset import write_dataset
from drawn_processes import as_frames, two_shapes
from PIL import Image, ImageDraw, ImageFont

from paintsundo.data.__main__ import main
from paintsundo.data.behaviours import Behaviour, BehaviourOptions, apply
from paintsundo.data.report import bands
from paintsundo.data.report.contact_sheet import CAPTION, GAP, HEAD, STRIP, caption, contact_sheet
from paintsundo.data.report.process_film import PANEL, film_frames, write_film
from paintsundo.errors import UserError


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("pictures") / "set")


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[k : k + 2], 16) for k in (1, 3, 5))


def test_contact_sheets_show_states_in_their_proportions() -> None:
    process = two_shapes(64, 96)
    sheet = np.asarray(contact_sheet([process, two_shapes(96, 64)], states=5, side=96))
    assert sheet.shape == (HEAD + 2 * (CAPTION + 96 + STRIP + GAP) + GAP, 5 * (96 + GAP) + GAP, 3)
    top, left = HEAD + GAP + CAPTION + 16, GAP + 4 * (96 + GAP)
    np.testing.assert_array_equal(sheet[top : top + 64, left : left + 96], process.finished)
    middle = GAP + 2 * (96 + GAP)
    np.testing.assert_array_equal(sheet[top : top + 64, middle : middle + 96], process.state(0.5))


def test_contact_sheets_have_bands_in_the_colours_of_the_stages() -> None:
    sheet = np.asarray(contact_sheet([two_shapes()], states=6, side=40))
    row = HEAD + GAP + CAPTION + 40 + STRIP // 2
    found = [tuple(sheet[row, GAP + k * (40 + GAP) + 20].tolist()) for k in range(6)]
    names = ["sketch", "ink", "flats", "flats", "shading"]  # at work 0.2, 0.4 ... 1
    assert found == [rgb(bands.UNKNOWN), *(rgb(bands.COLOURS[name]) for name in names)]


def test_captions_tell_the_origin_and_are_cut_to_the_width() -> None:
    process = two_shapes(licence="CC0", author="Ann")
    assert caption(process) == "hand/shapes  ·  shapes  ·  CC0  ·  Ann  ·  4 stages"
    draw = ImageDraw.Draw(Image.new("RGB", (8, 8)))
    cut = bands.fitting(draw, "a long caption\nin two lines", 60)
    assert cut.startswith("a lon")
    assert cut.endswith("…")
    assert "\n" not in bands.fitting(draw, "a\nb", 60)
    assert bands.fitting(draw, "word", 2) == ""


def test_panels_show_the_stages_where_they_lie() -> None:
    process = two_shapes()
    width = 434
    image = np.asarray(bands.panel(process, np.linspace(0, 1, 101), width, 100))
    span = width - 8 - bands.AXIS
    for name, begin, end in process.spans():
        for work in (begin + 0.01, end - 0.01):
            assert tuple(image[2, bands.AXIS + round(work * span)].tolist()) == rgb(bands.COLOURS[name])


def test_panels_draw_the_operation_step_over_the_states_of_a_recording() -> None:
    process = as_frames(two_shapes(), 40)
    image = np.asarray(bands.panel(process, process.works, 434, 100)).astype(int)
    ink = np.abs(image - rgb(bands.STEP_INK)).max(axis=2) < 30
    top, bottom = bands.BAND + bands.GAP + 6, 92
    for share in (0.1, 0.5, 0.9):
        column = bands.AXIS + round(share * (434 - 8 - bands.AXIS))
        work = np.interp(share, np.linspace(0, 1, len(process)), process.works)
        expected = bottom - (bottom - top) * (1 - work)
        rows = np.flatnonzero(ink[top - 2 :, column]) + top - 2
        assert np.abs(rows - expected).min() <= 2


def test_operations_done_at_once_are_marked() -> None:
    flipped = apply(two_shapes(), BehaviourOptions(flip=Behaviour(1)), 1)
    (record,) = flipped.extra["behaviours"]
    image = np.asarray(bands.panel(flipped, np.linspace(0, 1, 500), 1042, 100))
    column = bands.AXIS + round(record["end"] * 1000)
    assert (image[bands.BAND + 2, column - 2 : column + 3] < 40).all(axis=1).any()


def test_unknown_stages_have_colours_of_their_own() -> None:
    assert bands.colour("flats") == bands.COLOURS["flats"]
    assert bands.colour("something else") == bands.colour("something else") in bands.OTHERS


def test_films_go_from_the_blank_canvas_to_the_finished_picture() -> None:
    process = two_shapes(64, 96)
    frames = list(film_frames(process, frames=7, side=333))
    assert len(frames) == 7
    assert all(frame.shape == (222 + PANEL, 334, 3) for frame in frames)
    assert (frames[0][:222, :333] == 255).all()
    expected = np.asarray(Image.fromarray(process.finished).resize((333, 222), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(frames[-1][:222, :333], expected)
    assert any((a != b).any() for a, b in pairwise(frame[222:] for frame in frames))  # the cursor moves


def test_films_of_recordings_show_each_state_once() -> None:
    process = as_frames(two_shapes(), 12)
    assert len(list(film_frames(process, frames=150))) == len(process)
    assert len(list(film_frames(process, frames=5))) == 5


def test_films_are_written_as_h264(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    process = two_shapes(licence="CC0")
    assert write_film(process, tmp_path / "film.mp4", frames=10, fps=5, side=320) == 15
    with av.open(str(tmp_path / "film.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate) == 5
        assert container.metadata["copyright"] == "CC0"
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(pictures) == 15
    last = list(film_frames(process, 10, 320))[-1]
    assert np.abs(pictures[-1].astype(int) - last).mean() < 3


def test_missing_av_is_one_clear_line(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match="pip install av"):
        write_film(two_shapes(), tmp_path / "film.mp4")
    assert main(["show", f"data={dataset}", f"output={tmp_path / 'x.mp4'}"]) == 2
    assert "PyAV" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_show_command_writes_sheets_and_films(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("av")
    sheet, film = tmp_path / "sheet (1).png", tmp_path / "été.mp4"
    assert main(["show", f"data={dataset}", f"output={sheet}", "count=2", "first=3", "states=4", "side=64"]) == 0
    assert Image.open(sheet).size == (4 * 66 + 2, HEAD + 2 * (CAPTION + 64 + STRIP + GAP) + GAP)
    assert "2 processes" in capsys.readouterr().out
    assert main(["show", f"data={dataset}", f"output={film}", "first=4", "fps=12.5", "side=320"]) == 0
    assert film.stat().st_size > 1000
    before = sheet.read_bytes()
    for wrong, said in (
        ([f"output={sheet}"], "exists already"),
        ([f"output={tmp_path / 'a.gif'}"], "choose a name that ends in"),
        ([f"output={tmp_path / 'a.png'}", "first=5"], "has no process number 5"),
        ([f"output={tmp_path / 'a.png'}", "split=test"], "holds no test samples"),
        ([f"output={tmp_path / 'a.png'}", "states=1"], "at least 2"),
        ([f"output={tmp_path / 'a.png'}", "captions=maybe"], "choose true or false"),
        ([f"output={tmp_path / 'a.mp4'}", "count=3"], "a film shows one process"),
        ([f"output={tmp_path / 'a.mp4'}", "fps=0"], "choose 0.1 to 240"),
        ([f"output={tmp_path / 'no' / 'a.png'}"], "is no folder"),
        ([], "output=FILE"),
    ):
        capsys.readouterr()
        assert main(["show", f"data={dataset}", *wrong]) == 2, wrong
        assert said in capsys.readouterr().err
    assert sheet.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([sheet.name, film.name])
    assert main(["show", f"data={dataset}", f"output={sheet}", "split=validation", "overwrite=true"]) == 0
    assert sheet.read_bytes() != before


def test_damaged_processes_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_dataset(tmp_path / "set")
    shard = folder / "00000.tar"
    content = bytearray(shard.read_bytes())
    at = content.index(b"\x89PNG")
    content[at + 20 : at + 300] = bytes(280)
    shard.write_bytes(content)
    assert main(["show", f"data={folder}", f"output={tmp_path / 'a.png'}"]) == 2
    assert "process 0 (00000.tar/0000000) cannot be decoded" in capsys.readouterr().err


def test_captions_in_other_scripts_take_an_installed_font(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    own = ImageFont.load_default(12)

    def installed(name: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        asked.append(name)
        if name != bands.FONTS[1]:
            raise OSError("cannot open resource")
        return own

    monkeypatch.setattr(ImageFont, "load_default", lambda size: own)
    bands._of_many_scripts.cache_clear()
    monkeypatch.setattr(ImageFont, "truetype", installed)
    draw = ImageDraw.Draw(Image.new("RGB", (300, 20)))
    assert bands.fitting(draw, "kanjivg/05e03 · plain…", 300) == "kanjivg/05e03 · plain…"
    assert asked == []
    assert bands.fitting(draw, "Gru\u0308neberg · 布", 300) == "Grüneberg · 布"
    assert asked == list(bands.FONTS[:2])
    monkeypatch.setattr(bands, "FONTS", ())
    bands._of_many_scripts.cache_clear()
    assert bands.font(11, "布") is not None  # none is installed
    bands._of_many_scripts.cache_clear()
