"""Seconds, memory and utilisation of training steps of both UNets, on random latents."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from paintsundo.models import SingleFrameUNet, UNet3DModel
from paintsundo.training.device_rate import matrix_rate
from paintsundo.training.speed import prepare_for_speed
from support.random_models import architecture

# Pictures of 512x640 and clips of 16 frames of 320x512, as latents (h, w); and the largest batch worth while there.
FULL = {"single_frame": ((80, 64), 32), "multi_frame": ((40, 64), 4)}
TINY = {"single_frame": ((8, 8), 2), "multi_frame": ((8, 8), 1)}
FRAMES = 16
TOKENS, IMAGE_TOKENS = 77, 16


@dataclass
class StepFigures:
    """What one training step of `batch` samples takes on one device.

    `compile_seconds` are those of the first step beyond a usual one; `mfu` is 3 forward passes' operations a second
    over the rate of the device's matrix products (`device_rate`), recomputation not counted.
    """

    network: str
    compile: str
    batch: int
    seconds_per_step: float
    images_per_second: float
    tflops: float
    mfu: float
    peak_memory_gib: float | None
    compile_seconds: float
    loss: float


def build(name: str, full_size: bool, device: str) -> nn.Module:
    """A network with random weights, zero-initialised ones included, in float32."""
    sizes = OmegaConf.to_container(architecture("official" if full_size else "tiny")[name].unet)
    with torch.device(device):
        network = {"single_frame": SingleFrameUNet, "multi_frame": UNet3DModel}[name](**sizes)
    if device != "meta":
        for parameter in network.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.02)
    return network.train()


def inputs(name: str, network: nn.Module, batch: int, full_size: bool, device: str) -> tuple[Tensor, ...]:
    """Random arguments of `forward`; the first is the noisy latents."""
    (height, width), _ = (FULL if full_size else TINY)[name]

    def noise(*shape: int) -> Tensor:
        return torch.randn(batch, *shape, device=device)

    def integers(high: int) -> Tensor:
        return torch.randint(high, (batch,), device=device)

    if name == "single_frame":
        words = noise(TOKENS, network.config.cross_attention_dim)
        return noise(4, height, width), integers(1000), words, integers(1000), noise(4, height, width)
    context = network.config.context_dim
    latents, given = (noise(4, FRAMES, height, width) for _ in range(2))
    return latents, integers(1000), noise(TOKENS, context), noise(FRAMES, IMAGE_TOKENS, context), integers(30), given


def step_operations(name: str, batch: int, full_size: bool) -> int:
    """Operations of a training step: 3 forward passes, counted without computing anything."""
    network = build(name, full_size, "meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*inputs(name, network, batch, full_size, "meta"))
    return 3 * counter.get_total_flops()


@dataclass(frozen=True)
class StepOptions:
    """How steps are taken; `profile`: a file for the time of each kernel."""

    full_size: bool = True
    compile: str = "regional"
    attention: str = "sdpa"
    gradient_checkpointing: bool = False
    channels_last: bool = True
    steps: int = 10
    device: str = "cuda"
    profile: Path | None = None


def measure(name: str, batch: int, options: StepOptions) -> StepFigures:
    """Train on one random batch; where memory does not suffice, on half of it."""
    rate = matrix_rate(options.device)
    while True:
        try:
            return _measure(name, batch, options, rate)
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
            batch //= 2


def _measure(name: str, batch: int, options: StepOptions, rate: float) -> StepFigures:
    device, on_gpu = options.device, options.device == "cuda"
    torch.manual_seed(0)
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    network = build(name, options.full_size, device)
    prepare_for_speed(
        [network], options.compile, options.attention, options.channels_last, options.gradient_checkpointing, device
    )
    arguments = inputs(name, network, batch, options.full_size, device)
    target = torch.randn_like(arguments[0])
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5, fused=True)

    def step() -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=on_gpu):
            out = network(*arguments)
        out = out.sample if name == "single_frame" else out
        loss = nn.functional.mse_loss(out.float(), target)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss.detach()

    first = _seconds(step, device)
    for _ in range(2 if on_gpu else 0):
        step()
    seconds = _seconds(lambda: [step() for _ in range(options.steps)], device) / options.steps
    peak = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None
    loss = float(step())
    if not math.isfinite(loss):
        raise FloatingPointError(f"{name}: the loss is {loss}")
    if options.profile is not None:
        options.profile.write_text(_kernels(step), encoding="utf-8")
    operations = step_operations(name, batch, options.full_size)
    return StepFigures(
        network=name,
        compile=options.compile,
        batch=batch,
        seconds_per_step=seconds,
        images_per_second=batch / seconds,
        tflops=operations / seconds / 1e12,
        mfu=operations / seconds / rate,
        peak_memory_gib=peak,
        compile_seconds=max(0.0, first - seconds) if options.compile != "none" else 0.0,
        loss=loss,
    )


def _seconds(work: Callable[[], Any], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _kernels(step: Callable[[], Any]) -> str:
    """The device's time in one step by kernel, longest first."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    on_gpu = torch.cuda.is_available()
    with profiler(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as record:
        step()
        if on_gpu:
            torch.cuda.synchronize()
    events = record.key_averages()
    key = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    rows = sorted(((getattr(event, key) / 1000, event.count, event.key) for event in events), reverse=True)
    total = sum(row[0] for row in rows)
    lines = [f"{total:10.2f} ms in all", *(f"{ms:10.2f} ms {count:5d}x {kernel[:110]}" for ms, count, kernel in rows)]
    return "\n".join(lines[:120]) + "\n"
