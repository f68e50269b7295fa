"""A decoder that sees, over time, the clip's ends in place of a frame's neighbours."""

from pathlib import Path

import pytest
import torch
from small_networks import randomise, video_autoencoder
from torch.nn import functional as F

from paintsundo.errors import UserError
from paintsundo.models import VideoAutoencoderKL, use_channels_last
from paintsundo.models.fused import set_fused
from paintsundo.models.layers import EndsConv, temporal_conv


@pytest.fixture(scope="module")
def vae() -> VideoAutoencoderKL:
    return randomise(video_autoencoder(time_context="ends"))


def encoded(vae: VideoAutoencoderKL, frames: int, batch: int = 2) -> tuple[torch.Tensor, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(frames)
    hidden = vae.encode(torch.rand(batch, 3, 2, 32, 24, generator=generator) * 2 - 1)[1]
    return torch.randn(batch, 6, frames, 8, 6, generator=generator), hidden


@torch.no_grad()
def test_outer_taps_fall_on_the_ends() -> None:
    conv = randomise(temporal_conv(5, 7, ends=True))
    assert isinstance(conv, EndsConv)
    clip = torch.randn(2, 5, 6, 3, 4)
    out = conv(clip)
    torch.testing.assert_close(conv(clip.flatten(3)).unflatten(3, (3, 4)), out)
    for frame in range(1, 5):
        around = F.conv3d(clip[:, :, [0, frame, 5]], conv.weight, conv.bias)
        torch.testing.assert_close(out[:, :, frame], around[:, :, 0], rtol=1e-4, atol=1e-5)
    ends = F.conv3d(clip[:, :, [0, 5]], conv.weight, conv.bias, padding=(1, 0, 0))
    torch.testing.assert_close(out[:, :, [0, 5]], ends, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2])
@torch.no_grad()
def test_clips_of_ends_alone_are_those_of_the_usual_convolution(frames: int) -> None:
    conv, usual = randomise(temporal_conv(4, 4, ends=True)), temporal_conv(4, 4)
    usual.load_state_dict(conv.state_dict())
    clip = torch.randn(2, 4, frames, 3, 3)
    torch.testing.assert_close(conv(clip), usual(clip), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_frames_between_the_ends_do_not_depend_on_each_other(vae: VideoAutoencoderKL) -> None:
    latents, hidden = encoded(vae, 6)
    whole = vae.decode(latents, hidden)
    for members in ([0, 3, 5], [0, 4, 1, 5], [0, 2, 2, 2, 2, 2, 5]):
        some = vae.decode(latents[:, :, members], hidden)
        torch.testing.assert_close(some, whole[:, :, members], rtol=1e-4, atol=1e-5)
    other = latents.clone()
    other[:, :, -1] += 1  # on the ends they do
    assert (vae.decode(other, hidden)[:, :, 2] - whole[:, :, 2]).abs().max() > 1e-3


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("frames", "slice_frames"), [(9, 1), (9, 4), (2, 1)])
@torch.no_grad()
def test_slices_are_exact(channels_last: bool, frames: int, slice_frames: int) -> None:
    network = randomise(video_autoencoder(time_context="ends"))
    if channels_last:
        use_channels_last(network)
    latents, hidden = encoded(network, frames)
    plain = network.decode(latents, hidden)
    network.enable_slicing(slice_frames)
    sliced = network.decode(latents, hidden)
    assert (sliced - plain).norm() < 1e-6 * plain.norm()


@torch.no_grad()
def test_fused_forms_compute_the_same(vae: VideoAutoencoderKL) -> None:
    latents, hidden = encoded(vae, 5)
    network = set_fused(use_channels_last(randomise(video_autoencoder(time_context="ends"))), True)
    torch.testing.assert_close(network.decode(latents, hidden), vae.decode(latents, hidden), rtol=1e-3, atol=1e-4)


def test_gradients_reach_all_taps() -> None:
    network = randomise(video_autoencoder(time_context="ends"))
    latents, hidden = encoded(network, 4)
    network.decode(latents, [state.detach() for state in hidden]).square().mean().backward()
    convs = [module for module in network.decoder.modules() if isinstance(module, EndsConv)]
    assert convs
    for conv in convs:
        assert (conv.weight.grad.abs().amax(dim=(0, 1, 3, 4)) > 0).all()


def test_it_is_a_choice_of_the_configuration(vae: VideoAutoencoderKL, tmp_path: Path) -> None:
    vae.save_pretrained(tmp_path)
    assert '"time_context": "ends"' in (tmp_path / "config.json").read_text()
    again = VideoAutoencoderKL.from_pretrained(tmp_path).eval()
    latents, hidden = encoded(vae, 4)
    with torch.no_grad():
        assert torch.equal(again.decode(latents, hidden), vae.decode(latents, hidden))
    with pytest.raises(UserError, match="time_context"):
        video_autoencoder(time_context="all")


@torch.no_grad()
def test_weights_trained_with_neighbours_may_go_on_with_ends(tmp_path: Path) -> None:
    usual = randomise(video_autoencoder())
    usual.save_pretrained(tmp_path)
    changed = VideoAutoencoderKL.from_pretrained(tmp_path, changes={"time_context": "ends"})
    assert changed.config["time_context"] == "ends"
    for name, tensor in changed.state_dict().items():
        assert torch.equal(tensor, usual.state_dict()[name])
    latents, hidden = encoded(usual, 5)
    assert (changed.decode(latents, hidden) - usual.decode(latents, hidden)).abs().max() > 1e-3
    with pytest.raises(UserError, match="the configuration of a VideoAutoencoderKL has no time_contexts"):
        VideoAutoencoderKL.from_pretrained(tmp_path, changes={"time_contexts": "ends"})


@torch.no_grad()
def test_ends_do_not_depend_on_each_other(vae: VideoAutoencoderKL) -> None:
    latents, hidden = encoded(vae, 5)
    frames = vae.decode(latents, hidden)
    other, states = latents.clone(), [state.clone() for state in hidden]
    other[:, :, 1:] += 1
    for state in states:
        state[:, :, 1] += 1
    changed = vae.decode(other, states)
    assert torch.allclose(changed[:, :, 0], frames[:, :, 0], atol=1e-5)
    assert (changed[:, :, 1:] - frames[:, :, 1:]).abs().amax(dim=(0, 1, 3, 4)).min() > 1e-3
    alone = vae.decode(latents[:, :, [4, 4]], [state[:, :, [1, 1]] for state in hidden])
    assert torch.allclose(alone[:, :, 1], frames[:, :, 4], atol=1e-5)
    with torch.enable_grad():  # in training ends are seen as they are decoded with what lies between
        assert (vae.decode(latents, hidden)[:, :, 0] - frames[:, :, 0]).abs().max() > 1e-4
