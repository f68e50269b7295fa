"""What all kernels share: Triton where it is installed, the device to launch on, sizes of tiles.

Grids have at most 2³¹ − 1 blocks in their first dimension and 65535 in the others: what grows with the positions of a
picture goes into the first. Grids and tiles are computed once for each shape.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import torch

try:
    import triton
    import triton.language as tl
except ImportError:  # the kernels are not called then
    triton = tl = None

Grid = tuple[int, ...]

# Shapes whose grids are kept: a network has some hundred.
KEPT_SHAPES = 4096


# Arguments of kernels that move no address by themselves: Triton would compile a kernel anew where one of them becomes
# 1, or a multiple of 16, and a film's first steps would wait for it dozens of times.
_COUNTS = ("rows", "blocks", "block_rows", "across", "share", "groups", "frames", "positions", "heads", "group_width")


def kernel(function: Callable[..., Any]) -> Any:
    """`triton.jit`, or the function itself where Triton is not installed."""
    if triton is None:
        return function
    names = inspect.signature(function).parameters
    return triton.jit(function, do_not_specialize=[name for name in _COUNTS if name in names])


@kernel
def _one(out):
    tl.store(out, 1.0)


def probe(device: torch.device) -> torch.Tensor:
    """A one (1,) that the smallest of kernels wrote; raises whatever Triton does where it cannot compile or launch."""
    out = torch.empty(1, device=device)
    with on(out):
        _one[(1,)](out)
    return out


def on(x: torch.Tensor) -> contextlib.AbstractContextManager[Any]:
    """Triton launches on the current device, which is not always the tensor's."""
    return torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext()


def blocks_of(count: int, size: int) -> int:
    """⌈count / size⌉."""
    return -(-count // size)


def power_of_2(count: int) -> int:
    """The smallest power of two that is not less."""
    return 1 << (count - 1).bit_length()


def channel_block(channels: int) -> int:
    """Channels of a tile: at least a line of 128 bytes of halves, with no empty lanes at the widths of our networks."""
    if channels % 128 and channels % 64 == 0:
        return 64
    return min(128, power_of_2(channels))
