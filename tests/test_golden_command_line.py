"""The published computation through the public command line, on tiny checkpoints in the official layout."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from paintsundo.pipelines.command import main

TINY = Path(__file__).parent / "golden" / "tiny"
PARAMS = json.loads((TINY / "params.json").read_text())
EXPECTED = load_file(TINY / "expected.safetensors")


def run(output: Path, window: str, operation_steps: list[int]) -> Path:
    video = PARAMS["video"]
    code = main(
        [
            f"input={TINY / 'image.png'}",
            f"output={output}",
            "models=official",
            f"models.single_frame={TINY / 'single_frame'}",
            f"models.multi_frame={TINY / 'multi_frame'}",
            f"models.tagger={TINY / 'tagger'}",
            f"prompt={PARAMS['prompt']}",
            f"keyframes.operation_steps={operation_steps}",
            f"keyframes.width={PARAMS['width']}",
            f"keyframes.height={PARAMS['height']}",
            f"keyframes.num_inference_steps={PARAMS['steps']}",
            f"keyframes.guidance_scale={PARAMS['cfg']}",
            f"keyframes.negative_prompt={PARAMS['negative_prompt']}",
            f"keyframes.seed={PARAMS['seed']}",
            f"video.prompt={video['prompt']}",
            f"video.num_inference_steps={video['steps']}",
            f"video.guidance_scale={video['cfg']}",
            f"video.frame_stride={video['fs']}",
            f"video.seed={video['seed']}",
            f"video.buckets=[[{video['bucket'][0]},{video['bucket'][1]}]]",
            f"video.attention_window={window}",
            "runtime.device=cpu",
            "runtime.dtype=float32",
            "runtime.progress=false",
        ]
    )
    assert code == 0
    return output / "image"


def pictures(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(file)) for file in sorted(folder.glob("*.png"))])


def assert_same(result: np.ndarray, expected: np.ndarray) -> None:
    assert result.shape == expected.shape
    difference = np.abs(result.astype(int) - expected)
    assert difference.max() <= 2
    # Measured: 0.001. The published rounding of the sampler's coefficients alone is worth 0.03.
    assert difference.mean() < 0.01


def test_keyframes_and_film(tmp_path: Path) -> None:
    # Out of order on purpose: operation steps are sorted.
    folder = run(tmp_path, "none", PARAMS["operation_steps"][::-1])
    assert_same(pictures(folder / "keyframes"), EXPECTED["sf.keyframes"])
    assert_same(pictures(folder / "frames"), EXPECTED["mf.video"])
    assert (folder / "prompt.txt").read_text() == PARAMS["prompt"]


@pytest.mark.parametrize("window", ["none", "prv", "first", "roll"])
def test_first_pair_with_every_attention_window(tmp_path: Path, window: str) -> None:
    folder = run(tmp_path, window, PARAMS["operation_steps"][:1])
    expected = EXPECTED[f"mf.pair.0.{window}"]
    # The film runs the other way, and a clip's last frame is left out.
    clip = pictures(folder / "frames")[::-1][: len(expected) - 1]
    assert_same(clip, expected[:-1])
