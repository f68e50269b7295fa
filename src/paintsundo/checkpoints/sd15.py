"""Stable Diffusion 1.5 in diffusers' folders as a starting point of the single-frame model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.models.embeddings import TimestepEmbedding

from paintsundo.checkpoints.image_vae import image_vae
from paintsundo.checkpoints.starting_point import Part, StartingPoint
from paintsundo.checkpoints.tensor_files import read_pickle
from paintsundo.checkpoints.text_encoders import load_tokenizer, text_encoder
from paintsundo.errors import UserError
from paintsundo.models import SingleFrameUNet
from paintsundo.models.official_layout import build, cast_floating, load_tensors, read_config, read_tensors

_SINUSOID_DIM = 256
# The published text encoder is SD 1.5's without its last layer.
_PUBLISHED_DEPTH, _FULL_DEPTH = 11, 12
_LAST_LAYER = f"encoder.layers.{_FULL_DEPTH - 1}."


def weight_file(folder: Path, stem: str) -> Path | None:
    """The weights of a component: safetensors before pickles, full before half precision; None if there are none."""
    names = (f"{stem}{variant}.{suffix}" for suffix in ("safetensors", "bin") for variant in ("", ".fp16", ".non_ema"))
    for name in names:
        sharded = name.endswith(".safetensors") and (folder / f"{name}.index.json").is_file()
        if sharded or (folder / name).is_file():
            return folder / name
    return None


def sd15_starting_point(folder: Path, source: str) -> StartingPoint:
    """The parts of an SD 1.5 folder as the single-frame model's.

    The input convolution is widened with zeros for the finished picture, and the last layer of the embedding of
    the operation step is zero, so that the network gives SD 1.5's own prediction, whatever the picture and the step.

    Raises:
        UserError: a configuration is missing, damaged or another network's.
    """
    changes = ["input convolution widened with zeros", "new embedding of the operation step, zero at first"]
    unet = folder / "unet"
    parts = {"unet": Part(_unet_config(unet), lambda: _unet(unet))}
    if (folder / "vae" / "config.json").is_file():
        vae = folder / "vae"
        vae_config = read_config(vae)
        parts["vae"] = Part(vae_config, lambda: image_vae(vae_config, *_tensors(vae, "diffusion_pytorch_model")))
    if (folder / "text_encoder" / "config.json").is_file():
        text = folder / "text_encoder"
        config = read_config(text)
        config = config.get("text_config", config)
        if config.get("num_hidden_layers", _FULL_DEPTH) == _FULL_DEPTH:
            config = config | {"num_hidden_layers": _PUBLISHED_DEPTH}
            changes.append("last layer of the text encoder removed")
        parts["text_encoder"] = Part(config, lambda: _text_encoder(text, config))
    if (folder / "tokenizer" / "vocab.json").is_file():
        parts["tokenizer"] = Part(None, lambda: load_tokenizer(folder / "tokenizer"))
    return StartingPoint(source, "sd15", f"Stable Diffusion 1.5 in {folder}: {', '.join(changes)}", parts)


def _unet_config(folder: Path) -> dict[str, Any]:
    config = read_config(folder)
    if config.get("addition_embed_type") is not None or config.get("in_channels", 4) != config.get("out_channels", 4):
        raise UserError(
            f"{folder} is no SD 1.5 UNet: its config.json has in_channels {config.get('in_channels')}, out_channels "
            f"{config.get('out_channels')} and addition_embed_type {config.get('addition_embed_type')}"
        )
    return SingleFrameUNet._known_config(config, folder)


def _unet(folder: Path) -> SingleFrameUNet:
    tensors, file = _tensors(folder, "diffusion_pytorch_model")
    network = build(lambda: SingleFrameUNet.from_config(_unet_config(folder)), folder / "config.json")
    weight = tensors.get("conv_in.weight")
    if weight is not None:
        tensors["conv_in.weight"] = torch.cat([weight, torch.zeros_like(weight)], dim=1)
    # The same on every rank and in every run, whatever was drawn before.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        embedding = TimestepEmbedding(_SINUSOID_DIM, network.time_embedding.linear_2.out_features)
    for name, tensor in embedding.state_dict().items():
        tensors[f"add_embedding.{name}"] = torch.zeros_like(tensor) if name.startswith("linear_2.") else tensor
    load_tensors(network, cast_floating(tensors, torch.float32), file)
    return network


def _text_encoder(folder: Path, config: dict[str, Any]) -> Any:
    tensors, file = _tensors(folder, "model", "pytorch_model")
    if config["num_hidden_layers"] == _PUBLISHED_DEPTH:
        tensors = {n: t for n, t in tensors.items() if not n.removeprefix("text_model.").startswith(_LAST_LAYER)}
    return text_encoder(config, tensors, file)


def _tensors(folder: Path, *stems: str) -> tuple[dict[str, torch.Tensor], Path]:
    """Tensors of a component and the file they come from; older classes of transformers name it differently."""
    file = next((file for stem in stems if (file := weight_file(folder, stem)) is not None), None)
    if file is None:
        raise UserError(f"{folder / stems[0]}.safetensors is missing")
    if file.suffix == ".safetensors":
        return read_tensors(folder, file.name), file
    tensors = read_pickle(file)
    if not isinstance(tensors, dict) or not all(isinstance(t, torch.Tensor) for t in tensors.values()):
        raise UserError(f"{file} does not hold the tensors of a network")
    return dict(tensors), file
