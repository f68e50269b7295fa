"""Layered files: read back by an independent library (pyora), by our own reader, and as bare zip and XML."""

import io
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from pyora import Project

from paintsundo.app.openraster import Layer, write_openraster
from paintsundo.data.layered.limits import Limits
from paintsundo.data.layered.opening import opened
from paintsundo.errors import UserError
from paintsundo.pipelines.provenance import DIGITAL_SOURCE_TYPE, Provenance
from paintsundo.pipelines.writers import write_png

PROVENANCE = Provenance({"single_frame": "bundled & <b>"}, {"keyframes": {"seed": 7}})
NAMES = ["finished picture", "operation step 400 (synthetic)", '<script>alert("1")</script> & é 画', "blank canvas"]


@pytest.fixture
def states(tmp_path: Path) -> list[Path]:
    files = []
    for index in range(4):
        pixels = np.full((300, 45, 3), 255, np.uint8)
        pixels[: 90 - 30 * index, :20] = (200, 30 * index, 60)
        files.append(tmp_path / f"{index:02d}.png")
        write_png(files[-1], pixels, PROVENANCE)
    return files


@pytest.fixture
def file(tmp_path: Path, states: list[Path]) -> Path:
    written = tmp_path / "keyframes.ora"
    write_openraster(written, [Layer(name, state) for name, state in zip(NAMES, states, strict=True)], PROVENANCE)
    return written


def rgb(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file).convert("RGB"))


def test_an_independent_library_finds_the_layers(file: Path, states: list[Path]) -> None:
    project = Project.load(str(file))
    assert project.dimensions == (45, 300)
    from_the_bottom = list(project.iter_layers)
    assert [layer.name for layer in from_the_bottom] == NAMES[::-1]
    for layer, state in zip(from_the_bottom, states[::-1], strict=True):
        assert layer.visible
        assert layer.opacity == 1
        assert layer.offsets == (0, 0)
        np.testing.assert_array_equal(np.asarray(layer.get_image_data().convert("RGB")), rgb(state))


def test_an_independent_library_composes_the_merged_image(file: Path, states: list[Path]) -> None:
    project = Project.load(str(file))
    stored = Image.open(io.BytesIO(Project.extract_composite(str(file))))
    for picture in (stored, project.get_image_data(use_original=False)):
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), rgb(states[0]))
    thumbnail = Image.open(io.BytesIO(Project.extract_thumbnail(str(file))))
    assert thumbnail.size == (38, 256)


def test_hiding_the_top_layers_goes_back_through_the_drawing(file: Path, states: list[Path]) -> None:
    project = Project.load(str(file))
    layers = list(project.iter_layers)[::-1]
    for hidden in range(3):
        layers[hidden].visible = False
        shown = np.asarray(project.get_image_data(use_original=False).convert("RGB"))
        np.testing.assert_array_equal(shown, rgb(states[hidden + 1]))


def test_our_own_reader_agrees_with_the_merged_image(file: Path, states: list[Path]) -> None:
    with file.open("rb") as stream:
        found = opened(stream, file.name, Limits())
    assert [layer.name for layer in found.document.root.children] == NAMES[::-1]
    assert found.agreement is not None
    assert found.agreement.share == 1
    np.testing.assert_array_equal(found.ours, rgb(states[0]))


def test_the_file_is_laid_out_as_specified(file: Path, states: list[Path]) -> None:
    assert file.read_bytes()[30:54] == b"mimetypeimage/openraster"  # recognisable without unpacking
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.infolist()[0].compress_type == zipfile.ZIP_STORED
        root = ElementTree.fromstring(archive.read("stack.xml"))
        assert set(archive.namelist()) == {
            "mimetype",
            "stack.xml",
            "mergedimage.png",
            "Thumbnails/thumbnail.png",
            *(layer.attrib["src"] for layer in root.iter("layer")),
        }
        # The very files: nothing of their pixels or metadata is lost.
        for layer, state in zip(root.iter("layer"), states, strict=True):
            assert archive.read(layer.attrib["src"]) == state.read_bytes()


def test_everything_says_that_it_is_synthetic(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        root = ElementTree.fromstring(archive.read("stack.xml"))
        assert "Synthetic media" in root.attrib["name"]
        for name in archive.namelist():
            if name.endswith(".png"):
                told = Image.open(io.BytesIO(archive.read(name))).info
                assert "Synthetic media" in told["Comment"]
                assert DIGITAL_SOURCE_TYPE in told["XML:com.adobe.xmp"]


def test_equal_layers_make_equal_files(file: Path, tmp_path: Path, states: list[Path]) -> None:
    again = tmp_path / "again.ora"
    write_openraster(again, [Layer(name, state) for name, state in zip(NAMES, states, strict=True)], PROVENANCE)
    assert again.read_bytes() == file.read_bytes()


def test_what_cannot_be_layered_is_told_and_leaves_nothing(tmp_path: Path, states: list[Path]) -> None:
    other = tmp_path / "other.png"
    Image.new("RGB", (9, 9)).save(other)
    target = tmp_path / "bad.ora"
    with pytest.raises(UserError, match=r"'small' is 9×9 pixels and the picture 45×300"):
        write_openraster(target, [Layer("finished", states[0]), Layer("small", other)], PROVENANCE)
    with pytest.raises(UserError, match="nothing to put into layers"):
        write_openraster(target, [], PROVENANCE)
    assert not list(tmp_path.glob("*bad*"))
