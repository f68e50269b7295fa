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

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def boat(tmp_path_factory) -> Path:
    """One true process of a picture that the bundled pair was not trained on."""
    folder = tmp_path_factory.mktemp("boat")
    item = Item("chili.png", EXAMPLES / "chili.png", {"subject": "chili", "source": "examples/chili"})
    source = source_class("pictures")(source_class("pictures").Options())
    writer = ShardWriter(folder)
    writer.write(shards.encode(source.draw(item, Canvas(128), 0, 3)), "test")
    manifest = {"format": 1, "shards": writer.close(), "samples": 1, "splits": {"test": 1}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.slow
def test_ten_seeds_of_the_bundled_pair_give_ten_different_valid_films(boat, tmp_path):
    from support.pair_sensitivity import DIVERSITY, measure_sensitivity

    small = ["keyframes.num_inference_steps=8", "video.num_inference_steps=3", "keyframes.operation_steps=[300,650]"]
    report = measure_sensitivity("bundled", boat, tmp_path, small, size=96, words=["outline"], seeds=10)
    (found,) = report["processes"].values()
    assert found["same"] == 0
    assert found["least"] > DIVERSITY
    assert found["diversity"] >= found["least"]
    assert found["valid"] == 10
    assert found["prompt_effect"] > 0.0005  # the words reach the states; this pair makes little of them


@pytest.mark.slow
def test_operation_steps_of_the_bundled_pair_are_followed(boat, tmp_path):
    from support.quality_run import measure_pair

    small = ["keyframes.num_inference_steps=8"]
    report = measure_pair("bundled", boat, tmp_path, small, parts=["calibration"], size=128, progress=False)
    (found,) = report["processes"].values()
    assert 0.6 < found["calibration"]["slope"] < 1.4
    assert np.all(np.diff(found["calibration"]["read"]) > -60)


def test_seeds_are_checked(tmp_path):
    import quality

    with pytest.raises(UserError, match="seeds=1: at least 2"):
        quality.main([f"data={tmp_path}", "models=bundled", f"output={tmp_path}", "seeds=1"])


def test_random_networks_are_measured_and_tabled(tmp_path_factory, tmp_path, capsys):
    sys.path.insert(0, str(Path(__file__).parent))
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
