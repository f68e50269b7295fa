"""The keyframes' autoencoder (diffusers' AutoencoderKL) in channels-last memory: the plain results, our forms."""

import copy
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from kernel_stand_ins import stand_in
from small_networks import randomise
from torch import nn
from torch.nn import functional as F

from paintsundo.models import fused, use_channels_last


def error(value: torch.Tensor, truth: torch.Tensor) -> float:
    return float((value.double() - truth.double()).norm() / truth.double().norm())


def last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def plain_and_fast() -> tuple[Any, Any]:
    plain = randomise(
        AutoencoderKL(
            block_out_channels=(24, 48, 48),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            layers_per_block=1,
            latent_channels=3,
            norm_num_groups=8,
        )
    )
    return plain, fused.set_fused(use_channels_last(copy.deepcopy(plain)), True)


def both_ways(network: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (2, 3, 5, 6) of pictures, and pictures of latents."""
    generator = torch.Generator().manual_seed(3)
    shapes = ((2, 3, 20, 24), (2, 3, 5, 6))
    pictures, latents = (torch.randn(shape, generator=generator).to(network.dtype) for shape in shapes)
    return network.encode(pictures).latent_dist.mode(), network.decode(latents).sample


@torch.no_grad()
def test_results_and_names_are_those_of_the_plain_network() -> None:
    plain, fast = plain_and_fast()
    for value, truth in zip(both_ways(fast), both_ways(plain), strict=True):
        assert error(value, truth) < 1e-5
    assert list(fast.state_dict()) == list(plain.state_dict())
    for name, value in plain.state_dict().items():
        assert torch.equal(fast.state_dict()[name], value)


@torch.no_grad()
def test_bfloat16_is_no_further_from_the_truth_than_plain_bfloat16() -> None:
    plain, fast = plain_and_fast()
    truths = both_ways(plain)
    values = [both_ways(network.bfloat16()) for network in (plain, fast)]
    for truth, usual, own in zip(truths, *values, strict=True):
        assert 0 < error(own, truth) < 1.3 * error(usual, truth)


@torch.no_grad()
def test_doubled_pictures_are_never_made(monkeypatch: pytest.MonkeyPatch) -> None:
    _, fast = plain_and_fast()
    monkeypatch.setattr(F, "interpolate", None)
    both_ways(fast)


@torch.no_grad()
def test_upsampling_to_other_sizes_and_without_convolution() -> None:
    x = torch.randn(2, 8, 5, 6)
    for plain in (Upsample2D(8, use_conv=True), Upsample2D(8), Upsample2D(8, use_conv_transpose=True, kernel_size=4)):
        fast = fused.set_fused(use_channels_last(copy.deepcopy(plain)), True).eval()
        for size in (None, (10, 12), (9, 11)):
            torch.testing.assert_close(fast(last(x), size), plain(x, size), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_every_norm_goes_through_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, fast = plain_and_fast()
    truth = both_ways(plain)
    calls = without_upsampling(monkeypatch)
    for value, right in zip(both_ways(fast), truth, strict=True):
        assert error(value, right) < 1e-5
    norms = [m for m in fast.modules() if isinstance(m, nn.GroupNorm)]
    assert len(calls) == len(norms) > 20
    assert sum(calls) == 2 * sum(isinstance(m, ResnetBlock2D) for m in fast.modules())  # those with SiLU


def without_upsampling(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """`stand_in`, but doubled pictures are made as they always are."""
    monkeypatch.setattr(fused, "can_upsample", lambda layer, conv, x: False)
    return stand_in(monkeypatch)


@torch.no_grad()
def test_norm_of_tokens_and_of_other_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    norm = randomise(nn.GroupNorm(4, 8))
    tokens, frames = torch.randn(2, 8, 6), torch.randn(2, 8, 3, 2)
    shapes = [tokens, tokens.mT.contiguous().mT, frames, last(frames)]
    truths = [norm(x) for x in shapes]
    fast = use_channels_last(norm)
    calls = without_upsampling(monkeypatch)
    for is_fused, kernels in ((False, 0), (True, 2)):
        fused.set_fused(fast, is_fused)
        calls.clear()
        for x, truth in zip(shapes, truths, strict=True):
            out = fast(x)
            assert out.shape == x.shape
            assert error(out, truth) < 1e-6
        assert len(calls) == kernels
    with torch.enable_grad():
        fast(last(frames))
    assert len(calls) == kernels


@pytest.mark.parametrize("kind", ["default", "scale_shift", "group"])
@torch.no_grad()
def test_residual_block_with_every_use_of_the_embedding(kind: str) -> None:
    channels = None if kind == "group" else 6
    plain = randomise(
        ResnetBlock2D(in_channels=8, out_channels=12, temb_channels=channels, groups=4, time_embedding_norm=kind)
    )
    fast = fused.set_fused(use_channels_last(copy.deepcopy(plain)), True)
    x, embedding = torch.randn(2, 8, 5, 6), torch.randn(2, 6)
    assert error(fast(last(x), embedding), plain(x, embedding)) < 1e-6
