"""The parts of both models, read from and written to the official layout."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from paintsundo.checkpoints.image_vae import load_image_vae
from paintsundo.checkpoints.sources import resolve
from paintsundo.checkpoints.text_encoders import load_text_encoder, load_tokenizer, save_text_encoder, save_tokenizer
from paintsundo.conditioning.tagger import Tagger
from paintsundo.models import (
    ClipVisionEncoder,
    ImageProjection,
    SingleFrameUNet,
    UNet3DModel,
    VideoAutoencoderKL,
)

Source = str | os.PathLike[str]
_Self = TypeVar("_Self", bound="_Components")


class _Components:
    """Shared by both: placing all networks, and writing the layout."""

    def networks(self) -> dict[str, nn.Module]:
        """Component name → network (all but the tokenizer)."""
        return {name: part for name, part in self._parts().items() if isinstance(part, nn.Module)}

    def to(self: _Self, device: torch.device | str) -> _Self:
        """Move all networks."""
        for network in self.networks().values():
            network.to(device)
        return self

    def save(self, folder: Source) -> None:
        """Write every component into a subfolder of its name: the official layout."""
        for name, part in self._parts().items():
            target = Path(folder) / name
            if isinstance(part, CLIPTextModel):
                save_text_encoder(part, target)
            elif isinstance(part, CLIPTokenizer):
                save_tokenizer(part, target)
            else:
                part.save_pretrained(str(target))

    def _parts(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]


@dataclass
class SingleFrameComponents(_Components):
    """What turns a picture into keyframes."""

    unet: SingleFrameUNet
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer


@dataclass
class MultiFrameComponents(_Components):
    """What turns a pair of keyframes into a clip."""

    unet: UNet3DModel
    vae: VideoAutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    image_encoder: ClipVisionEncoder
    image_projection: ImageProjection


def load_single_frame(
    source: Source = "bundled",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    vae_dtype: torch.dtype | None = None,
) -> SingleFrameComponents:
    """Load the single-frame model.

    Args:
        source: "bundled", a folder in the official layout, or a hub id.
        dtype: of all networks.
        device: of all networks.
        vae_dtype: of the autoencoder, where it is to differ (the published code runs it in bfloat16).

    Raises:
        UserError: the checkpoint is missing, damaged, or another model's; tensors that do not fit are named.
    """
    folder = resolve(source, "single_frame")
    components = SingleFrameComponents(
        unet=SingleFrameUNet.from_pretrained(folder / "unet", torch_dtype=dtype),
        vae=load_image_vae(folder / "vae", vae_dtype or dtype),
        text_encoder=load_text_encoder(folder / "text_encoder", dtype),
        tokenizer=load_tokenizer(folder / "tokenizer"),
    )
    return components.to(device)


def load_multi_frame(
    source: Source = "bundled",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    large_dtype: torch.dtype | None = None,
) -> MultiFrameComponents:
    """Load the multi-frame model.

    Args:
        large_dtype: of the UNet and the decoder, which take nearly all of the time, where it is to differ.

    Others, and errors, as `load_single_frame`.
    """
    folder = resolve(source, "multi_frame")
    large_dtype = large_dtype or dtype
    components = MultiFrameComponents(
        unet=UNet3DModel.from_pretrained(folder / "unet", torch_dtype=large_dtype),
        vae=VideoAutoencoderKL.from_pretrained(folder / "vae", torch_dtype=dtype),
        text_encoder=load_text_encoder(folder / "text_encoder", dtype),
        tokenizer=load_tokenizer(folder / "tokenizer"),
        image_encoder=ClipVisionEncoder.from_pretrained(folder / "image_encoder", torch_dtype=dtype),
        image_projection=ImageProjection.from_pretrained(folder / "image_projection", torch_dtype=dtype),
    )
    components.vae.decoder.to(large_dtype)
    return components.to(device)


def load_tagger(source: Source = "bundled") -> Tagger:
    """Load the tagger (`model.onnx`, `selected_tags.csv`); source and errors as `load_single_frame`."""
    return Tagger.from_pretrained(resolve(source, "tagger"))
