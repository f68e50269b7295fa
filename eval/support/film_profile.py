"""Which kernels a film's time goes to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.profiler import ProfilerActivity, profile

from paintsundo import PaintsUndoPipeline
from support.film_parts import PROMPT

ROWS = 60
"""Kernels of each part that are told."""


@torch.inference_mode()
def write_profiles(pipe: PaintsUndoPipeline, picture: NDArray[np.uint8], folder: Path, steps: int = 2) -> list[Path]:
    """Profile keyframes, clips and decoding of a film of so few steps; each made once before, so that nothing is
    compiled or tried meanwhile.

    Writes DIR/profile_PART.txt: PyTorch's table by the device's own time; returns the files.
    """
    options = type(pipe.video_options)(**{**vars(pipe.video_options), "num_inference_steps": steps})
    keyframes = pipe.generate_keyframes(picture, PROMPT, num_inference_steps=steps)
    conditions = pipe.prepare_interpolation(keyframes, options)
    latents = dict(pipe.sample_clips(conditions, options))
    parts: dict[str, Callable[[], Any]] = {
        "keyframes": lambda: pipe.generate_keyframes(picture, PROMPT, num_inference_steps=steps),
        "clips": lambda: dict(pipe.sample_clips(conditions, options)),
        "decoding": lambda: list(pipe.decode_clips(conditions, latents)),
    }
    cuda = pipe.placement.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    files = []
    for name, call in parts.items():
        call()
        with profile(activities=activities) as found:
            call()
            if cuda:
                torch.cuda.synchronize()
        order = "self_cuda_time_total" if cuda else "self_cpu_time_total"
        table = found.key_averages().table(sort_by=order, row_limit=ROWS, max_name_column_width=100)
        files.append(folder / f"profile_{name}.txt")
        files[-1].write_text(f"{steps} steps\n{table}\n", encoding="utf-8")
    return files
