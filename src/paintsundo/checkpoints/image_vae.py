"""The single-frame model's autoencoder: diffusers' `AutoencoderKL`, loaded strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL

from paintsundo.errors import UserError
from paintsundo.models.official_layout import cast_floating, load_tensors, read_config, read_tensors

_WEIGHTS = "diffusion_pytorch_model.safetensors"
# The middle attention's names in files older than diffusers 0.18, where its weights may be 1x1 convolutions.
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD_NAME = re.compile(r"(.*mid_block\.attentions\.\d+)\.(query|key|value|proj_attn)\.(weight|bias)")


def load_image_vae(folder: Path, dtype: torch.dtype = torch.float32) -> AutoencoderKL:
    """Load an `AutoencoderKL` from a component folder.

    Raises:
        UserError: a file is missing or damaged, or tensors do not fit.
    """
    config = read_config(folder)
    if "latent_channels" not in config:
        raise UserError(f"{folder} is no AutoencoderKL: its config.json has no latent_channels")
    return image_vae(config, read_tensors(folder, _WEIGHTS), folder / _WEIGHTS, dtype)


def image_vae(
    config: dict[str, Any], tensors: Mapping[str, torch.Tensor], source: str | Path, dtype: torch.dtype = torch.float32
) -> AutoencoderKL:
    """An `AutoencoderKL` of a configuration and tensors, with older names too; `source` is named in errors.

    Raises:
        UserError: the configuration is impossible, or tensors do not fit it.
    """
    try:
        with init_empty_weights(include_buffers=False):
            network = AutoencoderKL.from_config(config)
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(f"{Path(source).parent / 'config.json'} describes no AutoencoderKL: {error}") from error
    load_tensors(network, cast_floating(_modern_names(tensors), dtype), source)
    return network.eval()


def _modern_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    renamed = {}
    for name, tensor in tensors.items():
        old = _OLD_NAME.fullmatch(name)
        if old:
            name = f"{old[1]}.{_OLD_ATTENTION[old[2]]}.{old[3]}"
            tensor = tensor.flatten(1) if tensor.ndim == 4 else tensor
        renamed[name] = tensor
    return renamed
