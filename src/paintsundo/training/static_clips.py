"""Whether a temporal autoencoder keeps colours of a clip in which nothing moves, at its ends and between them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# BT.601, as in JPEG: Cb and Cr of RGB.
_CHROMA = ((-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_COLOURED = 12.0  # of 255: pixels of less chroma are grey, and have no hue


def chroma(pictures: Tensor) -> Tensor:
    """RGB (…, 3, H, W) in [−1, 1] → Cb and Cr (…, 2, H, W), in levels of 255."""
    return torch.einsum("kc,...chw->...khw", pictures.new_tensor(_CHROMA), pictures) * 127.5


@torch.no_grad()
def static_drift(vae: Any, pictures: Tensor, frames: int = 16) -> dict[str, float]:
    """What becomes of pictures shown as clips of `frames` equal frames, encoded and decoded.

    Between keyframes the decoder has only latents to go by, at the ends the encoder's states too: where latents carry
    the colour, both agree.

    Args:
        vae: `VideoAutoencoderKL`.
        pictures: (N, 3, H, W) in [−1, 1].
        frames: of a clip, 3 or more.

    Returns:
        mean distances in chroma, levels of 255, over coloured pixels: `ends` and `middle` to the picture, `drift` of
        the middle frame from the first; `hue`, the mean angle between their colours in degrees; and over all pixels
        `flicker`, the largest mean absolute difference of neighbouring frames, in levels.
    """
    clips = pictures[:, :, None].expand(-1, -1, frames, -1, -1)
    found = [vae.decode(*vae.encode(clip.contiguous())).float().clamp(-1, 1) for clip in clips.split(1)]
    decoded = torch.cat(found).transpose(1, 2)  # (N, T, 3, H, W)
    true, shown = chroma(pictures), chroma(decoded)
    coloured = true.norm(dim=1) >= _COLOURED
    first, middle, last = shown[:, 0], shown[:, frames // 2], shown[:, -1]

    def distance(one: Tensor, other: Tensor) -> float:
        apart = (one - other).norm(dim=1)[coloured]
        return float(apart.mean()) if len(apart) else 0.0

    angle = torch.atan2(_cross(first, middle), (first * middle).sum(1)).abs()
    seen = coloured & (first.norm(dim=1) >= _COLOURED) & (middle.norm(dim=1) >= _COLOURED)
    steps = (decoded[:, 1:] - decoded[:, :-1]).abs().mean((0, 2, 3, 4)) * 127.5
    return {
        "ends": (distance(first, true) + distance(last, true)) / 2,
        "middle": distance(middle, true),
        "drift": distance(first, middle),
        "hue": float(angle[seen].mean().rad2deg()) if seen.any() else 0.0,
        "flicker": float(steps.max()),
    }


def _cross(one: Tensor, other: Tensor) -> Tensor:
    return one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
