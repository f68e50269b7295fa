"""A convolution of a picture doubled by nearest neighbour: its weights, and its result put together (Triton)."""

from __future__ import annotations

import functools

import torch

from paintsundo.models.triton_launch import KEPT_SHAPES, Grid, blocks_of, channel_block, kernel, on, power_of_2, tl

_TILE = 4096
_WEIGHTS_TILE = 256


@kernel
def _kernels(
    weight, out, outputs, inputs, across, w_out, w_in, w_down, w_along, BLOCK: tl.constexpr
):  # fmt: skip
    """For one output channel: nine taps to four kernels of four."""
    unit = tl.program_id(0)
    o = (unit // across).to(tl.int64)
    i = unit % across * BLOCK + tl.arange(0, BLOCK)
    inside = i < inputs
    base = weight + o * w_out + i.to(tl.int64) * w_in
    for down in tl.static_range(2):
        for tap in tl.static_range(2):
            # Rows 0 | 1 + 2 of the kernel above even rows, 0 + 1 | 2 above odd ones; columns in the same way.
            low = tap * (1 + down)
            high = 2 * tap + down * (1 - tap)
            left = tl.load(base + low * w_down, mask=inside, other=0.0).to(tl.float32)
            middle = tl.load(base + low * w_down + w_along, mask=inside, other=0.0).to(tl.float32)
            right = tl.load(base + low * w_down + 2 * w_along, mask=inside, other=0.0).to(tl.float32)
            if high > low:
                left += tl.load(base + high * w_down, mask=inside, other=0.0).to(tl.float32)
                middle += tl.load(base + high * w_down + w_along, mask=inside, other=0.0).to(tl.float32)
                right += tl.load(base + high * w_down + 2 * w_along, mask=inside, other=0.0).to(tl.float32)
            even = out + (((2 * down) * outputs + o) * 4 + 2 * tap) * inputs + i
            odd = out + (((2 * down + 1) * outputs + o) * 4 + 2 * tap) * inputs + i
            kind = out.dtype.element_ty
            tl.store(even, left.to(kind), mask=inside)
            tl.store(even + inputs, (middle + right).to(kind), mask=inside)
            tl.store(odd, (left + middle).to(kind), mask=inside)
            tl.store(odd + inputs, right.to(kind), mask=inside)


@functools.lru_cache(KEPT_SHAPES)
def plan_kernels(outputs: int, inputs: int) -> tuple[Grid, int, int]:
    """Grid, input channels of a tile, tiles of a row."""
    block = min(_WEIGHTS_TILE, power_of_2(inputs))
    across = blocks_of(inputs, block)
    return (outputs * across,), block, across


def kernels(weight: torch.Tensor) -> torch.Tensor:
    """Weights (C', C, 3, 3) → (4·C', C, 2, 2), channels last: sums of those that meet the same pixel, rounded once.

    The four kernels are those above even and odd rows (outer) and even and odd columns (inner).
    """
    outputs, inputs = weight.shape[:2]
    grid, block, across = plan_kernels(outputs, inputs)
    out = torch.empty(
        (4 * outputs, inputs, 2, 2), dtype=weight.dtype, device=weight.device, memory_format=torch.channels_last
    )
    with on(weight):
        _kernels[grid](weight, out, outputs, inputs, across, *weight.stride(), BLOCK=block, num_warps=1)
    return out


@kernel
def _interleave(
    parts, bias, out, rows, channels, across, height, width,
    BIASED: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Rows are pixels of the result; height and width are those before doubling."""
    unit = tl.program_id(0)
    r = unit // across * BLOCK_R + tl.arange(0, BLOCK_R)
    c = unit % across * BLOCK_C + tl.arange(0, BLOCK_C)
    in_c = c < channels
    inside = (r < rows)[:, None] & in_c[None, :]
    column, line = r % (2 * width), r // (2 * width)
    row, sample = line % (2 * height), line // (2 * height)
    down, along = row % 2, column % 2
    # The convolution is padded on both sides: there is a line and a column more than pixels.
    place = (sample * (height + 1) + row // 2 + down).to(tl.int64) * (width + 1) + column // 2 + along
    values = tl.load(
        parts + (place * 4 + 2 * down + along)[:, None] * channels + c[None, :], mask=inside, other=0.0
    ).to(tl.float32)  # fmt: skip
    if BIASED:
        values += tl.load(bias + c, mask=in_c, other=0.0).to(tl.float32)[None, :]
    tl.store(out + r[:, None].to(tl.int64) * channels + c[None, :], values.to(out.dtype.element_ty), mask=inside)


@functools.lru_cache(KEPT_SHAPES)
def plan_interleave(pixels: int, channels: int) -> tuple[Grid, int, int, int]:
    """Grid, rows and channels of a tile, blocks of channels; for as many pixels of the result."""
    block_c = channel_block(channels)
    block_r = min(_TILE // block_c, power_of_2(pixels))
    across = blocks_of(channels, block_c)
    return (blocks_of(pixels, block_r) * across,), block_r, block_c, across


def interleave(parts: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """What the four kernels gave (N, 4·C, h + 1, w + 1), plus a bias (C,) → (N, C, 2·h, 2·w); both channels last."""
    samples, height, width = len(parts), parts.shape[2] - 1, parts.shape[3] - 1
    channels, rows = parts.shape[1] // 4, samples * 4 * height * width
    grid, block_r, block_c, across = plan_interleave(rows, channels)
    out = torch.empty(
        (samples, channels, 2 * height, 2 * width),
        dtype=parts.dtype,
        device=parts.device,
        memory_format=torch.channels_last,
    )
    with on(parts):
        _interleave[grid](
            parts, parts if bias is None else bias, out, rows, channels, across, height, width,
            BIASED=bias is not None, BLOCK_R=block_r, BLOCK_C=block_c,
        )  # fmt: skip
    return out
