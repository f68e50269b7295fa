"""When compiling a network pays: what was measured of its cost and gain, against the work that waits for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from paintsundo.models.fused import kernels_installed
from paintsundo.pipelines.options import InferOptions


@dataclass(frozen=True)
class CompileCost:
    """What one way of compiling a published network costs and brings on a GPU.

    Attributes:
        seconds: of the first call at one size, nothing cached.
        saved: seconds less than plain PyTorch for a step of one row (a keyframe, a pair) with its guidance.
        saved_beside_kernels: the same against the Triton kernels of `models.triton_…`, which a compiled network
            does without.
    """

    seconds: float
    saved: float
    saved_beside_kernels: float = 0.0


# One NVIDIA H200, float16. Network → way → cost; what was not measured is not here, and never chosen by itself.
# To measure: `python eval/benchmark.py inference output=DIR modes=[ladder,cold] overrides=[runtime.compile=regional]`
# on a fresh machine. `seconds`: the whole film of `cold`'s first time less that of its second; `saved`: what the
# sampler of that rung takes less than the rung it is compared with, over rows x steps (video 7 x 50, keyframes 6 x 50).
COSTS: Mapping[str, Mapping[str, CompileCost]] = {
    # A step of a pair of 16x320x512 takes 129 ms plain, 75 ms compiled with seven pairs in a batch.
    "UNet3DModel": {"full": CompileCost(seconds=130.0, saved=0.054)},
    # The cost is that of training, an upper bound; a step of a keyframe took 13 ms, of which training saved 0.3.
    "SingleFrameUNet": {"full": CompileCost(seconds=141.0, saved=0.004)},
}
# What `saved` was measured with: numbers of weights x positions of the latents of one row.
_PUBLISHED_WORK = {"UNet3DModel": 1.44e9 * 16 * 40 * 64, "SingleFrameUNet": 0.86e9 * 80 * 64}
_SHRINKING = 8  # both models' autoencoders, published


def choose_compile(option: str, device: torch.device, fused: bool, network: str, work: float = 0.0) -> str:
    """How to compile a network: "none", "regional" or "full".

    "auto" compiles on a GPU where the time that is saved exceeds the time of compilation, in the way that saves most.

    Args:
        option: `runtime.compile`.
        device: where to compute.
        fused: `runtime.fused`: our kernels are used where Triton is installed.
        network: name of its class.
        work: steps of single rows that wait, as many of the published size (`waiting`).
    """
    if option != "auto":
        return option
    if device.type != "cuda":
        return "none"
    kernels = fused and kernels_installed()
    ways = COSTS.get(network, {}).items()
    gains = {w: work * (cost.saved_beside_kernels if kernels else cost.saved) - cost.seconds for w, cost in ways}
    gains["none"] = 0.0
    return max(gains, key=lambda way: (gains[way], way == "none"))


def waiting(network: nn.Module, options: InferOptions, films: float = 1.0) -> float:
    """Steps of single rows that films need of a UNet, counted as so many of the published network at its size.

    A smaller network or picture counts less: as little work, compiled, saves as little time.

    Args:
        network: either UNet; others are called too seldom, and get 0.
        films: how many wait to be made; a part of one where others make the rest.
    """
    name = type(network).__name__
    if name not in _PUBLISHED_WORK:
        return 0.0
    config: Any = network.config
    rows = len(options.keyframes.steps())
    if name == "SingleFrameUNet":
        steps, positions = options.keyframes.num_inference_steps, options.keyframes.width * options.keyframes.height
    else:
        # The pairs of a film: its keyframes are the finished picture, one for each operation step, and the canvas.
        rows += 1
        steps = options.video.num_inference_steps
        positions = config["temporal_length"] * min(math.prod(bucket) for bucket in options.video.buckets)
    weights = sum(parameter.numel() for parameter in network.parameters())
    return films * rows * steps * (weights * positions / _SHRINKING**2) / _PUBLISHED_WORK[name]


def compiles_for(option: str, device: torch.device) -> bool:
    """Whether the number of films that wait decides on compilation."""
    return option == "auto" and device.type == "cuda"
