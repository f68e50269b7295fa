"""CLIP text encoders and their tokenizers, whatever prefix their files give the tensors."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from paintsundo.errors import UserError
from paintsundo.models.official_layout import (
    cast_floating,
    load_tensors,
    read_config,
    read_tensors,
    write_network,
)

_WEIGHTS = "model.safetensors"
_PREFIX = "text_model."
# Written by older versions of transformers, or by classes with a projection on top: not part of the encoder.
_IGNORED = ("embeddings.position_ids", "text_projection.weight", "logit_scale")


def load_text_encoder(folder: Path, dtype: torch.dtype = torch.float32) -> CLIPTextModel:
    """Load a CLIP text encoder from a component folder (`config.json` and safetensors).

    Raises:
        UserError: a file is missing or damaged, or tensors do not fit.
    """
    settings = read_config(folder)
    if settings.get("model_type") not in ("clip_text_model", "clip"):
        raise UserError(f"{folder} is no CLIP text encoder: its config.json says {settings.get('model_type')!r}")
    tensors = read_tensors(folder, _WEIGHTS)
    return text_encoder(settings.get("text_config", settings), tensors, folder / _WEIGHTS, dtype)


def text_encoder(
    config: dict[str, Any], tensors: Mapping[str, torch.Tensor], source: str | Path, dtype: torch.dtype = torch.float32
) -> CLIPTextModel:
    """A CLIP text encoder of a configuration and tensors, with or without prefix; `source` is named in errors.

    Raises:
        UserError: tensors do not fit.
    """
    with init_empty_weights(include_buffers=False):
        network = CLIPTextModel(CLIPTextConfig(**config))
    named = match_prefix(tensors, network.state_dict())
    load_tensors(network, cast_floating(named, dtype), source)
    return network.eval()


def match_prefix(tensors: Mapping[str, torch.Tensor], own_names: Collection[str]) -> dict[str, torch.Tensor]:
    """Rename tensors so that they carry the `text_model.` prefix exactly where the network's own names do."""
    with_prefix = any(name.startswith(_PREFIX) for name in own_names)
    bare = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}
    return {(_PREFIX if with_prefix else "") + name: bare[name] for name in bare if name not in _IGNORED}


def without_last_layers(network: CLIPTextModel, count: int) -> CLIPTextModel:
    """Remove the last layers of a text encoder, in place ("clip skip"); its final layer norm stays.

    The configuration records it, so that whatever reads the encoder afterwards follows. The published single-frame
    model's text encoder is SD 1.5's without 1 of its 12.

    Raises:
        UserError: it has not more than `count` layers, or `count` is negative.
    """
    depth = network.config.num_hidden_layers
    if not 0 <= count < depth:
        raise UserError(f"clip_skip is {count}: this text encoder has {depth} layers, so 0 to {depth - 1} are possible")
    encoder = getattr(network, "text_model", network).encoder
    encoder.layers = encoder.layers[: depth - count]
    network.config.num_hidden_layers = depth - count
    return network


def save_text_encoder(network: CLIPTextModel, folder: Path) -> None:
    """Write a text encoder as the official checkpoints have it: without the prefix."""
    bare = {name.removeprefix(_PREFIX): tensor for name, tensor in network.state_dict().items()}
    write_network(folder, network.config.to_json_string(use_diff=False), bare, _WEIGHTS)


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write a tokenizer as the official checkpoints have it: vocabulary, merges and configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.backend_tokenizer.model.save(str(folder))
    names = ("bos_token", "eos_token", "unk_token", "pad_token")
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": tokenizer.model_max_length}
    config |= {name: str(getattr(tokenizer, name)) for name in names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """Load a CLIP tokenizer (`vocab.json`, `merges.txt`, `tokenizer_config.json`).

    Raises:
        UserError: a file is missing or damaged.
    """
    for name in ("vocab.json", "merges.txt"):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing")
    try:
        return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"the tokenizer in {folder} cannot be read: {str(error).splitlines()[0]}") from error
