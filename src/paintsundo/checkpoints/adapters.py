"""LoRA adapters in training: added to a UNet, read from a file and written to one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from paintsundo.checkpoints.lora import find_layer, fits, read_lora
from paintsundo.errors import UserError
from paintsundo.models import SingleFrameUNet, UNet3DModel

_ADAPTER = "default"
_ADAPTABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_KINDS = {SingleFrameUNet: "single_frame", UNet3DModel: "multi_frame"}


def add_adapter(network: Any, rank: int, alpha: float | None, targets: Sequence[str]) -> list[str]:
    """Put a trainable low-rank change beside layers of a UNet, whose own parameters are frozen.

    Args:
        network: `SingleFrameUNet` or `UNet3DModel`.
        rank: of the change.
        alpha: the change is scaled by alpha / rank; the rank if None.
        targets: ends of layers' names (`to_q`, `to_out.0`, `attn2.to_k`), at a dot.

    Returns:
        the names of the changed layers. The change is nothing at first.

    Raises:
        UserError: rank or alpha is impossible, or a target is the end of no layer's name.
    """
    from peft import LoraConfig

    if type(rank) is not int or rank < 1:
        raise UserError(f"lora.rank must be a whole number and at least 1, not {rank!r}")
    alpha = rank if alpha is None else alpha
    if not alpha > 0:
        raise UserError(f"lora.alpha must be above 0, not {alpha!r}")
    layers = _matching(network, targets)
    network.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets)), _ADAPTER)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(f".{_ADAPTER}." in name)
    return layers


def load_adapter(network: Any, file: Path) -> tuple[int, float, list[str]]:
    """Add the adapter that a LoRA file holds, to go on training it.

    Args:
        network: as for `add_adapter`; without an adapter yet.
        file: safetensors with peft's, diffusers' or kohya's names; every layer of the same rank and alpha.

    Returns:
        rank, alpha, and the names of the changed layers.

    Raises:
        UserError: the file is missing, damaged or no LoRA, or its layers are not the network's.
    """
    found = {}
    for name, change in read_lora(file, "lora.start").items():
        layer = find_layer(name, [network])
        if layer is None or not isinstance(layer[1], _ADAPTABLE):
            raise UserError(f"lora.start: {file} changes {name}, which {type(network).__name__} does not have")
        if not fits(change, layer[1].weight):
            shape = tuple(layer[1].weight.shape)
            raise UserError(f"lora.start: {file} does not fit {name}, whose weight is {shape}")
        found[layer[0]] = change
    scales = {(change.rank, change.strength * change.rank) for change in found.values()}
    if len(scales) > 1:
        raise UserError(f"lora.start: {file} has layers of different rank or alpha")
    rank, alpha = scales.pop()
    add_adapter(network, rank, alpha, sorted(found))
    with torch.no_grad():
        for name, change in found.items():
            layer_now: Any = network.get_submodule(name)
            for factors, values in ((layer_now.lora_A, change.down), (layer_now.lora_B, change.up)):
                weight = factors[_ADAPTER].weight
                weight.copy_(values.reshape(weight.shape))
    return rank, alpha, sorted(found)


def lora_tensors(network: nn.Module | Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The factors of a network's adapter by name, `<layer>.lora_A.weight` and `<layer>.lora_B.weight`.

    Args:
        network: with an adapter; or its parameters by name, where some strategy holds them in pieces and they were
            gathered elsewhere.
    """
    named = network.items() if isinstance(network, Mapping) else network.named_parameters()
    return {
        name.replace(f".{_ADAPTER}.", "."): tensor.detach()
        for name, tensor in named
        if name.endswith((f".lora_A.{_ADAPTER}.weight", f".lora_B.{_ADAPTER}.weight"))
    }


def save_lora(
    file: Path,
    networks: Mapping[str, nn.Module | Mapping[str, torch.Tensor]],
    rank: int,
    alpha: float | None,
    base: str,
    kind: str | None = None,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write adapters as diffusers does: names `unet.<layer>.lora_A.weight`, peft's configuration in the header.

    The file appears under its name only when it is whole. `infer.py models.lora=` reads it, and so does diffusers'
    `load_lora_adapter(folder, weight_name=file, prefix="unet")` (which without `weight_name` ignores headers, alpha
    with them).

    Args:
        file: safetensors.
        networks: prefix → network with an adapter, or its parameters as for `lora_tensors`.
        rank: as for `add_adapter`.
        alpha: as for `add_adapter`.
        base: what the adapters were trained on, as `start` named it; goes into the header as `paintsundo.base`.
        kind: "single_frame" or "multi_frame", for `paintsundo.kind`; told by the networks where they are given.
        notes: other texts for the header, each below `paintsundo.`, such as where the data came from.

    Raises:
        UserError: no network has an adapter.
    """
    from peft import LoraConfig

    tensors: dict[str, torch.Tensor] = {}
    settings: dict[str, Any] = {}
    for prefix, network in networks.items():
        factors = lora_tensors(network)
        if not factors:
            raise UserError(f"{prefix} has no adapter to write to {file}")
        kind = kind or next((name for cls, name in _KINDS.items() if isinstance(network, cls)), None)
        tensors |= {f"{prefix}.{name}": factor.cpu().contiguous() for name, factor in factors.items()}
        layers = sorted({name.rsplit(".lora_", 1)[0] for name in factors})
        config = LoraConfig(r=rank, lora_alpha=rank if alpha is None else alpha, target_modules=layers).to_dict()
        for key, value in config.items():
            settings[f"{prefix}.{key}"] = sorted(value) if isinstance(value, set) else value
    header = {
        "format": "pt",
        "lora_adapter_metadata": json.dumps(settings, indent=2, sort_keys=True),
        "paintsundo.base": base,
        **({"paintsundo.kind": kind} if kind else {}),
        **{f"paintsundo.{key}": text for key, text in (notes or {}).items()},
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    try:
        save_file(tensors, partial, metadata=header)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _matching(network: nn.Module, targets: Sequence[str]) -> list[str]:
    """Names of the layers whose name is or ends, at a dot, in one of the targets."""
    layers = list(_adaptable(network))
    matched = []
    for target in targets:
        own = [name for name in layers if name == target or name.endswith(f".{target}")]
        if not own:
            ends = Counter(_end(name) for name in layers)
            raise UserError(
                f"lora.targets: {target} is the end of no layer's name; there are "
                + ", ".join(f"{end} ({count})" for end, count in sorted(ends.items()))
            )
        matched += own
    if not matched:
        raise UserError("lora.targets is empty: name layers such as to_q, to_k, to_v and to_out.0")
    return sorted(set(matched))


def _adaptable(network: nn.Module) -> Iterator[str]:
    return (name for name, module in network.named_modules() if isinstance(module, _ADAPTABLE))


def _end(name: str) -> str:
    """The last word of a name, with the numbers after it: `attn1.to_out.0` → `to_out.0`."""
    words = name.split(".")
    start = len(words) - 1
    while start > 0 and words[start].isdigit():
        start -= 1
    return ".".join(words[start:])
