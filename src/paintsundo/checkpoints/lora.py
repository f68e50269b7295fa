"""LoRA: low-rank changes of a UNet, merged into its weights at load."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from paintsundo.errors import UserError
from paintsundo.models.official_layout import read_tensors

# Pairs of suffixes: peft's names, diffusers' older ones, and those of kohya-style files.
_SUFFIXES = (
    (".lora_A.weight", ".lora_B.weight"),
    (".lora.down.weight", ".lora.up.weight"),
    (".lora_down.weight", ".lora_up.weight"),
)
_PREFIXES = ("base_model.model.", "unet.", "single_frame.", "multi_frame.")


def merge_lora(file: Path, networks: Iterable[nn.Module], scale: float = 1.0) -> int:
    """Add the low-rank updates of a safetensors file to the weights of the networks whose layers it names.

    W ← W + scale · (alpha / rank) · up · down (Hu et al. 2021). alpha is a tensor beside the factors, or what
    diffusers writes of peft's configuration into the file's header, or else the rank.

    Args:
        file: a safetensors file with peft's or diffusers' names.
        networks: tried in order for every layer; a layer has to be in one of them.
        scale: strength.

    Returns:
        the number of changed layers.

    Raises:
        UserError: the file is missing, holds no LoRA or something beside it, or names layers or shapes that no
            network has.
    """
    if not file.is_file():
        raise UserError(f"models.lora: the file {file} does not exist")
    tensors = read_tensors(file.parent, file.name)
    layers = _layers(tensors)
    if not layers:
        raise UserError(f"models.lora: {file} holds no LoRA weights")
    used = {stem + suffix for stem in layers for pair in _SUFFIXES for suffix in (*pair, ".alpha")}
    if unused := sorted(set(tensors) - used):
        raise UserError(f"models.lora: {file} holds more than low-rank pairs, such as {unused[0]}")
    header_alpha = _header_alpha(file)
    targets = list(networks)
    updates = []
    for name, (down, up, alpha) in layers.items():
        weight = _find(name, targets)
        if weight is None:
            raise UserError(f"models.lora: {file} changes {name}, which neither UNet has")
        rank = down.shape[0]
        strength = next((value for value in (alpha, header_alpha) if value is not None), rank)
        update = (up.flatten(1).float() @ down.flatten(1).float()) * (scale * strength / rank)
        if update.numel() != weight.numel() or up.shape[0] != weight.shape[0]:
            raise UserError(f"models.lora: {file} does not fit {name}, whose weight is {tuple(weight.shape)}")
        updates.append((weight, update))
    with torch.no_grad():
        for weight, update in updates:
            changed = weight.float() + update.reshape(weight.shape).to(weight.device)
            weight.copy_(changed.to(weight.dtype))
    return len(updates)


def _layers(
    tensors: dict[str, torch.Tensor],
) -> dict[str, tuple[torch.Tensor, torch.Tensor, float | None]]:
    layers = {}
    for name, down in tensors.items():
        for down_suffix, up_suffix in _SUFFIXES:
            stem = name.removesuffix(down_suffix)
            up = tensors.get(stem + up_suffix)
            if stem != name and up is not None:
                alpha = tensors.get(stem + ".alpha")
                layers[stem] = (down, up, None if alpha is None else float(alpha))
    return layers


def _header_alpha(file: Path) -> float | None:
    """The `lora_alpha` of all layers that diffusers writes into a file's metadata; None if it says nothing."""
    with safe_open(file, framework="pt") as stream:
        text = (stream.metadata() or {}).get("lora_adapter_metadata")
    try:
        settings = {key.rpartition(".")[2]: value for key, value in json.loads(text or "{}").items()}
    except (ValueError, AttributeError):
        return None
    if any(settings.get(key) for key in ("alpha_pattern", "use_rslora", "use_dora")):
        raise UserError(f"models.lora: {file} scales its layers in a way that is not supported here")
    alpha = settings.get("lora_alpha")
    return float(alpha) if isinstance(alpha, int | float) else None


def _find(name: str, networks: list[Any]) -> torch.Tensor | None:
    while True:
        for network in networks:
            try:
                weight = network.get_submodule(name).weight
            except AttributeError:
                continue
            if isinstance(weight, torch.Tensor):
                return weight
        prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), None)
        if prefix is None:
            return None
        name = name.removeprefix(prefix)
