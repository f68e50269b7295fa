"""Small networks of every class, with sizes unlike the golden checkpoint's, and inputs for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import CLIPVisionConfig

from paintsundo.models import (
    ClipVisionEncoder,
    ImageProjection,
    SingleFrameUNet,
    UNet3DModel,
    VideoAutoencoderKL,
)

UNET_3D = {
    "in_channels": 12,
    "out_channels": 6,
    "model_channels": 24,
    "channel_mult": (1, 3),
    "num_res_blocks": 1,
    "attention_resolutions": (2,),
    "num_head_channels": 12,
    "context_dim": 20,
    "dropout": 0.0,
    "norm_num_groups": 8,
}
VAE = {
    "ch": 24,
    "ch_mult": (1, 2, 2),
    "num_res_blocks": 1,
    "z_channels": 6,
    "norm_num_groups": 12,
    "combiner_levels": (1, 2),
    "combiner_heads": 2,
    "combiner_head_dim": 16,
}


def randomise(network: nn.Module, seed: int = 0) -> Any:
    """Random values for every parameter, zero-initialised ones included; activations keep their size."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        with torch.no_grad():
            if parameter.dim() > 1:
                std = parameter[0].numel() ** -0.5
                parameter.normal_(0, std, generator=generator)
            else:
                parameter.normal_(0, 0.1, generator=generator)
                if "norm" in name and name.endswith("weight"):
                    parameter.add_(1)
    return network.eval()


def single_frame_unet(**changes: Any) -> SingleFrameUNet:
    return SingleFrameUNet(
        **changes,
        sample_size=8,
        in_channels=6,
        out_channels=6,
        block_out_channels=(24, 48),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=4,
        cross_attention_dim=20,
        norm_num_groups=8,
    )


def unet_3d(**changes: Any) -> UNet3DModel:
    return UNet3DModel(**(UNET_3D | changes))


def video_autoencoder(**changes: Any) -> VideoAutoencoderKL:
    return VideoAutoencoderKL(**(VAE | changes))


def clip_vision() -> ClipVisionEncoder:
    return ClipVisionEncoder(
        CLIPVisionConfig(
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=2,
            num_attention_heads=3,
            patch_size=8,
            image_size=64,
            projection_dim=10,
            hidden_act="gelu",
        )
    )


def image_projection(**changes: Any) -> ImageProjection:
    sizes = {"dim": 24, "depth": 2, "dim_head": 6, "heads": 3, "num_queries": 3}
    return ImageProjection(**sizes, embedding_dim=20, output_dim=16, video_length=5, **changes)


def _noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def unet_3d_inputs(num_frames: int = 5, batch: int = 2, height: int = 8, width: int = 12) -> tuple[Any, ...]:
    x = _noise(batch, 6, num_frames, height, width)
    return (
        x,
        torch.arange(batch) * 400 + 99,
        _noise(batch, 7, 20, seed=2),
        _noise(batch, num_frames, 3, 20, seed=3),
        torch.arange(batch) + 3,
        _noise(batch, 6, num_frames, height, width, seed=4),
    )


def single_frame_inputs() -> tuple[Any, ...]:
    return (
        _noise(2, 6, 8, 12),
        torch.tensor([7, 800]),
        _noise(2, 7, 20, seed=2),
        torch.tensor([999, 400]),
        _noise(1, 6, 8, 12, seed=3),
    )


@dataclass(frozen=True)
class Case:
    """A network, inputs for it, and how to call it for one tensor."""

    make: Callable[[], Any]
    inputs: Callable[[], tuple[Any, ...]]

    def network(self) -> Any:
        return randomise(self.make())

    def __call__(self, network: Any, dtype: torch.dtype | None = None) -> torch.Tensor:
        inputs = [x.to(dtype) if dtype and x.is_floating_point() else x for x in self.inputs()]
        out = network(*inputs)
        return out if isinstance(out, torch.Tensor) else out[0]


CASES = {
    "single_frame_unet": Case(single_frame_unet, single_frame_inputs),
    "unet_3d": Case(unet_3d, unet_3d_inputs),
    "video_autoencoder": Case(video_autoencoder, lambda: (_noise(2, 3, 4, 16, 24).clamp(-1, 1),)),
    "clip_vision": Case(clip_vision, lambda: (_noise(2, 3, 2, 30, 50).clamp(-1, 1),)),
    "image_projection": Case(image_projection, lambda: (_noise(2, 2, 9, 20),)),
}
