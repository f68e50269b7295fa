"""Which of PyTorch's fused attentions is fastest for a shape, measured once for each on the device at hand.

PyTorch takes the first of a fixed order that can compute a shape at all, whatever the lengths and widths.
"""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable, Hashable

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

# Not the plain form, which holds all scores.
CANDIDATES = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION)
# Another than PyTorch's choice has to be faster by so much: measurements differ, and equal films are worth more.
MARGIN = 0.95
_ROUNDS, _CALLS = 5, 10

_chosen: dict[Hashable, SDPBackend | None] = {}
_enabled = False


def choose_attention(enabled: bool) -> None:
    """Let `attention` measure, in this process; off at the start. What was measured is forgotten when switched off."""
    global _enabled
    _enabled = enabled
    if not enabled:
        _chosen.clear()


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool = False) -> torch.Tensor:
    """`scaled_dot_product_attention` of (B, heads, n, d), (B, heads, m, d) twice, by the fastest of its kernels.

    PyTorch chooses where nothing is measured: unless `choose_attention` said so on CUDA devices, for gradients, under a
    compiler, and for a shape that comes first while a CUDA graph is recorded.
    """
    backend = None
    if _enabled and _measurable(q):
        key = (q.device, q.dtype, q.shape, k.shape, q.stride(), k.stride(), causal)
        if key not in _chosen and not torch.cuda.is_current_stream_capturing():
            clock = functools.partial(_seconds_on_gpu, device=q.device)
            _chosen[key] = fastest(lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal), clock)
        backend = _chosen.get(key)
    if backend is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    with sdpa_kernel(backend):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)


def fastest(call: Callable[[], object], seconds: Callable[[Callable[[], object]], float]) -> SDPBackend | None:
    """The kernel with which a call is clearly faster than by PyTorch's own choice; None where there is none.

    Args:
        call: computes attention.
        seconds: of a call.
    """
    usual = best = seconds(call)
    chosen = None
    for backend in CANDIDATES:
        with sdpa_kernel(backend), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch tells at length why a kernel cannot compute a shape
            try:
                found = seconds(call)
            except RuntimeError:
                continue
        if found < best and found < MARGIN * usual:
            best, chosen = found, backend
    return chosen


def _measurable(q: torch.Tensor) -> bool:
    return q.is_cuda and not torch.compiler.is_compiling() and not torch.is_grad_enabled()


def _seconds_on_gpu(call: Callable[[], object], device: torch.device) -> float:
    """Least of some rounds of some calls, the first rounds not counted."""
    times = []
    for round_ in range(_ROUNDS + 2):
        torch.cuda.synchronize(device)
        before = time.perf_counter()
        for _ in range(_CALLS):
            call()
        torch.cuda.synchronize(device)
        if round_ > 1:
            times.append((time.perf_counter() - before) / _CALLS)
    return min(times)
