"""CLIP-Vision for frames of any aspect ratio."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from paintsundo.errors import UserError
from paintsundo.models.official_layout import (
    build,
    cast_floating,
    load_tensors,
    read_config,
    read_tensors,
    write_network,
)

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


class FrameEmbeddings(nn.Module):
    """Patches of resized frames with positions resized by nearest neighbour; tensor names as in transformers.

    The shorter side becomes as many patches as the network was trained on (16 of 14 pixels in the published
    one), the longer side is rounded to patches; the grid of positions is resized by nearest neighbour, which
    the authors of PaintsUndo preferred to linear interpolation.
    """

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        self.grid_size = config.image_size // config.patch_size
        self.class_embedding = nn.Parameter(torch.randn(config.hidden_size) * config.hidden_size**-0.5)
        self.patch_embedding = nn.Conv2d(
            config.num_channels, config.hidden_size, self.patch_size, stride=self.patch_size, bias=False
        )
        self.position_embedding = nn.Embedding(self.grid_size**2 + 1, config.hidden_size)
        nn.init.normal_(self.position_embedding.weight, std=config.initializer_range)

    def patch_grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches for a frame of that size."""
        shorter = min(height, width)
        return round(self.grid_size * height / shorter), round(self.grid_size * width / shorter)

    def preprocess(self, frames: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [−1, 1] → resized and normalised (N, 3, rows·patch, columns·patch), float32."""
        rows, columns = self.patch_grid(*frames.shape[-2:])
        size = (rows * self.patch_size, columns * self.patch_size)
        # In float32: antialiased resizing does not exist in half precision everywhere.
        frames = F.interpolate(frames.float() * 0.5 + 0.5, size=size, mode="bicubic", antialias=True)
        mean, std = (frames.new_tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _STD))
        return (frames - mean) / std

    def positions(self, rows: int, columns: int) -> torch.Tensor:
        """Position embeddings (1, 1 + rows·columns, E), that of the class token first."""
        weight = self.position_embedding.weight
        grid = weight[1:].T.unflatten(1, (1, self.grid_size, self.grid_size)).transpose(0, 1)
        grid = F.interpolate(grid, size=(rows, columns), mode="nearest")
        return torch.cat([weight[:1], grid[0].flatten(1).T])[None]

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [−1, 1] → tokens (N, 1 + rows·columns, E)."""
        patches = self.patch_embedding(self.preprocess(frames).to(self.patch_embedding.weight.dtype))
        rows, columns = patches.shape[-2:]
        class_token = self.class_embedding.expand(frames.shape[0], 1, -1)
        return torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1) + self.positions(rows, columns)


class ClipVisionEncoder(CLIPVisionModelWithProjection):
    """transformers' CLIP-Vision with other embeddings, returning all tokens of the last layer.

    `vision_model.post_layernorm` and `visual_projection` belong to the layout and are not applied.
    """

    weights_file = "model.safetensors"
    published_class_name = "ImprovedCLIPVisionModelWithProjection"

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__(config)
        self.vision_model.embeddings = FrameEmbeddings(config)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Tokens of each frame.

        Args:
            frames: (B, 3, T, H, W) in [−1, 1], any H and W.

        Returns:
            (B, T, 1 + rows·columns, E), the class token first, before the post-layernorm.
        """
        batch = frames.shape[0]
        tokens = self.vision_model.embeddings(frames.transpose(1, 2).flatten(0, 1))
        tokens = self.vision_model.pre_layrnorm(tokens)
        tokens = self.vision_model.encoder(inputs_embeds=tokens).last_hidden_state
        return tokens.unflatten(0, (batch, -1))

    def enable_gradient_checkpointing(self) -> None:
        """Recompute activations in the backward pass."""
        self.gradient_checkpointing_enable({"use_reentrant": False})

    def disable_gradient_checkpointing(self) -> None:
        """Keep activations for the backward pass."""
        self.gradient_checkpointing_disable()

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        folder: str | Path,
        *,
        subfolder: str | None = None,
        torch_dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> ClipVisionEncoder:
        """Load from a local folder, in evaluation mode; names with and without `vision_model.` are read.

        Raises:
            UserError: a file is missing or damaged, the configuration is another network's, or tensors are
                missing, unknown or wrongly shaped.
        """
        folder = Path(folder) / subfolder if subfolder else Path(folder)
        config = read_config(folder)
        if config.get("model_type", "clip_vision_model") != "clip_vision_model" or "hidden_size" not in config:
            raise UserError(f"{folder / 'config.json'} is not the configuration of a CLIP-Vision encoder")
        network = build(lambda: cls(CLIPVisionConfig(**config)), folder / "config.json")
        tensors = read_tensors(folder, cls.weights_file, device)
        load_tensors(network, cast_floating(_prefixed(tensors), torch_dtype), folder / cls.weights_file)
        return network.to(device).eval()

    def save_pretrained(  # type: ignore[override]
        self, folder: str | Path, *, torch_dtype: torch.dtype | None = None
    ) -> None:
        """Write the network as published: names with `vision_model.` on every version of transformers."""
        tensors = self.state_dict()
        if torch_dtype is not None:
            tensors = cast_floating(tensors, torch_dtype)
        config = CLIPVisionConfig(**self.config.to_dict())
        config.architectures = [self.published_class_name]
        config.dtype = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
        write_network(folder, config.to_json_string(use_diff=False), _prefixed(tensors), self.weights_file)


def _prefixed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names as published: `vision_model.` once before all but the projection; no stored position indices."""
    named = {}
    for name, tensor in tensors.items():
        while name.startswith("vision_model."):
            name = name.removeprefix("vision_model.")
        if name == "embeddings.position_ids":
            continue
        named[name if name.startswith("visual_projection.") else f"vision_model.{name}"] = tensor
    return named
