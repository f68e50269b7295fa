"""The fast path and the plain one make the same film with every sampler there is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from paintsundo import PaintsUndoPipeline
from paintsundo.diffusion import build_scheduler
from paintsundo.models import SingleFrameUNet
from paintsundo.pipelines.film import default_options
from paintsundo.settings import config_directory

SCHEDULERS = sorted(file.stem for file in (config_directory() / "scheduler").glob("*.yaml"))
STEPS = 3
# Relative, of float32 after some steps: samplers of second order and in steps of sigma enlarge rounding most.
ROUNDING = 1e-3


def pipeline(checkpoint: Path, layout: str, fused: bool, batched: bool) -> PaintsUndoPipeline:
    options = default_options("official")
    options.runtime.device, options.runtime.dtype = "cpu", "float32"
    options.runtime.layout, options.runtime.fused = layout, fused
    options.runtime.guidance = "batched" if batched else "sequential"
    options.keyframes.operation_steps = [300, 700]
    options.keyframes.width, options.keyframes.height = 20, 28
    options.video.buckets = [[24, 16]]
    options.keyframes.num_inference_steps = options.video.num_inference_steps = STEPS
    options.video.batch = 3 if batched else 1
    pipe = PaintsUndoPipeline.from_pretrained(checkpoint, checkpoint, None, options=options)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def paths(checkpoint: Path) -> tuple[PaintsUndoPipeline, PaintsUndoPipeline]:
    plain, fast = pipeline(checkpoint, "plain", False, False), pipeline(checkpoint, "auto", True, True)
    unet = fast.keyframe_unet
    assert isinstance(unet, SingleFrameUNet)
    assert unet.repeats_rows
    assert fast.video_unet.fused
    assert not plain.keyframe_unet.repeats_rows
    assert not plain.video_unet.fused
    return plain, fast


def latents(pipe: PaintsUndoPipeline, keyframes: list[Any]) -> np.ndarray:
    conditions = pipe.prepare_interpolation(keyframes, pipe.video_options)
    clips = dict(pipe.sample_clips(conditions, pipe.video_options))
    return np.stack([clips[pair].numpy() for pair in sorted(clips)])


@pytest.mark.parametrize("name", SCHEDULERS)
def test_paths_agree(paths: tuple[PaintsUndoPipeline, PaintsUndoPipeline], name: str) -> None:
    """Keyframe latents and clip latents, seen at the end of each run, to float32's rounding."""
    config = OmegaConf.to_container(OmegaConf.load(config_directory() / "scheduler" / f"{name}.yaml"))
    picture = np.random.default_rng(0).integers(0, 256, (28, 20, 3), dtype=np.uint8)
    found = []
    keyframes: list[Any] = []
    for pipe in paths:
        pipe.keyframe_scheduler = build_scheduler(config, "keyframes")
        pipe.video_scheduler = build_scheduler(config, "video")
        last: list[torch.Tensor] = []

        def keep(
            pipe: Any, index: int, step: Any, values: dict[str, Any], last: list[torch.Tensor] = last
        ) -> dict[str, Any]:
            last[:] = [values["latents"]]
            return {}

        made = pipe.generate_keyframes(picture, "a boat", callback_on_step_end=keep)
        keyframes = keyframes or made  # the same for both videos: rounding to pixels is not what is compared
        found.append((last[0].numpy(), latents(pipe, keyframes)))
    for stage, plain, fast in zip(("keyframes", "clips"), *found, strict=True):
        assert np.isfinite(plain).all(), stage
        assert np.linalg.norm(fast - plain) < ROUNDING * np.linalg.norm(plain), stage
