"""Decoding in slices: the same clip, the same order of rounding error, and far less memory."""

import pytest
import torch
from small_networks import randomise, video_autoencoder

from paintsundo.models import VideoAutoencoderKL, use_channels_last
from paintsundo.models.video_vae_slices import _normalisation


@pytest.fixture(scope="module")
def vae() -> VideoAutoencoderKL:
    return randomise(video_autoencoder())


def encoded(vae: VideoAutoencoderKL, frames: int, batch: int = 2) -> tuple[torch.Tensor, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(frames)
    ends = torch.rand(batch, 3, 2, 32, 24, generator=generator) * 2 - 1
    hidden = vae.encode(ends)[1]
    return torch.randn(batch, 6, frames, 8, 6, generator=generator), hidden


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    return ((one.double() - other.double()).norm() / other.double().norm()).item()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("frames", "slice_frames"), [(16, 1), (16, 3), (7, 2), (33, 5), (2, 1)])
@torch.no_grad()
def test_slices_are_exact(vae, frames, slice_frames, channels_last):
    network = use_channels_last(randomise(video_autoencoder())) if channels_last else vae
    latents, hidden = encoded(network, frames)
    plain = network.decode(latents, hidden)
    before = [latents.clone(), *(state.clone() for state in hidden)]
    network.enable_slicing(slice_frames)
    sliced = network.decode(latents, hidden)
    network.disable_slicing()
    assert relative(sliced, plain) < 1e-6
    for kept, given in zip(before, [latents, *hidden], strict=True):
        assert torch.equal(kept, given)  # what is overwritten is never the caller's


@torch.no_grad()
def test_time_matters_and_its_statistics_are_those_of_the_clip(vae):
    """A decoder whose normalisation saw a slice alone would fail here: slices decoded as clips of their own differ."""
    latents, hidden = encoded(vae, 16)
    plain = vae.decode(latents, hidden)
    apart = torch.cat([vae.decode(piece, hidden) for piece in latents.split(4, dim=2)], dim=2)
    assert relative(apart, plain) > 1e-3


@torch.no_grad()
def test_rounding_in_bfloat16_is_of_the_same_order(vae):
    """The float32 clip is the judge of both."""
    latents, hidden = encoded(vae, 16)
    judge = vae.decode(latents, hidden)
    half = randomise(video_autoencoder()).bfloat16()
    given = (latents.bfloat16(), [state.bfloat16() for state in hidden])
    plain = relative(half.decode(*given), judge)
    half.enable_slicing(2)
    sliced = relative(half.decode(*given), judge)
    assert 0 < sliced < 1.5 * plain


@torch.no_grad()
def test_joined_statistics_are_those_of_group_norm():
    """Also where the mean is large beside the deviation, and the last slice is shorter."""
    norm = randomise(torch.nn.GroupNorm(3, 12, eps=1e-5))
    clip = torch.randn(7, 12, 5, 4) + 100 * torch.arange(12).view(1, 12, 1, 1)
    whole = norm(clip.transpose(0, 1)[None])[0].transpose(0, 1)
    torch.testing.assert_close(_normalisation(norm, clip, 3, alone=False)(clip), whole, rtol=1e-3, atol=1e-4)


def test_gradients_take_the_whole_clip(vae):
    latents, hidden = encoded(vae, 4, batch=1)
    vae.enable_slicing(1)
    latents.requires_grad_()
    vae.decode(latents, hidden).square().mean().backward()
    vae.disable_slicing()
    assert latents.grad.abs().sum() > 0
