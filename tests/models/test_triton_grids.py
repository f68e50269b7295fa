"""Grids of the kernels for GPUs keep CUDA's limits and cover what they work on; nothing is launched here."""

from collections.abc import Iterator
from itertools import product

import pytest

from paintsundo.models import fused, triton_layer_norm
from paintsundo.models.triton_kernels import plan_add, plan_geglu, plan_over_time
from paintsundo.models.triton_launch import Grid, blocks_of, channel_block, power_of_2
from paintsundo.models.triton_layer_norm import plan_layer_norm
from paintsundo.models.triton_norms import plan_group_norm
from paintsundo.models.triton_upsample import plan_interleave, plan_kernels

MOST = (2**31 - 1, 65535, 65535)
FRAMES = 16
# Channels, those beside concatenated skips among them, and positions of a frame of 448×384.
LEVELS = [
    (320, 2688),
    (640, 2688),
    (960, 2688),
    (640, 672),
    (1920, 672),
    (1280, 168),
    (2560, 168),
    (1280, 42),
    (2560, 42),
]
# (samples, rows, channels) of GroupNorms: the 3D UNet's frames and clips, for both halves of guidance …
UNET_3D = [
    (2 * pairs * samples, rows * FRAMES // samples, channels)
    for pairs, samples, (channels, rows) in product((1, 7), (1, FRAMES), LEVELS)
]
# … the decoder's, 7 keyframes of 1024×1024, and clips of more and larger pictures than anyone has.
OTHERS = [
    *((pairs * samples, FRAMES // samples * 448 * 384, 128) for pairs in (1, 7) for samples in (1, FRAMES)),
    *((14, 128 * 128 // 4**level, channels) for level, channels in enumerate((320, 640, 1280, 2560))),
    (7, 1024 * 1024, 128),
    (1, 64 * 2048 * 2048, 512),
    (200_000, 4, 64),
]


def plans(samples: int, rows: int, channels: int) -> Iterator[tuple[str, Grid]]:
    """Of every kernel that may work on so many samples of (rows, channels)."""
    norm = plan_group_norm(samples, rows, channels, 32)
    yield from (
        ("moments", norm.moments),
        ("scales", norm.scales),
        ("apply", norm.apply),
        ("whole", norm.whole or (1,)),
    )
    positions = samples * rows
    yield "layer_norm", plan_layer_norm(positions, channels)[0]
    yield "add", plan_add(positions, channels)[0]
    yield "geglu", plan_geglu(positions, 4 * channels)[0]
    yield "interleave", plan_interleave(positions, channels)[0]
    yield "kernels", plan_kernels(channels, channels)[0]
    yield "over_time", plan_over_time(samples, FRAMES, rows // FRAMES + 1, channels // 64, 64)[0]


@pytest.mark.parametrize(("samples", "rows", "channels"), [*UNET_3D, *OTHERS])
def test_grids_keep_the_limits(samples: int, rows: int, channels: int) -> None:
    for name, grid in plans(samples, rows, channels):
        assert 1 <= len(grid) <= 3, name
        assert all(1 <= size <= most for size, most in zip(grid, MOST, strict=False)), (name, grid)


@pytest.mark.parametrize(("samples", "rows", "channels"), [*UNET_3D, *OTHERS])
def test_tiles_cover_everything_once(samples: int, rows: int, channels: int) -> None:
    plan = plan_group_norm(samples, rows, channels, 32)
    assert (plan.blocks - 1) * plan.block_rows < rows <= plan.blocks * plan.block_rows
    assert (plan.across - 1) * plan.block_c < channels <= plan.across * plan.block_c
    assert plan.block_w >= channels // 32
    assert plan.moments == (samples * plan.blocks * plan.across,)
    assert plan.apply == (samples * blocks_of(rows, plan.block_r) * plan.across,)
    positions = samples * rows
    (programs,), block_r, block_c, _ = plan_layer_norm(positions, channels)
    assert (programs - 1) * block_r < positions <= programs * block_r
    assert channels <= block_c
    for make, width in ((plan_add, channels), (plan_interleave, channels), (plan_geglu, 4 * channels)):
        (programs,), block_r, block_c, across = make(positions, width)
        assert (across - 1) * block_c < width <= across * block_c
        assert (programs // across - 1) * block_r < positions <= programs // across * block_r


def test_moments_keep_many_programs_busy() -> None:
    """Clips are few samples of many rows, frames many of few; 132 multiprocessors get several programs of both."""
    for samples, rows, channels in UNET_3D:
        plan = plan_group_norm(samples, rows, channels, 32)
        if samples * rows * channels >= 2**24:
            assert plan.moments[0] >= 4 * 132, (samples, rows, channels)


def test_groups_of_few_rows_take_one_kernel() -> None:
    for samples, rows, channels in UNET_3D:
        plan = plan_group_norm(samples, rows, channels, 32)
        assert (plan.whole == (samples * 32,)) == (rows <= 42)
        assert plan.whole is None or (plan.whole_r >= rows and plan.whole_warps <= 16)
    assert plan_group_norm(1, 4, 320, 32).whole is None  # 20 bytes a row would be read of lines of 128


def test_sizes_of_tiles() -> None:
    assert [power_of_2(count) for count in (1, 2, 3, 64, 65)] == [1, 2, 4, 64, 128]
    assert [channel_block(channels) for channels in (10, 40, 128, 160, 320, 640, 960)] == [
        16,
        64,
        128,
        128,
        64,
        128,
        64,
    ]
    assert plan_over_time(2, 5, 6, 3, 12) == ((36,), 16, 16, 1)


def test_rows_of_layer_norms_are_held_by_one_program() -> None:
    assert fused._WIDEST_NORM == triton_layer_norm.MAX_WIDTH
    assert plan_layer_norm(10, triton_layer_norm.MAX_WIDTH) == ((10,), 1, 8192, 8)
