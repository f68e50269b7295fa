"""Which picture sizes a pair of models can work with, known from their configurations alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paintsundo.errors import UserError


def keyframe_multiple(vae: Mapping[str, Any]) -> int:
    """Both sides of a keyframe must be multiples of this: the autoencoder's downsampling factor.

    The single-frame UNet itself takes latents of any size.
    """
    return 2 ** (len(vae["block_out_channels"]) - 1)


def video_multiple(vae: Mapping[str, Any], unet: Mapping[str, Any]) -> int:
    """Both sides of a video frame must be multiples of this: the factors of autoencoder and UNet together."""
    return 2 ** (len(vae["ch_mult"]) - 1 + len(unet["channel_mult"]) - 1)


def check_keyframe_size(width: int, height: int, multiple: int) -> None:
    """Raise UserError, with the nearest size that works, unless both sides are positive multiples."""
    for name, value in (("width", width), ("height", height)):
        if value < 1 or value % multiple:
            raise UserError(
                f"keyframes.{name} is {value}, but these models need a multiple of {multiple}: "
                f"the nearest is {nearest(value, multiple)}"
            )


def check_buckets(buckets: Sequence[Sequence[int]], multiple: int) -> None:
    """Raise UserError, with the nearest size that works, unless all bucket sides are positive multiples."""
    for height, width in buckets:
        if min(height, width) < 1 or height % multiple or width % multiple:
            raise UserError(
                f"video.buckets has [{height},{width}], but these models need multiples of {multiple}: "
                f"the nearest is [{nearest(height, multiple)},{nearest(width, multiple)}]"
            )


def nearest(value: int, multiple: int) -> int:
    """The positive multiple nearest to a value."""
    return max(1, round(value / multiple)) * multiple
