"""LoRA: low-rank changes of a UNet, merged into its weights at load, and taken out again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from paintsundo.checkpoints.tensor_files import safetensors_metadata
from paintsundo.errors import UserError
from paintsundo.models.official_layout import read_tensors

# Pairs of suffixes: peft's names, diffusers' older ones, and those of kohya-style files.
_SUFFIXES = (
    (".lora_A.weight", ".lora_B.weight"),
    (".lora.down.weight", ".lora.up.weight"),
    (".lora_down.weight", ".lora_up.weight"),
)
_PREFIXES = ("base_model.model.", "unet.", "single_frame.", "multi_frame.")
_KEPT = "_weights_before_lora"


@dataclass(frozen=True)
class LowRank:
    """The change of one layer.

    Attributes:
        down: (rank, in, …).
        up: (out, rank, …).
        alpha: None where the file does not say it.
    """

    down: torch.Tensor
    up: torch.Tensor
    alpha: float | None

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    @property
    def strength(self) -> float:
        """alpha / rank; one without alpha."""
        return 1.0 if self.alpha is None else self.alpha / self.rank

    def update(self) -> torch.Tensor:
        """alpha / rank · up · down, float32 (out, in · …)."""
        return (self.up.flatten(1).float() @ self.down.flatten(1).float()) * self.strength


def is_lora(names: Iterable[str]) -> bool:
    """Whether a file with tensors of these names holds low-rank changes."""
    return any(name.endswith(down) for name in names for down, _ in _SUFFIXES)


def read_lora(file: Path, option: str = "models.lora") -> dict[str, LowRank]:
    """The changes of a safetensors file, by the names it gives the layers.

    Args:
        file: with peft's, diffusers' or kohya's names.
        option: what to call it in errors.

    Raises:
        UserError: the file is missing or damaged, holds no LoRA, or something beside it.
    """
    if not file.is_file():
        raise UserError(f"{option}: the file {file} does not exist")
    tensors = read_tensors(file.parent, file.name)
    header_alpha = _header_alpha(file, option)
    layers = {}
    for name, down in tensors.items():
        for down_suffix, up_suffix in _SUFFIXES:
            stem = name.removesuffix(down_suffix)
            up = tensors.get(stem + up_suffix)
            if stem != name and up is not None:
                alpha = tensors.get(stem + ".alpha")
                layers[stem] = LowRank(down, up, header_alpha if alpha is None else float(alpha))
    if not layers:
        raise UserError(f"{option}: {file} holds no LoRA weights")
    used = {stem + suffix for stem in layers for pair in _SUFFIXES for suffix in (*pair, ".alpha")}
    if unused := sorted(set(tensors) - used):
        raise UserError(f"{option}: {file} holds more than low-rank pairs, such as {unused[0]}")
    return layers


def merge_lora(file: Path, networks: Iterable[nn.Module], scale: float = 1.0, keep: bool = False) -> int:
    """Add the low-rank updates of a safetensors file to the weights of the networks whose layers it names.

    W ← W + scale · (alpha / rank) · up · down (Hu et al. 2021). alpha is a tensor beside the factors, or what
    diffusers writes of peft's configuration into the file's header, or else the rank.

    Args:
        file: a safetensors file with peft's or diffusers' names.
        networks: tried in order for every layer; a layer has to be in one of them.
        scale: strength.
        keep: keep the weights as they were (of the changed layers, where they are), for `unmerge_lora`.

    Returns:
        the number of changed layers.

    Raises:
        UserError: the file is missing, holds no LoRA or something beside it, or names layers or shapes that no
            network has.
    """
    targets = list(networks)
    updates = []
    for name, change in read_lora(file).items():
        layer = find_layer(name, targets)
        if layer is None:
            raise UserError(f"models.lora: {file} changes {name}, which neither UNet has")
        weight = cast(torch.Tensor, layer[1].weight)
        if not fits(change, weight):
            raise UserError(f"models.lora: {file} does not fit {name}, whose weight is {tuple(weight.shape)}")
        updates.append((layer[1], change))
    if keep:
        for layer, _ in updates:
            stack = layer.__dict__.setdefault(_KEPT, [])
            stack.append((_identity(file, scale), layer.weight.detach().clone()))
    with torch.no_grad():
        for layer, change in updates:
            weight = layer.weight
            changed = weight.float() + (change.update() * scale).reshape(weight.shape).to(weight.device)
            weight.copy_(changed.to(weight.dtype))
    return len(updates)


def unmerge_lora(file: Path, networks: Iterable[nn.Module], scale: float = 1.0) -> int:
    """Give the layers that `merge_lora(…, keep=True)` changed their weights from before, bit for bit.

    The kept copies are put back: subtracting the update would leave a rounding error. Of several merged files the
    last one goes first.

    Args:
        file: as it was merged.
        networks: as they were given then.
        scale: as it was given then.

    Returns:
        the number of restored layers.

    Raises:
        UserError: the file was not the last one merged into its layers with that scale and `keep`.
    """
    targets = list(networks)
    found = [find_layer(name, targets) for name in read_lora(file)]
    layers = [layer for layer in found if layer is not None]
    for name, layer in layers:
        stack = layer.__dict__.get(_KEPT)
        if not stack or stack[-1][0] != _identity(file, scale):
            raise UserError(f"{file} is not the last LoRA that was merged into {name} to be taken out again")
    with torch.no_grad():
        for _, layer in layers:
            _, before = layer.__dict__[_KEPT].pop()
            cast(torch.Tensor, layer.weight).copy_(before)
    return len(layers)


def fits(change: LowRank, weight: torch.Tensor) -> bool:
    """Whether a change is one of a weight (out, in, …)."""
    down, up = change.down.flatten(1), change.up.flatten(1)
    return (
        up.shape[1] == down.shape[0]
        and up.shape[0] == weight.shape[0]
        and up.shape[0] * down.shape[1] == weight.numel()
    )


def find_layer(name: str, networks: Iterable[nn.Module]) -> tuple[str, nn.Module] | None:
    """The layer with a weight that a file's name means, with its name in its network; None if no network has it."""
    networks = list(networks)
    while True:
        for network in networks:
            try:
                layer = network.get_submodule(name)
            except AttributeError:
                continue
            if isinstance(getattr(layer, "weight", None), torch.Tensor):
                return name, layer
        prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), None)
        if prefix is None:
            return None
        name = name.removeprefix(prefix)


def _identity(file: Path, scale: float) -> tuple[str, float]:
    return str(file.resolve()), float(scale)


def _header_alpha(file: Path, option: str) -> float | None:
    """The `lora_alpha` of all layers that diffusers writes into a file's metadata; None if it says nothing."""
    text = safetensors_metadata(file).get("lora_adapter_metadata")
    try:
        settings: Mapping[str, Any] = {key.rpartition(".")[2]: v for key, v in json.loads(text or "{}").items()}
    except (ValueError, AttributeError):
        return None
    if any(settings.get(key) for key in ("alpha_pattern", "use_rslora", "use_dora")):
        raise UserError(f"{option}: {file} scales its layers in a way that is not supported here")
    alpha = settings.get("lora_alpha")
    return float(alpha) if isinstance(alpha, int | float) else None
