"""Element-wise work of the networks on GPUs, in kernels that read and write channels-last memory once (Triton).

PyTorch's GroupNorm copies channels-last activations to the other layout and back, adds the bias of a convolution in a
pass of its own, and has no attention kernel made for sequences of sixteen tokens. `fused` decides when the functions
here are called: never where Triton is not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

try:
    import triton
    import triton.language as tl
except ImportError:  # the kernels are not called then
    triton = tl = None

# Elements of one program's tile, and rows over which one program gathers the moments of its channels.
_TILE = 4096
_MOMENT_ROWS = 256
_MOST_BLOCKS = 512
_WIDEST = 128
_SMALLEST_DOT = 16


def _kernel(function: Callable[..., Any]) -> Any:
    return function if triton is None else triton.jit(function)


@_kernel
def _moments(x, mean, spread, rows, channels, blocks, ROWS: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    """Mean, and sum of squares about it, of each channel over a block of rows."""
    sample, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    in_c = c < channels
    first = block * ROWS
    base = x + sample * rows * channels
    # One value of each channel is taken off, or sums of squares would lose digits to a mean that is large.
    pivot = tl.load(base + first.to(tl.int64) * channels + c, mask=in_c, other=0.0).to(tl.float32)
    total = tl.zeros((BLOCK_C,), tl.float32)
    squares = tl.zeros((BLOCK_C,), tl.float32)
    for start in range(0, ROWS, BLOCK_R):
        r = first + start + tl.arange(0, BLOCK_R)
        inside = (r < rows)[:, None] & in_c[None, :]
        values = tl.load(base + r[:, None].to(tl.int64) * channels + c[None, :], mask=inside, other=0.0).to(tl.float32)
        values = tl.where(inside, values - pivot[None, :], 0.0)
        total += tl.sum(values, axis=0)
        squares += tl.sum(values * values, axis=0)
    count = tl.minimum(rows - first, ROWS).to(tl.float32)
    out = (sample * blocks + block) * channels + c
    tl.store(mean + out, pivot + total / count, mask=in_c)
    tl.store(spread + out, squares - total * total / count, mask=in_c)


@_kernel
def _scales(
    mean, spread, shift, weight, bias, scale, offset, rows, channels, share, eps,
    ROWS: tl.constexpr, BLOCKS: tl.constexpr, WIDTH: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_W: tl.constexpr,
    SHIFTED: tl.constexpr,
):  # fmt: skip
    """Join the blocks' moments to those of a group (Chan, Golub and LeVeque 1979); scale and offset of its channels."""
    sample, group = tl.program_id(0).to(tl.int64), tl.program_id(1)
    w = tl.arange(0, BLOCK_W)
    in_w = w < WIDTH
    c = group * WIDTH + w
    moved = tl.zeros((BLOCK_W,), tl.float32)
    if SHIFTED:
        moved = tl.load(shift + sample // share * channels + c, mask=in_w, other=0.0).to(tl.float32)
    base = sample * BLOCKS * channels
    # Means are summed as differences from one that is near.
    near = tl.sum(tl.load(mean + base + c, mask=in_w, other=0.0) + tl.where(in_w, moved, 0.0), axis=0) / WIDTH
    total = tl.zeros((BLOCK_B, BLOCK_W), tl.float32)
    for first in range(0, BLOCKS, BLOCK_B):
        block = first + tl.arange(0, BLOCK_B)
        inside = (block < BLOCKS)[:, None] & in_w[None, :]
        count = tl.minimum(rows - block * ROWS, ROWS).to(tl.float32)
        values = tl.load(mean + base + block[:, None] * channels + c[None, :], mask=inside, other=0.0)
        total += tl.where(inside, count[:, None] * (values + moved[None, :] - near), 0.0)
    centre = near + tl.sum(tl.sum(total, axis=1), axis=0) / (rows * WIDTH)
    total = tl.zeros((BLOCK_B, BLOCK_W), tl.float32)
    for first in range(0, BLOCKS, BLOCK_B):
        block = first + tl.arange(0, BLOCK_B)
        inside = (block < BLOCKS)[:, None] & in_w[None, :]
        count = tl.minimum(rows - block * ROWS, ROWS).to(tl.float32)
        at = base + block[:, None] * channels + c[None, :]
        away = tl.load(mean + at, mask=inside, other=0.0) + moved[None, :] - centre
        own = tl.load(spread + at, mask=inside, other=0.0)
        total += tl.where(inside, own + count[:, None] * away * away, 0.0)
    variance = tl.sum(tl.sum(total, axis=1), axis=0) / (rows * WIDTH)
    scaled = tl.load(weight + c, mask=in_w, other=0.0).to(tl.float32) / tl.sqrt(variance + eps)
    tl.store(scale + sample * channels + c, scaled, mask=in_w)
    added = tl.load(bias + c, mask=in_w, other=0.0).to(tl.float32) + (moved - centre) * scaled
    tl.store(offset + sample * channels + c, added, mask=in_w)


@_kernel
def _apply(x, scale, offset, out, rows, channels, SILU: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    # Blocks of rows come first: of the other two dimensions a grid has at most 65535.
    r = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    sample = tl.program_id(1).to(tl.int64)
    c = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = (r < rows)[:, None] & (c < channels)[None, :]
    at = sample * rows * channels + r[:, None].to(tl.int64) * channels + c[None, :]
    own = sample * channels + c
    factor = tl.load(scale + own, mask=c < channels, other=0.0)
    added = tl.load(offset + own, mask=c < channels, other=0.0)
    values = tl.load(x + at, mask=inside, other=0.0).to(tl.float32) * factor[None, :] + added[None, :]
    if SILU:
        values = values / (1.0 + tl.exp(-values))
    tl.store(out + at, values.to(out.dtype.element_ty), mask=inside)


def group_norm(
    x: torch.Tensor,
    groups: int,
    weight: torch.Tensor,
    bias: torch.Tensor,
    eps: float,
    shift: torch.Tensor | None = None,
    silu: bool = False,
) -> torch.Tensor:
    """GroupNorm (Wu and He 2018) of x + shift, then SiLU; statistics in float32.

    Args:
        x: (N, C, h, w) in channels-last memory.
        groups: a divisor of C.
        weight, bias: (C,).
        eps: added to the variance.
        shift: (S, C), S a divisor of N: row i is for the i-th N / S samples; a bias left out before, an embedding.
        silu: apply SiLU to the result.

    Returns:
        x's shape, dtype and layout.
    """
    samples, channels, height, width = x.shape
    rows = height * width
    block_rows = max(_MOMENT_ROWS, triton.next_power_of_2(triton.cdiv(rows, _MOST_BLOCKS)))
    blocks = triton.cdiv(rows, block_rows)
    block_c = min(_WIDEST, triton.next_power_of_2(channels))
    block_r = min(_TILE // block_c, _MOMENT_ROWS)
    across = triton.cdiv(channels, block_c)
    mean, spread = torch.empty((2, samples, blocks, channels), device=x.device, dtype=torch.float32)
    scale, offset = torch.empty((2, samples, channels), device=x.device, dtype=torch.float32)
    out = torch.empty_like(x)
    with _on(x):
        _moments[(samples, blocks, across)](
            x, mean, spread, rows, channels, blocks, ROWS=block_rows, BLOCK_R=block_r, BLOCK_C=block_c
        )
        per_group = channels // groups
        _scales[(samples, groups)](
            mean, spread, x if shift is None else shift.contiguous(), weight, bias, scale, offset,
            rows, channels, 1 if shift is None else samples // len(shift), eps,
            ROWS=block_rows, BLOCKS=blocks, WIDTH=per_group, BLOCK_B=min(32, triton.next_power_of_2(blocks)),
            BLOCK_W=triton.next_power_of_2(per_group), SHIFTED=shift is not None, num_warps=1,
        )  # fmt: skip
        _apply[(triton.cdiv(rows, block_r), samples, across)](
            x, scale, offset, out, rows, channels, SILU=silu, BLOCK_R=block_r, BLOCK_C=block_c
        )
    return out


@_kernel
def _add(x, y, bias, mix, out, rows, channels, MIXED: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    r = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = (r < rows)[:, None] & (c < channels)[None, :]
    at = r[:, None] * channels + c[None, :]
    added = tl.load(bias + c, mask=c < channels, other=0.0).to(tl.float32)
    values = tl.load(y + at, mask=inside, other=0.0).to(tl.float32) + added[None, :]
    if MIXED:
        values = values * tl.load(mix).to(tl.float32)
    values += tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + at, values.to(out.dtype.element_ty), mask=inside)


def add(x: torch.Tensor, y: torch.Tensor, bias: torch.Tensor, mix: torch.Tensor | None = None) -> torch.Tensor:
    """x + mix · (y + bias), rounded once.

    Args:
        x, y: (N, C, h, w) in channels-last memory.
        bias: (C,).
        mix: (1,); 1 without it.
    """
    samples, channels, height, width = x.shape
    rows = samples * height * width
    block_c = min(_WIDEST, triton.next_power_of_2(channels))
    block_r = _TILE // block_c
    out = torch.empty_like(x)
    with _on(x):
        _add[(triton.cdiv(rows, block_r), triton.cdiv(channels, block_c))](
            x, y, bias, bias if mix is None else mix, out, rows, channels,
            MIXED=mix is not None, BLOCK_R=block_r, BLOCK_C=block_c,
        )  # fmt: skip
    return out


@_kernel
def _geglu(x, out, width, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = c < width
    value = tl.load(x + row * 2 * width + c, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(x + row * 2 * width + width + c, mask=inside, other=0.0).to(tl.float32)
    gate = 0.5 * gate * (1.0 + tl.erf(gate * 0.7071067811865476))
    tl.store(out + row * width + c, (value * gate).to(out.dtype.element_ty), mask=inside)


def geglu(x: torch.Tensor) -> torch.Tensor:
    """value · GELU(gate) of [value, gate] (…, 2·C), contiguous → (…, C) (Shazeer 2020)."""
    width = x.shape[-1] // 2
    out = x.new_empty((*x.shape[:-1], width))
    block = min(1024, triton.next_power_of_2(width))
    with _on(x):
        _geglu[(out.numel() // width, triton.cdiv(width, block))](x, out, width, BLOCK=block)
    return out


@_kernel
def _over_time(
    query, key, value, out, frames, positions, heads, q_batch, q_frame, q_place, k_batch, k_frame, k_place,
    o_batch, o_frame, o_place, factor, WIDTH: tl.constexpr, CAUSAL: tl.constexpr, BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One head at one position: its tokens of all frames fit into one tile."""
    unit = tl.program_id(0).to(tl.int64)
    head = unit % heads
    place = unit // heads % positions
    batch = unit // heads // positions
    t = tl.arange(0, BLOCK_T)
    d = tl.arange(0, BLOCK_D)
    inside = (t < frames)[:, None] & (d < WIDTH)[None, :]
    own = head * WIDTH + d[None, :]
    q_at = batch * q_batch + t[:, None].to(tl.int64) * q_frame + place * q_place + own
    k_at = batch * k_batch + t[:, None].to(tl.int64) * k_frame + place * k_place + own
    q = tl.load(query + q_at, mask=inside, other=0.0)
    k = tl.load(key + k_at, mask=inside, other=0.0)
    v = tl.load(value + k_at, mask=inside, other=0.0)
    scores = tl.dot(q, tl.trans(k), input_precision="ieee") * factor
    seen = (t < frames)[None, :]
    if CAUSAL:
        seen = seen & (t[None, :] <= t[:, None])
    scores = tl.where(seen, scores, float("-inf"))
    weights = tl.exp(scores - tl.max(scores, axis=1)[:, None])
    weights = weights / tl.sum(weights, axis=1)[:, None]
    result = tl.dot(weights.to(v.dtype), v, input_precision="ieee")
    o_at = batch * o_batch + t[:, None].to(tl.int64) * o_frame + place * o_place + own
    tl.store(out + o_at, result.to(out.dtype.element_ty), mask=inside)


def attend_over_time(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int, causal: bool = False
) -> torch.Tensor:
    """softmax(q kᵀ / √d) v over the frames at each position (B, T, n, heads·d), T up to 64, without permutation.

    Keys and values have the same strides; the last dimension of all is contiguous.
    """
    batch, frames, positions, inner = query.shape
    width = inner // heads
    out = query.new_empty(query.shape)
    block_t = max(_SMALLEST_DOT, triton.next_power_of_2(frames))
    with _on(query):
        _over_time[(batch * positions * heads,)](
            query, key, value, out, frames, positions, heads, *query.stride()[:3], *key.stride()[:3],
            *out.stride()[:3], width**-0.5, WIDTH=width, CAUSAL=causal, BLOCK_T=block_t,
            BLOCK_D=max(_SMALLEST_DOT, triton.next_power_of_2(width)), num_warps=1 if block_t <= 32 else 4,
        )  # fmt: skip
    return out


def _on(x: torch.Tensor) -> torch.cuda.device | torch.autograd.profiler.record_function:
    # Triton launches on the current device, which is not always the tensor's.
    return torch.cuda.device(x.device) if x.is_cuda else torch.autograd.profiler.record_function("kernels")
