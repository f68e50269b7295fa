"""The video autoencoder's round trip: the ceiling of how near a film's last frame can come to the picture."""

import numpy as np
import torch
from numpy.typing import NDArray

from paintsundo.checkpoints.sources import resolve
from paintsundo.conditioning.images import to_model, to_uint8
from paintsundo.metrics.report import finite_psnr
from paintsundo.models import VideoAutoencoderKL


class AutoencoderRoundTrip:
    """PSNR of a picture (H,W,3) against itself, encoded and decoded by a multi-frame model's autoencoder.

    The decoder gets the encoder's states of the picture, as it does for the first frame of every clip.
    """

    def __init__(self, source: str) -> None:
        self.vae = VideoAutoencoderKL.from_pretrained(resolve(source, "multi_frame") / "vae").eval()

    @torch.inference_mode()
    def __call__(self, picture: NDArray[np.uint8]) -> float:
        frames = to_model(np.stack([picture, picture])).transpose(0, 1)[None]
        latents, hidden = self.vae.encode(frames)
        decoded = to_uint8(self.vae.decode(latents, hidden)[0, :, 0])
        return finite_psnr(decoded, picture)
