"""Fréchet distance of films on a video network's features, from a folder on disk.

The features are VideoMAE's (Tong et al. 2022) in place of I3D's: they see more of the motion and less of the single
frame (Ge et al. 2024, "On the Content Bias in Fréchet Video Distance"), and I3D is only published as a program
(TorchScript), which this project does not run. Figures of papers that use I3D do not compare.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from paintsundo.errors import UserError
from paintsundo.metrics.films import Film, at_times

NEEDED = ("config.json", "model.safetensors")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, with which VideoMAE was trained


class FilmFeatures(nn.Module):
    """A VideoMAE as transformers saves it; one embedding a film, the mean of its tokens.

    Raises:
        UserError: the folder holds no usable VideoMAE.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from transformers import VideoMAEModel

        try:
            self.model = VideoMAEModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
        except Exception as error:  # whatever a damaged file leads to
            line = " ".join(str(error).split())[:200]
            raise UserError(f"{folder} is no VideoMAE as transformers saves it: {line}") from error

    @torch.inference_mode()
    def forward(self, film: Film) -> Tensor:
        """Film uint8 (T, H, W, 3) → (1, D) of as many equally spaced frames as the network takes."""
        config = self.model.config
        side = (config.image_size, config.image_size)
        frames = [cv2.resize(frame, side, interpolation=cv2.INTER_AREA) for frame in at_times(film, config.num_frames)]
        pixels = (np.stack(frames) / 255 - MEAN) / DEVIATION
        values = torch.from_numpy(pixels).permute(0, 3, 1, 2)[None].to(self.model.device, self.model.dtype)
        found: Tensor = self.model(values).last_hidden_state.mean(1).float().cpu()
        return found
