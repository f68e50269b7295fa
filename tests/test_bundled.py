"""The models that come with the package: complete, small enough, and really drawing."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import paintsundo
from paintsundo.checkpoints import load_multi_frame, load_single_frame, load_tagger
from paintsundo.metrics import keyframe_positions, measure_film, null_baselines
from paintsundo.pipelines import command

BUNDLED = Path(paintsundo.__file__).parent / "bundled"
EXAMPLES = Path(__file__).parents[1] / "examples"


def test_all_parts_load_and_fit_into_32_mib() -> None:
    files = [file for file in BUNDLED.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 32 * 2**20
    assert {file.suffix for file in files} <= {".safetensors", ".json", ".txt", ".onnx", ".csv", ".md"}
    assert load_single_frame("bundled").unet.config["in_channels"] == 8
    assert load_multi_frame("bundled").vae.downsampling == 8
    with Image.open(EXAMPLES / "chili.png") as picture:
        assert "outlined" in load_tagger("bundled").tag(picture.convert("RGB"))


def read(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(file).convert("RGB")) for file in sorted(folder.glob("*.png"))])


def test_keyframes_lose_colour_before_lines(tmp_path: Path) -> None:
    options = ["keyframes.operation_steps=[480,999]", "video.num_inference_steps=1", "runtime.progress=false"]
    assert command.main([f"input={EXAMPLES / 'chili.png'}", f"output={tmp_path}", *options]) == 0
    keyframes = read(tmp_path / "chili" / "keyframes").astype(np.float32)
    assert len(keyframes) == 4
    chroma = np.ptp(keyframes, axis=-1)
    dark = (keyframes.max(-1) < 100).mean((1, 2))
    assert (chroma > 60).mean((1, 2))[1] < 0.3 * (chroma > 60).mean((1, 2))[0]  # colour gone
    assert dark[1] > 0.6 * dark[0] > 0.01  # lines still there
    assert keyframes[2].mean() > 0.97 * 255  # hardly anything yet
    assert (keyframes[3] == 255).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chili", "dolphin"])
def test_default_film_is_a_drawing_process(tmp_path: Path, name: str) -> None:
    """What the first picture of a newcomer must be; measures and baselines are explained in paintsundo.metrics."""
    output = f"output={tmp_path}"
    assert command.main([f"input={EXAMPLES / name}.png", output, "runtime.progress=false"]) == 0
    film = read(tmp_path / name / "frames")
    keyframe = read(tmp_path / name / "keyframes")[0].astype(np.float64)
    assert len(film) >= 30
    first = film[0] / 255
    assert first.mean() >= 0.95
    assert (first.min(-1) > 0.97).mean() >= 0.85
    assert 10 * np.log10(255**2 / np.mean((film[-1] - keyframe) ** 2)) >= 22
    positions = keyframe_positions(len(film), 7)
    figures = measure_film(film, positions)
    assert figures["progress"]["spearman"] >= 0.9
    faded = measure_film(null_baselines(film, positions)["faded_keyframes"], positions)
    between, fade = figures["between_keyframes"], faded["between_keyframes"]
    assert between["abruptness"] > 3 * fade["abruptness"]
    assert between["effective_changed_share"] < 0.75 * fade["effective_changed_share"]
