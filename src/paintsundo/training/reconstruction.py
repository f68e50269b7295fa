"""What autoencoders are trained with: reconstruction loss, latent moments, the latent scale folded into weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 at three scales, L1 of horizontal and vertical differences and of differences between channels.

    Both are (N, 3, H, W) in [−1, 1]. Differences in space keep thin lines from being averaged away; those between
    channels make colour come as early as brightness, where much of the data is black, white and grey.
    """
    loss = F.l1_loss(output, target) + 2.0 * F.mse_loss(output, target)
    for axis in (-1, -2):
        loss = loss + F.l1_loss(output.diff(dim=axis), target.diff(dim=axis))
    for pair in ((0, 1), (1, 2)):
        loss = loss + F.l1_loss(output[:, pair[0]] - output[:, pair[1]], target[:, pair[0]] - target[:, pair[1]])
    for scale in (4, 16):
        loss = loss + 0.5 * F.l1_loss(F.avg_pool2d(output, scale), F.avg_pool2d(target, scale))
    return loss


def moment_penalty(mean: Tensor) -> Tensor:
    """Squared distance of each channel's mean from 0 and standard deviation from 1, on latents (N, C, h, w).

    Keeps latents of mostly white pictures centred, which the noise schedules assume.
    """
    channel = mean.transpose(0, 1).flatten(1).float()
    return channel.mean(1).square().mean() + (channel.std(1) - 1.0).square().mean()


@torch.no_grad()
def fold_latent_scale(quant_conv: nn.Conv2d, decoder_input: nn.Conv2d, std: Tensor, scaling_factor: float) -> None:
    """Rescale channels so that latents × scaling_factor have unit deviation, leaving the reconstruction unchanged.

    Args:
        quant_conv: last encoder convolution, giving [mean, log-variance] of C channels each.
        decoder_input: first convolution that sees the latents.
        std: float (C,), deviation of each unscaled latent channel.
        scaling_factor: the layout's constant (0.18215).
    """
    gain = 1.0 / (std * scaling_factor)
    channels = len(gain)
    quant_conv.weight[:channels] *= gain[:, None, None, None]
    assert quant_conv.bias is not None
    quant_conv.bias[:channels] *= gain
    quant_conv.bias[channels:] += 2.0 * gain.log()
    decoder_input.weight /= gain[None, :, None, None]


def psnr(output: Tensor, target: Tensor) -> Tensor:
    """Mean peak signal-to-noise ratio in dB of (N, …) in [−1, 1] (range 2)."""
    error = (output.clamp(-1, 1) - target).square().flatten(1).mean(1).clamp(min=1e-10)
    return (10.0 * torch.log10(4.0 / error)).mean()


def to_bytes(pictures: Tensor) -> Tensor:
    """float in [−1, 1] → uint8, truncated as the published system does."""
    return (pictures.float() * 127.5 + 127.5).clamp(0, 255).to(torch.uint8)
