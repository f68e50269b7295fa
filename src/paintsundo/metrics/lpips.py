"""LPIPS 0.1 with AlexNet (Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features"), weights from disk."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from paintsundo.errors import UserError

NAMES = ("alexnet.safetensors", "alexnet.pth")
# Of torchvision's AlexNet: place in `features`, channels in and out, kernel, stride, padding.
LAYERS = (
    (0, 3, 64, 11, 4, 2),
    (3, 64, 192, 5, 1, 2),
    (6, 192, 384, 3, 1, 1),
    (8, 384, 256, 3, 1, 1),
    (10, 256, 256, 3, 1, 1),
)
POOLED = (3, 6)  # max-pooling before these
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # ImageNet's statistics for pictures in [−1, 1]


def find(folder: Path) -> Path | None:
    """AlexNet's weights in a folder, as torchvision names its tensors; None where there are none."""
    return next((folder / name for name in NAMES if (folder / name).is_file()), None)


class PerceptualDistance(nn.Module):
    """Distance of pictures to each other, at least 0, 0 = equal; about 0.1 is visible, 0.7 unrelated.

    The features are AlexNet's, from the file; how channels count is that of the authors, as torchmetrics brings it.
    Fooled by changes too small for features of 11 pixels, such as thin lines.

    Raises:
        UserError: the file is no AlexNet.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(i, o, k, s, p) for _, i, o, k, s, p in LAYERS)
        try:
            found = load_file(file) if file.suffix == ".safetensors" else _read(file)
            for (place, *_), conv in zip(LAYERS, self.convs, strict=True):
                conv.load_state_dict({name: found[f"features.{place}.{name}"] for name in ("weight", "bias")})
        except Exception as error:  # whatever a damaged file leads to
            line = " ".join(str(error).split())[:200]
            raise UserError(f"{file} is no AlexNet as torchvision saves it: {line}") from error
        counts = _read(Path(str(files("torchmetrics") / "functional" / "image" / "lpips_models" / "alex.pth")))
        self.counts = [counts[f"lin{layer}.model.1.weight"] for layer in range(len(LAYERS))]
        self.eval().requires_grad_(False)

    def _features(self, pictures: Tensor) -> list[Tensor]:
        shift, scale = (pictures.new_tensor(values).view(3, 1, 1) for values in (SHIFT, SCALE))
        hidden, found = (pictures - shift) / scale, []
        for (place, *_), conv in zip(LAYERS, self.convs, strict=True):
            if place in POOLED:
                hidden = F.max_pool2d(hidden, 3, 2)
            hidden = F.relu(conv(hidden))
            found.append(hidden / (hidden.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    @torch.inference_mode()
    def forward(self, ours: Tensor, true: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [−1, 1], sides at least 64 → distances (N,)."""
        pairs = zip(self._features(ours), self._features(true), self.counts, strict=True)
        layers = [F.conv2d((a - b).square(), counts).mean((1, 2, 3)) for a, b, counts in pairs]
        return torch.stack(layers).sum(0)


def _read(file: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return found
