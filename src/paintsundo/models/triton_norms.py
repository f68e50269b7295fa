"""GroupNorm of channels-last activations, with what is added before and applied after (Triton).

PyTorch's GroupNorm copies channels-last activations to the other layout and back. Here sums over blocks of rows are
joined to those of groups and applied, in three kernels; a group of few rows takes one.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch

from paintsundo.models.triton_launch import KEPT_SHAPES, Grid, blocks_of, channel_block, kernel, on, power_of_2, tl

# Elements of one program's tile.
_TILE = 4096
_MOMENTS_TILE = 2048
_SCALES_TILE = 2048
_ONE_WARP = 512  # elements of a tile of `_scales` that a single warp joins; there are no sizes between these two
# Programs of `_moments`: enough for several on each multiprocessor, each with rows enough to be worth its sums.
_MOST_PROGRAMS = 2048
_FEWEST_ROWS = 64
# What one program holds of a group in registers, and channels that are worth reading alone.
_WHOLE_TILE = 8192
_WHOLE_WIDTH = 32


@kernel
def _moments(
    x, moments, rows, channels, block_rows, blocks, across, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr
):  # fmt: skip
    """Mean, and sum of squares about it, of each channel over a block of rows → moments (2, samples, blocks, C)."""
    # Neighbours read the same rows: whole lines of memory at about the same time.
    unit = tl.program_id(0)
    block, sample = unit // across % blocks, (unit // across // blocks).to(tl.int64)
    c = unit % across * BLOCK_C + tl.arange(0, BLOCK_C)
    in_c = c < channels
    first = block * block_rows
    base = x + sample * rows * channels
    # One value of each channel is taken off, or sums of squares would lose digits to a mean that is large.
    pivot = tl.load(base + first.to(tl.int64) * channels + c, mask=in_c, other=0.0).to(tl.float32)
    # Rows are summed once, at the end.
    total = tl.zeros((BLOCK_R, BLOCK_C), tl.float32)
    squares = tl.zeros((BLOCK_R, BLOCK_C), tl.float32)
    last = tl.minimum(first + block_rows, rows)
    for start in range(first, last, 2 * BLOCK_R):
        r = start + tl.arange(0, BLOCK_R)
        at = base + r[:, None].to(tl.int64) * channels + c[None, :]
        inside = (r < last)[:, None] & in_c[None, :]
        further = (r + BLOCK_R < last)[:, None] & in_c[None, :]
        # Two tiles are under way while none is summed.
        these = tl.load(at, mask=inside, other=0.0)
        those = tl.load(at + BLOCK_R * channels, mask=further, other=0.0)
        values = tl.where(inside, these.to(tl.float32) - pivot[None, :], 0.0)
        total += values
        squares += values * values
        values = tl.where(further, those.to(tl.float32) - pivot[None, :], 0.0)
        total += values
        squares += values * values
    summed = tl.sum(total, axis=0)
    count = (last - first).to(tl.float32)
    out = moments + (sample * blocks + block) * channels + c
    tl.store(out, pivot + summed / count, mask=in_c)
    spread = tl.sum(squares, axis=0) - summed * summed / count
    tl.store(out + (tl.num_programs(0) // across).to(tl.int64) * channels, spread, mask=in_c)


@kernel
def _scales(
    moments, shift, weight, bias, affine, rows, channels, block_rows, blocks, share, group_width, eps,
    BLOCK_B: tl.constexpr, BLOCK_W: tl.constexpr, SHIFTED: tl.constexpr,
):  # fmt: skip
    """Join the blocks' moments to those of a group (Chan, Golub and LeVeque 1979) → affine (2, samples, C)."""
    sample, group = tl.program_id(0).to(tl.int64), tl.program_id(1)
    samples = tl.num_programs(0).to(tl.int64)
    w = tl.arange(0, BLOCK_W)
    in_w = w < group_width
    c = group * group_width + w
    moved = tl.zeros((BLOCK_W,), tl.float32)
    if SHIFTED:
        moved = tl.load(shift + sample // share * channels + c, mask=in_w, other=0.0).to(tl.float32)
    mean = moments + sample * blocks * channels
    spread = mean + samples * blocks * channels
    # Means are summed as differences from one that is near.
    near = tl.sum(tl.load(mean + c, mask=in_w, other=0.0) + tl.where(in_w, moved, 0.0), axis=0) / group_width
    total = tl.zeros((BLOCK_B, BLOCK_W), tl.float32)
    for first in range(0, blocks, BLOCK_B):
        block = first + tl.arange(0, BLOCK_B)
        inside = (block < blocks)[:, None] & in_w[None, :]
        count = tl.minimum(rows - block * block_rows, block_rows).to(tl.float32)
        values = tl.load(mean + block[:, None] * channels + c[None, :], mask=inside, other=0.0)
        total += tl.where(inside, count[:, None] * (values + moved[None, :] - near), 0.0)
    elements = rows * 1.0 * group_width
    centre = near + tl.sum(tl.sum(total, axis=1), axis=0) / elements
    total = tl.zeros((BLOCK_B, BLOCK_W), tl.float32)
    for first in range(0, blocks, BLOCK_B):
        block = first + tl.arange(0, BLOCK_B)
        inside = (block < blocks)[:, None] & in_w[None, :]
        count = tl.minimum(rows - block * block_rows, block_rows).to(tl.float32)
        at = block[:, None] * channels + c[None, :]
        away = tl.load(mean + at, mask=inside, other=0.0) + moved[None, :] - centre
        own = tl.load(spread + at, mask=inside, other=0.0)
        total += tl.where(inside, own + count[:, None] * away * away, 0.0)
    variance = tl.sum(tl.sum(total, axis=1), axis=0) / elements
    scaled = tl.load(weight + c, mask=in_w, other=0.0).to(tl.float32) / tl.sqrt(variance + eps)
    out = affine + sample * channels + c
    tl.store(out, scaled, mask=in_w)
    added = tl.load(bias + c, mask=in_w, other=0.0).to(tl.float32) + (moved - centre) * scaled
    tl.store(out + samples * channels, added, mask=in_w)


@kernel
def _apply(x, affine, out, rows, channels, across, SILU: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr):
    unit = tl.program_id(0)
    blocks = tl.cdiv(rows, BLOCK_R)
    sample = (unit // across // blocks).to(tl.int64)
    r = unit // across % blocks * BLOCK_R + tl.arange(0, BLOCK_R)
    c = unit % across * BLOCK_C + tl.arange(0, BLOCK_C)
    in_c = c < channels
    inside = (r < rows)[:, None] & in_c[None, :]
    at = sample * rows * channels + r[:, None].to(tl.int64) * channels + c[None, :]
    own = affine + sample * channels + c
    factor = tl.load(own, mask=in_c, other=0.0)
    added = tl.load(own + (tl.num_programs(0) // across // blocks).to(tl.int64) * channels, mask=in_c, other=0.0)
    values = tl.load(x + at, mask=inside, other=0.0).to(tl.float32) * factor[None, :] + added[None, :]
    if SILU:
        values = values / (1.0 + tl.exp(-values))
    tl.store(out + at, values.to(out.dtype.element_ty), mask=inside)


@kernel
def _whole(
    x, shift, weight, bias, out, rows, channels, groups, share, eps,
    WIDTH: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_W: tl.constexpr, SHIFTED: tl.constexpr, SILU: tl.constexpr,
):  # fmt: skip
    """A group of one sample, read once: mean, then squares about it, then the result."""
    unit = tl.program_id(0)
    sample = (unit // groups).to(tl.int64)
    w = tl.arange(0, BLOCK_W)
    in_w = w < WIDTH
    c = unit % groups * WIDTH + w
    r = tl.arange(0, BLOCK_R)
    inside = (r < rows)[:, None] & in_w[None, :]
    at = sample * rows * channels + r[:, None].to(tl.int64) * channels + c[None, :]
    values = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    if SHIFTED:
        moved = tl.load(shift + sample // share * channels + c, mask=in_w, other=0.0).to(tl.float32)
        values = tl.where(inside, values + moved[None, :], 0.0)
    elements = rows * 1.0 * WIDTH
    values = tl.where(inside, values - tl.sum(tl.sum(values, axis=1), axis=0) / elements, 0.0)
    # What rounding left of the mean.
    rest = tl.sum(tl.sum(values, axis=1), axis=0) / elements
    variance = tl.sum(tl.sum(values * values, axis=1), axis=0) / elements - rest * rest
    scaled = tl.load(weight + c, mask=in_w, other=0.0).to(tl.float32) / tl.sqrt(variance + eps)
    added = tl.load(bias + c, mask=in_w, other=0.0).to(tl.float32) - rest * scaled
    values = values * scaled[None, :] + added[None, :]
    if SILU:
        values = values / (1.0 + tl.exp(-values))
    tl.store(out + at, values.to(out.dtype.element_ty), mask=inside)


class GroupNormPlan(NamedTuple):
    """Grids and tiles of one shape."""

    block_rows: int  # of which one program gathers the moments
    blocks: int
    across: int  # blocks of channels
    moments_r: int
    block_r: int
    block_c: int
    block_b: int
    block_w: int
    scales_warps: int
    moments: Grid
    scales: Grid
    apply: Grid
    whole: Grid | None  # instead of these three
    whole_r: int
    whole_warps: int


@functools.lru_cache(KEPT_SHAPES)
def plan_group_norm(samples: int, rows: int, channels: int, groups: int) -> GroupNormPlan:
    """For samples of (rows, channels)."""
    block_c = channel_block(channels)
    across = blocks_of(channels, block_c)
    block_r = min(_TILE // block_c, power_of_2(rows))
    block_rows = max(_FEWEST_ROWS, power_of_2(blocks_of(samples * across * rows, _MOST_PROGRAMS)))
    blocks = blocks_of(rows, block_rows)
    block_w = power_of_2(channels // groups)
    block_b = max(1, (_ONE_WARP if blocks * block_w <= _ONE_WARP else _SCALES_TILE) // block_w)
    tile = power_of_2(rows) * block_w
    return GroupNormPlan(
        block_rows, blocks, across, _MOMENTS_TILE // block_c, block_r, block_c,
        block_b=block_b, block_w=block_w, scales_warps=1 if block_b * block_w <= _ONE_WARP else 4,
        moments=(samples * blocks * across,),
        scales=(samples, groups),
        apply=(samples * blocks_of(rows, block_r) * across,),
        whole=(samples * groups,) if tile <= _WHOLE_TILE and channels // groups >= _WHOLE_WIDTH else None,
        whole_r=power_of_2(rows), whole_warps=max(1, tile // 1024),
    )  # fmt: skip


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
    plan = plan_group_norm(samples, rows, channels, groups)
    out = torch.empty_like(x)
    shifted, share = shift is not None, 1 if shift is None else samples // len(shift)
    shift = x if shift is None else shift.contiguous()
    if plan.whole is not None:
        with on(x):
            _whole[plan.whole](
                x, shift, weight, bias, out, rows, channels, groups, share, eps, WIDTH=channels // groups,
                BLOCK_R=plan.whole_r, BLOCK_W=plan.block_w, SHIFTED=shifted, SILU=silu, num_warps=plan.whole_warps,
            )  # fmt: skip
        return out
    moments = torch.empty(2 * samples * plan.blocks * channels, device=x.device, dtype=torch.float32)
    affine = torch.empty(2 * samples * channels, device=x.device, dtype=torch.float32)
    with on(x):
        _moments[plan.moments](
            x, moments, rows, channels, plan.block_rows, plan.blocks, plan.across,
            BLOCK_R=plan.moments_r, BLOCK_C=plan.block_c,
        )  # fmt: skip
        _scales[plan.scales](
            moments, shift, weight, bias, affine, rows, channels, plan.block_rows, plan.blocks, share,
            channels // groups, eps, BLOCK_B=plan.block_b, BLOCK_W=plan.block_w, SHIFTED=shifted,
            num_warps=plan.scales_warps,
        )  # fmt: skip
        _apply[plan.apply](
            x, affine, out, rows, channels, plan.across, SILU=silu, BLOCK_R=plan.block_r, BLOCK_C=plan.block_c
        )
    return out
