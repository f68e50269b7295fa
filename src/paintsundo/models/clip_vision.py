"""CLIP-Vision for frames of any aspect ratio."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
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

PatchPositions = Literal["nearest", "bilinear", "rotary"]
PATCH_POSITIONS: tuple[PatchPositions, ...] = get_args(PatchPositions)
_ROTARY_BASE = 100.0  # a patch grid is some tens of patches wide; 10000 is for sentences (Heo et al. 2024)


class FrameEmbeddings(nn.Module):
    """Patches of resized frames with positions for any grid; tensor names as in transformers.

    The shorter side becomes as many patches as the network was trained on (16 of 14 pixels in the published
    one), the longer side is rounded to patches. The grid of positions is resized by nearest neighbour, which the
    authors of PaintsUndo preferred to linear interpolation ("bilinear"); with "rotary" patches get none here.
    """

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        self.patch_positions: PatchPositions = "nearest"
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
        # Numbers, not a tensor of them, which a GPU would have to wait for.
        channels = zip(frames.unbind(1), _MEAN, _STD, strict=True)
        return torch.stack([(channel - mean) / std for channel, mean, std in channels], dim=1)

    def positions(self, rows: int, columns: int) -> torch.Tensor:
        """Position embeddings (1, 1 + rows·columns, E), that of the class token first."""
        weight = self.position_embedding.weight
        if self.patch_positions == "rotary":
            return torch.cat([weight[:1], weight.new_zeros(rows * columns, weight.shape[1])])[None]
        grid = weight[1:].T.unflatten(1, (1, self.grid_size, self.grid_size)).transpose(0, 1)
        grid = F.interpolate(grid, size=(rows, columns), mode=self.patch_positions)
        return torch.cat([weight[:1], grid[0].flatten(1).T])[None]

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [−1, 1] → tokens (N, 1 + rows·columns, E)."""
        patches = self.patch_embedding(self.preprocess(frames).to(self.patch_embedding.weight.dtype))
        rows, columns = patches.shape[-2:]
        class_token = self.class_embedding.expand(frames.shape[0], 1, -1)
        return torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1) + self.positions(rows, columns)


def rotary_table(rows: int, columns: int, width: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines (1 + rows·columns, width) of rotary positions in two axes, those of the class token 1 and 0.

    The first half of a head's width turns with the row, the second with the column, in patches from the frame's
    corner (Su et al. 2021; axial form of Heo et al. 2024, "Rotary Position Embedding for Vision Transformer").
    `width` is a multiple of 4; dtype and device are those of `like`.
    """
    quarter = width // 4
    frequencies = _ROTARY_BASE ** (-torch.arange(quarter, device=like.device) / quarter)
    row, column = torch.meshgrid(
        torch.arange(rows, device=like.device), torch.arange(columns, device=like.device), indexing="ij"
    )
    angles = torch.cat([row.reshape(-1, 1) * frequencies, column.reshape(-1, 1) * frequencies], dim=1)
    angles = F.pad(angles, (0, 0, 1, 0)).repeat_interleave(2, dim=1)
    return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def rotate(x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """Turn neighbouring pairs of values of queries or keys (…, n, width) by the angles of `rotary_table`."""
    turned = torch.stack([-x[..., 1::2], x[..., 0::2]], dim=-1).flatten(-2)
    return x * cosines + turned * sines


class ClipVisionEncoder(CLIPVisionModelWithProjection):
    """transformers' CLIP-Vision with other embeddings, returning all tokens of the last layer.

    `vision_model.post_layernorm` and `visual_projection` belong to the layout and are not applied.
    `config.patch_positions`, where it is there, says how positions fit other grids than the trained one: "nearest"
    (as published), "bilinear", or "rotary": none of the trained ones, but rotated queries and keys in every layer.
    """

    weights_file = "model.safetensors"
    published_class_name = "ImprovedCLIPVisionModelWithProjection"

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__(config)
        self.vision_model.embeddings = FrameEmbeddings(config)
        self.set_patch_positions(getattr(config, "patch_positions", "nearest"))

    @property
    def patch_positions(self) -> PatchPositions:
        """How positions of patches are given."""
        return self.vision_model.embeddings.patch_positions

    def set_patch_positions(self, positions: str) -> None:
        """Choose "nearest", "bilinear" or "rotary"; the weights stay the same, and `config` records it.

        Raises:
            UserError: another name, or heads too odd to be rotated in two axes.
        """
        if positions not in PATCH_POSITIONS:
            raise UserError(f"patch_positions cannot be {positions!r}: choose from {', '.join(PATCH_POSITIONS)}")
        width = self.config.hidden_size // self.config.num_attention_heads
        if positions == "rotary" and width % 4:
            raise UserError(f"patch_positions=rotary needs heads of a width that 4 divides, not {width}")
        self.vision_model.embeddings.patch_positions = positions
        if positions != "nearest":
            self.config.patch_positions = positions
        elif hasattr(self.config, "patch_positions"):
            del self.config.patch_positions  # the published file has no such key

    def forward(self, frames: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Tokens of each frame.

        Args:
            frames: (B, 3, T, H, W) in [−1, 1], any H and W.

        Returns:
            (B, T, 1 + rows·columns, E), the class token first, before the post-layernorm.
        """
        batch, embeddings = frames.shape[0], self.vision_model.embeddings
        tokens = embeddings(frames.transpose(1, 2).flatten(0, 1))
        tokens = self.vision_model.pre_layrnorm(tokens)
        if self.patch_positions == "rotary":
            tokens = self._encode_rotary(tokens, *embeddings.patch_grid(*frames.shape[-2:]))
        else:
            tokens = self.vision_model.encoder(inputs_embeds=tokens).last_hidden_state
        return tokens.unflatten(0, (batch, -1))

    def _encode_rotary(self, tokens: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """The layers of the encoder on tokens (N, 1 + rows·columns, E), with rotary positions."""
        heads = self.config.num_attention_heads
        table = rotary_table(rows, columns, tokens.shape[-1] // heads, tokens)

        def layer_of(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
            attention, normed = layer.self_attn, layer.layer_norm1(x)
            projections = (attention.q_proj, attention.k_proj, attention.v_proj)
            query, key, value = (p(normed).unflatten(-1, (heads, -1)).transpose(1, 2) for p in projections)
            query, key = (rotate(part, *table).to(value.dtype) for part in (query, key))
            attended = F.scaled_dot_product_attention(query, key, value)
            x = x + attention.out_proj(attended.transpose(1, 2).flatten(-2))
            return x + layer.mlp(layer.layer_norm2(x))

        encoder = self.vision_model.encoder
        recompute = self.training and torch.is_grad_enabled() and self.is_gradient_checkpointing
        for layer in encoder.layers:
            tokens = checkpoint(layer_of, layer, tokens, use_reentrant=False) if recompute else layer_of(layer, tokens)
        return tokens

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
