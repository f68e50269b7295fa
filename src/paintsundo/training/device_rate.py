"""How fast a device multiplies matrices: what model FLOP utilisation is measured against."""

from __future__ import annotations

import functools
import time

import torch


def matrix_rate(device: torch.device | str, dtype: torch.dtype | None = None) -> float:
    """Floating-point operations a second of square matrix products on random data, measured once a process.

    Args:
        device: on a GPU 8192³ in bfloat16; on a processor 1024³ in float32, which is what it trains in.
        dtype: another type.
    """
    device = torch.device(device)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return _measured(device, dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32))


@functools.cache
def _measured(device: torch.device, dtype: torch.dtype) -> float:
    on_gpu = device.type == "cuda"
    size, warm_up, runs = (8192, 20, 100) if on_gpu else (1024, 2, 5)
    generator = torch.Generator(device).manual_seed(0)  # zeros would be faster than data
    a, b = (torch.randn(size, size, generator=generator, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    with torch.no_grad():
        for _ in range(warm_up):
            torch.mm(a, b, out=out)
        if on_gpu:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(runs):
                torch.mm(a, b, out=out)
            end.record()
            end.synchronize()
            seconds = start.elapsed_time(end) / 1000
        else:
            began = time.perf_counter()
            for _ in range(runs):
                torch.mm(a, b, out=out)
            seconds = time.perf_counter() - began
    return 2 * size**3 * runs / seconds
