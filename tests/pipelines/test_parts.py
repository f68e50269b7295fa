"""Sizes, noise, places and the order of frames."""

from typing import Any

import numpy as np
import pytest
import torch

from paintsundo.errors import UserError
from paintsundo.pipelines import placement
from paintsundo.pipelines.film import PaintsUndoPipeline, default_options
from paintsundo.pipelines.interpolation import frame_positions, join_clips
from paintsundo.pipelines.noise import draw, streams
from paintsundo.pipelines.placement import Placement, choose_device, choose_dtype, choose_vae_dtype
from paintsundo.pipelines.sizes import (
    check_buckets,
    check_keyframe_size,
    keyframe_multiple,
    nearest,
    video_multiple,
)


def test_multiples_of_the_published_models() -> None:
    assert keyframe_multiple({"block_out_channels": [128, 256, 512, 512]}) == 8
    assert video_multiple({"ch_mult": [1, 2, 4, 4]}, {"channel_mult": [1, 2, 4, 4]}) == 64


@pytest.mark.parametrize(("value", "multiple", "expected"), [(100, 64, 128), (90, 64, 64), (1, 64, 64), (640, 64, 640)])
def test_nearest(value: int, multiple: int, expected: int) -> None:
    assert nearest(value, multiple) == expected


def test_sizes_are_checked() -> None:
    check_keyframe_size(512, 640, 8)
    check_buckets([[320, 512], [512, 320]], 64)
    for width, height in ((0, 8), (8, -8), (12, 8)):
        with pytest.raises(UserError):
            check_keyframe_size(width, height, 8)
    with pytest.raises(UserError, match=r"\[320,500\].*\[320,512\]"):
        check_buckets([[320, 512], [320, 500]], 64)


def test_every_row_has_a_stream_of_its_own() -> None:
    together = draw(streams([1, 2, 1], "cpu"), (2, 3), "cpu")
    assert torch.equal(together[0], together[2])
    assert torch.equal(together[1:2], draw(streams([2], "cpu"), (2, 3), "cpu"))
    assert together.dtype == torch.float32
    # As published: one (1, …) draw from a generator of that seed.
    published = torch.randn((1, 2, 3), generator=torch.Generator().manual_seed(2))
    assert torch.equal(together[1:2], published)


def test_film_is_the_clips_without_their_last_frames_reversed() -> None:
    clips = [np.full((4, 1, 1, 3), 10 * pair) + np.arange(4).reshape(4, 1, 1, 1) for pair in range(3)]
    film = join_clips(clips)[:, 0, 0, 0].tolist()
    assert film == [22, 21, 20, 12, 11, 10, 2, 1, 0]
    placed = [None] * len(film)
    for pair, clip in enumerate(clips):
        for index, position in frame_positions(pair, len(clips), len(clip)):
            placed[position] = int(clip[index, 0, 0, 0])
    assert placed == film


@pytest.mark.parametrize("name", ["tpu9", "cuda:99", "meta", ""])
def test_devices_that_are_not_there(name: str) -> None:
    with pytest.raises(UserError):
        choose_device(name)


@pytest.mark.parametrize(("able", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_bfloat16_is_chosen_where_models_allow_it_and_the_processor_can(
    able: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "computes_bfloat16", lambda: able)
    cpu, allowed = torch.device("cpu"), default_options("bundled").models.multi_frame_on_cpu
    assert choose_dtype("auto", cpu, allowed) == expected
    assert choose_dtype("float32", cpu, allowed) == torch.float32
    assert choose_dtype("auto", torch.device("cuda"), allowed) == torch.float16
    assert choose_dtype("auto", cpu, default_options("official").models.multi_frame_on_cpu) == torch.float32
    pipe = PaintsUndoPipeline.from_pretrained(tagger=None, device="cpu")
    assert {part.weight.dtype for part in (pipe.video_unet.out[2], pipe.video_vae.decoder.conv_in)} == {expected}
    # What reads the keyframes is quick in any type, and its rounding would reach all frames.
    others = (pipe.video_vae, pipe.video_text_encoder, pipe.image_encoder, pipe.image_projection)
    assert {network.dtype for network in others} == {torch.float32}
    assert {network.dtype for network in pipe.single_frame.networks().values()} == {torch.float32}


def test_number_types() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert choose_dtype("auto", cpu) == torch.float32
    assert choose_dtype("auto", gpu) == torch.float16
    assert choose_dtype("bfloat16", cpu) == torch.bfloat16
    assert choose_vae_dtype(torch.float16) == torch.bfloat16
    assert choose_vae_dtype(torch.float32) == torch.float32


def test_placement() -> None:
    gpu = torch.device("cuda")
    assert Placement(gpu).low
    assert not Placement(gpu, "high").low
    assert not Placement(torch.device("cpu")).low
    assert Placement(gpu).noise_device == gpu
    assert Placement(gpu, seed_device="cpu").noise_device.type == "cpu"
    assert Placement(gpu, "low").rest_device.type == "cpu"


@pytest.mark.parametrize(
    ("capabilities", "able"),
    [
        ({}, False),
        ({"cpu_name": "AMD EPYC 9R14", "avx512_bf16": True}, True),
        ({"avx512_bf16": True}, True),  # older PyTorch does not name the processor
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, False),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, True),
        ({"cpu_name": "AMD EPYC 7R13", "avx512_bf16": False}, False),
    ],
)
def test_processors_that_gain_from_bfloat16(
    capabilities: dict[str, Any], able: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    placement.computes_bfloat16.cache_clear()
    try:
        assert placement.computes_bfloat16() is able
    finally:
        placement.computes_bfloat16.cache_clear()
