"""Element-wise work and attention over time on GPUs, in kernels that read and write memory once (Triton).

PyTorch adds the bias of a convolution in a pass of its own, and has no attention kernel made for sequences of sixteen
tokens. `fused` decides when the functions here are called: never where Triton is not installed.
"""

from __future__ import annotations

import functools

import torch

from paintsundo.models.triton_launch import KEPT_SHAPES, Grid, blocks_of, channel_block, kernel, on, power_of_2, tl

# Elements of one program's tile.
_TILE = 4096
_GEGLU_TILE = 2048
_SMALLEST_DOT = 16


@kernel
def _add(
    x, y, bias, mix, out, rows, channels, across,
    MIXED: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    unit = tl.program_id(0)
    r = (unit // across).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    c = unit % across * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = (r < rows)[:, None] & (c < channels)[None, :]
    at = r[:, None] * channels + c[None, :]
    added = tl.load(bias + c, mask=c < channels, other=0.0).to(tl.float32)
    values = tl.load(y + at, mask=inside, other=0.0).to(tl.float32) + added[None, :]
    if MIXED:
        values = values * tl.load(mix).to(tl.float32)
    values += tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + at, values.to(out.dtype.element_ty), mask=inside)


@functools.lru_cache(KEPT_SHAPES)
def plan_add(rows: int, channels: int) -> tuple[Grid, int, int, int]:
    """Grid, rows and channels of a tile, blocks of channels."""
    block_c = channel_block(channels)
    block_r = min(_TILE // block_c, power_of_2(rows))
    across = blocks_of(channels, block_c)
    return (blocks_of(rows, block_r) * across,), block_r, block_c, across


def add(x: torch.Tensor, y: torch.Tensor, bias: torch.Tensor, mix: torch.Tensor | None = None) -> torch.Tensor:
    """x + mix · (y + bias), rounded once.

    Args:
        x, y: (N, C, h, w) in channels-last memory.
        bias: (C,).
        mix: (1,); 1 without it.
    """
    samples, channels, height, width = x.shape
    rows = samples * height * width
    grid, block_r, block_c, across = plan_add(rows, channels)
    out = torch.empty_like(x)
    with on(x):
        _add[grid](
            x, y, bias, bias if mix is None else mix, out, rows, channels, across,
            MIXED=mix is not None, BLOCK_R=block_r, BLOCK_C=block_c,
        )  # fmt: skip
    return out


@kernel
def _geglu(x, out, rows, width, across, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    unit = tl.program_id(0)
    r = (unit // across).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    c = unit % across * BLOCK_C + tl.arange(0, BLOCK_C)
    inside = (r < rows)[:, None] & (c < width)[None, :]
    at = r[:, None] * 2 * width + c[None, :]
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(x + at + width, mask=inside, other=0.0).to(tl.float32)
    gate = 0.5 * gate * (1.0 + tl.erf(gate * 0.7071067811865476))
    tl.store(out + r[:, None] * width + c[None, :], (value * gate).to(out.dtype.element_ty), mask=inside)


@functools.lru_cache(KEPT_SHAPES)
def plan_geglu(rows: int, width: int) -> tuple[Grid, int, int, int]:
    """Grid, rows and channels of a tile, blocks of channels; a warp's 16-byte loads of halves cover a row of 256."""
    block_c = min(256, power_of_2(width))
    block_r = min(_GEGLU_TILE // block_c, power_of_2(rows))
    across = blocks_of(width, block_c)
    return (blocks_of(rows, block_r) * across,), block_r, block_c, across


def geglu(x: torch.Tensor) -> torch.Tensor:
    """value · GELU(gate) of [value, gate] (…, 2·C), contiguous → (…, C) (Shazeer 2020)."""
    width = x.shape[-1] // 2
    out = x.new_empty((*x.shape[:-1], width))
    rows = out.numel() // width
    grid, block_r, block_c, across = plan_geglu(rows, width)
    with on(x):
        _geglu[grid](x, out, rows, width, across, BLOCK_R=block_r, BLOCK_C=block_c)
    return out


@kernel
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


@functools.lru_cache(KEPT_SHAPES)
def plan_over_time(batch: int, frames: int, positions: int, heads: int, width: int) -> tuple[Grid, int, int, int]:
    """Grid, frames and channels of a tile, warps."""
    block_t = max(_SMALLEST_DOT, power_of_2(frames))
    return (batch * positions * heads,), block_t, max(_SMALLEST_DOT, power_of_2(width)), 1 if block_t <= 32 else 4


def attend_over_time(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int, causal: bool = False
) -> torch.Tensor:
    """softmax(q kᵀ / √d) v over the frames at each position (B, T, n, heads·d), T up to 64, without permutation.

    Copied, unless keys and values have the same strides and the last dimension of all is contiguous.
    """
    if key.stride() != value.stride() or any(tokens.stride(-1) != 1 for tokens in (query, key, value)):
        query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
    batch, frames, positions, inner = query.shape
    width = inner // heads
    out = query.new_empty(query.shape)
    grid, block_t, block_d, warps = plan_over_time(batch, frames, positions, heads, width)
    with on(query):
        _over_time[grid](
            query, key, value, out, frames, positions, heads, *query.stride()[:3], *key.stride()[:3],
            *out.stride()[:3], width**-0.5, WIDTH=width, CAUSAL=causal, BLOCK_T=block_t, BLOCK_D=block_d,
            num_warps=warps,
        )  # fmt: skip
    return out
