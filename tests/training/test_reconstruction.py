import torch
from diffusers import AutoencoderKL

from paintsundo.models import VideoAutoencoderKL
from paintsundo.training.bank import to_signed
from paintsundo.training.reconstruction import (
    fold_latent_scale,
    moment_penalty,
    psnr,
    reconstruction_loss,
    to_bytes,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)


def deviation(latents: torch.Tensor) -> torch.Tensor:
    """Per channel, of (N, C, …)."""
    return latents.transpose(0, 1).flatten(1).std(1)


@torch.no_grad()
def test_folding_leaves_pictures_as_they_are() -> None:
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
    ).eval()
    pictures = noise(4, 3, 16, 16)
    before = vae.encode(pictures).latent_dist
    decoded = vae.decode(before.mean).sample
    assert (deviation(before.mean) * 0.18215 - 1).abs().min() > 0.1
    fold_latent_scale(vae.quant_conv, vae.post_quant_conv, deviation(before.mean), 0.18215)
    after = vae.encode(pictures).latent_dist
    assert torch.allclose(deviation(after.mean * 0.18215), torch.ones(4), atol=1e-4)
    assert torch.allclose(vae.decode(after.mean).sample, decoded, atol=1e-4)
    # the noise of the posterior grows with its mean
    assert torch.allclose(after.std / before.std, (deviation(after.mean) / deviation(before.mean))[:, None, None])


@torch.no_grad()
def test_folding_leaves_clips_as_they_are() -> None:
    torch.manual_seed(0)
    vae = VideoAutoencoderKL(
        ch=8, ch_mult=(1, 1), num_res_blocks=1, z_channels=4, norm_num_groups=4, combiner_levels=(1,),
        combiner_heads=2, combiner_head_dim=4,
    ).eval()  # fmt: skip
    clips = noise(2, 3, 4, 16, 16)
    latents, hidden = vae.encode(clips)
    decoded = vae.decode(latents, hidden)
    std = deviation(vae.encode_distribution(clips)[0].mean)
    fold_latent_scale(vae.quant_conv, vae.decoder.conv_in, std, vae.scale_factor)
    after, hidden = vae.encode(clips)
    assert not torch.allclose(after, latents, rtol=0.1)
    assert torch.allclose(deviation(after), torch.ones(4), atol=1e-4)
    assert torch.allclose(vae.decode(after, hidden), decoded, atol=1e-4)


def test_losses_are_nought_for_what_they_want() -> None:
    pictures = noise(2, 3, 32, 32)
    assert reconstruction_loss(pictures, pictures) == 0
    assert reconstruction_loss(pictures + 0.1, pictures) > 0
    blurred = torch.nn.functional.avg_pool2d(pictures, 3, 1, 1)
    grey = pictures.mean(1, keepdim=True).expand_as(pictures)
    assert reconstruction_loss(blurred, pictures) > 0.5
    assert reconstruction_loss(grey, pictures) > 0.5
    latents = torch.randn(8, 4, 16, 16)
    unit = (latents - latents.mean((0, 2, 3), keepdim=True)) / deviation(latents)[:, None, None]
    assert moment_penalty(unit) < 1e-6
    assert abs(float(moment_penalty(unit * 3 + 2)) - (4 + 4)) < 1e-3


def test_psnr_and_bytes() -> None:
    half = torch.zeros(2, 3, 4, 4)
    assert abs(float(psnr(half + 0.2, half)) - 20.0) < 1e-4  # error 0.2 in a range of 2
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_bytes(to_signed(every) + 1e-4), every)  # truncation keeps whole values
    assert to_bytes(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]
