"""The video autoencoder's round trip: the ceiling of how near a film's last frame can come to the picture."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from paintsundo.checkpoints.sources import resolve
from paintsundo.conditioning.images import to_model, to_uint8
from paintsundo.metrics.report import finite_psnr
from paintsundo.models import VideoAutoencoderKL


@torch.inference_mode()
def round_trip(vae: Any, picture: NDArray[np.uint8]) -> float:
    """PSNR of a picture (H,W,3) against itself, encoded and decoded by a multi-frame model's autoencoder.

    The decoder gets the encoder's states of the picture, as it does for the first frame of every clip.
    """
    # A decoder that takes a few frames between the ends at a time was trained on such clips, not on the ends alone.
    count = 2 + (getattr(vae.config, "decode_group", 0) or 0)
    frames = to_model(np.stack([picture] * count)).transpose(0, 1)[None]
    latents, hidden = vae.encode(frames.to(vae.device, vae.dtype))
    return finite_psnr(to_uint8(vae.decode(latents, hidden)[0, :, 0]), picture)


class AutoencoderRoundTrip:
    """`round_trip` of the autoencoder of a checkpoint: "bundled", a folder or a hub id."""

    def __init__(self, source: str) -> None:
        self.vae = VideoAutoencoderKL.from_pretrained(resolve(source, "multi_frame") / "vae").eval()

    def __call__(self, picture: NDArray[np.uint8]) -> float:
        return round_trip(self.vae, picture)
