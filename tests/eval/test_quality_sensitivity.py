"""What prompts, operation steps and seeds change."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from paintsundo.data import shards
from paintsundo.data.shards import ShardWriter
from paintsundo.data.source import Canvas, Item
from paintsundo.data.sources import source_class
from paintsundo.errors import UserError

sys.path.insert(0, str(Path(__file__).parent))
from test_quality_truth import scene


@pytest.fixture(scope="module")
def blobs(tmp_path_factory) -> Path:
    """One true process of a scene made here."""
    folder = tmp_path_factory.mktemp("blobs")
    item = Item("scene.svg", scene(7011), {"subject": "blobs", "source": "test/blobs"})
    source = source_class("svg")(source_class("svg").Options())
    writer = ShardWriter(folder)
    writer.write(shards.encode(source.draw(item, Canvas(256), 0, 3)), "test")
    manifest = {"format": 1, "shards": writer.close(), "samples": 1, "splits": {"test": 1}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def ten(blobs, tmp_path_factory):
    """Figures of ten seeds, small: with default settings it takes many minutes."""
    from support.pair_sensitivity import measure_sensitivity

    small = ["keyframes.num_inference_steps=10", "video.num_inference_steps=4", "keyframes.operation_steps=[480]"]
    output = tmp_path_factory.mktemp("ten")
    report = measure_sensitivity("bundled", blobs, output, small, size=128, words=["outline"], seeds=10)
    (found,) = report["processes"].values()
    return found


@pytest.mark.slow
def test_ten_seeds_of_the_bundled_pair_give_ten_different_films_and_words_reach_them(ten):
    from support.pair_sensitivity import DIVERSITY

    assert ten["same"] == 0
    assert ten["least"] > DIVERSITY
    assert ten["diversity"] >= ten["least"]
    assert ten["prompt_effect"] > 0.0005  # this pair makes little of its prompt


@pytest.mark.slow
def test_ten_seeds_of_the_bundled_pair_give_ten_valid_films(ten):
    assert ten["valid"] == 10


@pytest.mark.slow
def test_operation_steps_of_the_bundled_pair_are_followed(blobs, tmp_path):
    from support.quality_run import measure_pair

    small = ["keyframes.num_inference_steps=10"]
    report = measure_pair("bundled", blobs, tmp_path, small, parts=["calibration"], progress=False)
    (found,) = report["processes"].values()
    assert 0.6 < found["calibration"]["slope"] < 1.4
    assert np.all(np.diff(found["calibration"]["read"]) > -60)


def test_seeds_are_checked(tmp_path):
    import quality

    with pytest.raises(UserError, match="seeds=1: at least 2"):
        quality.main([f"data={tmp_path}", "models=bundled", f"output={tmp_path}", "seeds=1"])


def test_random_networks_are_measured_and_tabled(tmp_path_factory, tmp_path, capsys):
    import quality
    from test_quality_pair import OVERRIDES, process

    folder = tmp_path_factory.mktemp("discs")
    writer = ShardWriter(folder)
    for number in range(2):
        writer.write(shards.encode(process(number, (32, 32))), "test")
    (folder / "manifest.json").write_text(
        json.dumps({"format": 1, "shards": writer.close(), "samples": 2, "splits": {"test": 2}})
    )
    given = ",".join(f"'{override}'" for override in OVERRIDES)
    quality.main([f"data={folder}", "models=official", f"overrides=[{given}]", f"output={tmp_path}", "seeds=3"])
    report = json.loads((tmp_path / "sensitivity.json").read_text())
    for found in report["processes"].values():
        assert found["same"] == 0
        assert found["seed_effect"] > 0
        assert found["least"] > 0
        assert found["valid"] == 0  # of random weights
    assert "of 3" in capsys.readouterr().out
