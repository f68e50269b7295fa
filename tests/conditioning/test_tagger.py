import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from paintsundo.conditioning import Tagger, open_picture
from paintsundo.errors import UserError


@pytest.fixture(scope="session")
def tagger(golden_folder) -> Tagger:
    return Tagger.from_pretrained(golden_folder / "tagger")


@pytest.fixture
def picture(golden_folder) -> Image.Image:
    return open_picture(golden_folder / "image.png")


@pytest.fixture
def copied(golden_folder, tmp_path) -> Path:
    return Path(shutil.copytree(golden_folder / "tagger", tmp_path / "tagger", copy_function=shutil.copyfile))


def test_the_network_sees_what_the_published_one_sees(tagger, picture, golden):
    assert np.array_equal(tagger.preprocess(picture), golden["tagger.input"].numpy())
    assert np.array_equal(tagger.preprocess(np.asarray(picture)), golden["tagger.input"].numpy())


def test_probabilities_are_the_published_ones(tagger, picture, golden):
    expected = golden["tagger.probabilities"].numpy()[0]
    assert np.abs(tagger.probabilities(picture) - expected).max() < 1e-5 * expected.max()


@pytest.mark.parametrize(("general", "character"), [(0.35, 0.85), (0.5, 0.5), (0.2, 0.3)])
def test_prompts_are_the_published_ones(tagger, picture, golden_folder, general, character):
    expected = json.loads((golden_folder / "params.json").read_text())["tags"][str(general)]
    assert tagger.tag(picture, general, character) == expected
    if general == 0.35:
        assert tagger.tag(picture) == expected


def test_prompt_rules(tagger):
    """Character tags first, each kind in list order; ratings never; a threshold must be exceeded."""
    probabilities = np.zeros(len(tagger.tags), dtype=np.float32)
    assert tagger.prompt(probabilities) == ""
    probabilities[[0, 5, 4, 31]] = 1.0  # rating_0, tag_1, long_0_(x), char_1_(series)
    probabilities[7] = 0.35  # long_3_(x), not above the threshold in float32
    assert tagger.prompt(probabilities, np.float32(0.35)) == "char 1 \\(series\\), long 0 \\(x\\), tag 1"


@pytest.mark.parametrize("size", [(300, 20), (20, 300), (64, 64), (8, 80), (1000, 3)])
def test_input_is_a_white_square_with_the_picture_in_its_middle(tagger, size):
    square = tagger.preprocess(Image.new("RGB", size, (255, 0, 0)))
    assert square.shape == (1, 64, 64, 3)
    assert square.dtype == np.float32
    painted = (square[0] == (0, 0, 255)).all(axis=-1)  # BGR
    assert ((square[0] == 255).all(axis=-1) | painted).all()
    rows, columns = np.flatnonzero(painted.any(axis=1)), np.flatnonzero(painted.any(axis=0))
    factor = 64 / max(size)
    assert len(columns) == max(1, int(size[0] * factor))
    assert len(rows) == max(1, int(size[1] * factor))
    assert abs((63 - rows[-1]) - rows[0]) <= 1
    assert abs((63 - columns[-1]) - columns[0]) <= 1


@pytest.mark.parametrize("name", ["model.onnx", "selected_tags.csv"])
def test_missing_files_are_named(copied, name):
    (copied / name).unlink()
    with pytest.raises(UserError, match=f"{re.escape(name)} is missing"):
        Tagger.from_pretrained(copied)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.*is missing"):
        Tagger.from_pretrained(tmp_path / "nowhere")


def test_a_broken_model_is_told_in_one_line(copied):
    (copied / "model.onnx").write_bytes((copied / "model.onnx").read_bytes()[:1000])
    with pytest.raises(UserError, match=r"model\.onnx cannot be loaded") as raised:
        Tagger.from_pretrained(copied)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text", ["", "no,tags,here\n1,2,3\n", "tag_id,name,category,count\n0,a,general,1\n", "\xff\xfe\n"]
)
def test_a_broken_list_is_told_in_one_line(copied, text):
    (copied / "selected_tags.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match="tag") as raised:
        Tagger.from_pretrained(copied)
    assert "\n" not in str(raised.value)


def test_a_list_of_another_model_is_told(copied):
    lines = (copied / "selected_tags.csv").read_text().splitlines()
    (copied / "selected_tags.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(UserError, match="40 outputs but 39 tags"):
        Tagger.from_pretrained(copied)


def mean_colour_model(shape: list) -> onnx.ModelProto:
    """A network that returns the mean of each channel, for pictures of the given shape."""
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1, 2], keepdims=0)
    graph = helper.make_graph(
        [node],
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_the_input_size_is_the_models_own(tmp_path):
    onnx.save(mean_colour_model([1, 32, 32, 3]), tmp_path / "model.onnx")
    rows = "tag_id,name,category,count\n0,blue,0,1\n1,green,0,1\n2,red,0,1\n"
    (tmp_path / "selected_tags.csv").write_text(rows)
    tagger = Tagger.from_pretrained(tmp_path)
    assert tagger.size == 32
    assert np.allclose(tagger.probabilities(Image.new("RGB", (50, 50), (10, 20, 30))), [30, 20, 10])
    assert tagger.tag(Image.new("RGB", (50, 50), (0, 0, 255))) == "blue"


def test_a_model_without_a_fixed_size_is_told(tmp_path):
    onnx.save(mean_colour_model([1, "height", "width", 3]), tmp_path / "model.onnx")
    (tmp_path / "selected_tags.csv").write_text("tag_id,name,category,count\n0,a,0,1\n1,b,0,1\n2,c,0,1\n")
    with pytest.raises(UserError, match="fixed size"):
        Tagger.from_pretrained(tmp_path)
