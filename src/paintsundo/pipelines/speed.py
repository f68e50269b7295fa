"""How networks compute at inference: memory layout, fast forms, compilation; the film is the same up to rounding."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from paintsundo.errors import UserError
from paintsundo.models import SingleFrameUNet, set_attention_backend, use_channels_last
from paintsundo.models.fused import set_fused
from paintsundo.models.sdpa_choice import choose_attention
from paintsundo.models.weight_storage import store_in_float8
from paintsundo.pipelines.compile_choice import choose_compile
from paintsundo.pipelines.options import RuntimeOptions

# Only networks that are called at every step of a sampler repay their compilation.
COMPILED = ("SingleFrameUNet", "UNet3DModel")
# Few weights beside their activations, and each digit of theirs is seen in the pictures.
STORED_IN_FULL = ("AutoencoderKL", "VideoAutoencoderKL")


def choose_layout(option: str, device: torch.device) -> bool:
    """Whether convolutions compute channels last: "auto" is yes on processors and CUDA (and ROCm) devices."""
    return option == "channels_last" or (option == "auto" and device.type in ("cpu", "cuda"))


def prepare_network(network: nn.Module, runtime: RuntimeOptions, device: torch.device, work: float = 0.0) -> None:
    """Make a network of the pipeline ready to compute on a device, in place; weights keep their names and values.

    Args:
        network: any of either model.
        runtime: attention, layout, fused, compile, tuned, weights.
        device: where it will compute.
        work: what waits for it (`compile_choice.waiting`).

    Raises:
        UserError: weights cannot be stored as wanted, there or beside other options.
    """
    runtime.check_weights()
    float8 = runtime.weights == "float8"
    if float8 and device.type == "mps":
        raise UserError("runtime.weights=float8: Apple's GPUs have no such numbers")
    set_attention_backend(network, runtime.attention, device)
    channels_last = choose_layout(runtime.layout, device)
    if channels_last:
        use_channels_last(network)
    name = type(network).__name__
    option = "none" if float8 else runtime.compile
    compile = choose_compile(option, device, runtime.fused, name, work) if name in COMPILED else "none"
    compiled = compile != "none"
    # Compilers fuse by themselves what our forms fuse.
    fused = runtime.fused and channels_last and not compiled
    if fused and isinstance(network, SingleFrameUNet):
        network.repeat_rows()
    set_fused(network, fused)
    if device.type == "cuda" and runtime.tuned:
        torch.backends.cudnn.benchmark = True
        choose_attention(True)
    if float8 and name not in STORED_IN_FULL:
        store_in_float8(network)
    if compiled:
        from paintsundo.models.compilation import compile_in_place  # seconds to import

        _keep_what_is_compiled()
        compile_in_place(network, regional=compile == "regional")


def _keep_what_is_compiled() -> None:
    """Compiled code lies in the user's cache, not in a temporary folder that a restart empties."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "paintsundo"
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "inductor"))
    os.environ.setdefault("TRITON_CACHE_DIR", str(cache / "triton"))
