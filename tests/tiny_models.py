"""The golden checkpoint on the command line, at the smallest size it can work at."""

from pathlib import Path

import numpy as np
from PIL import Image

TINY = Path(__file__).parent / "golden" / "tiny"
MODELS = [
    "models=official",
    f"models.single_frame={TINY / 'single_frame'}",
    f"models.multi_frame={TINY / 'multi_frame'}",
    f"models.tagger={TINY / 'tagger'}",
]
SMALL = [
    "keyframes.operation_steps=[500]",
    "keyframes.width=32",
    "keyframes.height=48",
    "keyframes.num_inference_steps=1",
    "keyframes.guidance_scale=1",
    "video.num_inference_steps=1",
    "video.guidance_scale=1",
    "video.buckets=[[32,32]]",
    "runtime.device=cpu",
    "runtime.progress=false",
]
PAIRS = 2  # picture → step 500 → blank
FRAMES = PAIRS * 15


def arguments(source: object, output: object, *others: str) -> list[str]:
    return [f"input={source}", f"output={output}", *MODELS, *SMALL, *others]


def pictures(folder: Path) -> np.ndarray:
    """All PNG files of a folder in order, uint8 (N, H, W, 3)."""
    return np.stack([np.asarray(Image.open(file)) for file in sorted(folder.glob("*.png"))])


def drawing(width: int = 60, height: int = 80) -> Image.Image:
    """A picture with colours and an edge, different in every corner."""
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([255 * rows / height, 255 * columns / width, 128 + 0 * rows], axis=-1)
    pixels[: height // 4, : width // 4] = (250, 20, 20)
    return Image.fromarray(pixels.astype(np.uint8))
