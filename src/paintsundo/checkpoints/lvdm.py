"""Checkpoints of VideoCrafter, DynamiCrafter and ToonCrafter as starting points of the multi-frame model."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from paintsundo.checkpoints import lvdm_networks, open_clip
from paintsundo.checkpoints.starting_point import Part, StartingPoint
from paintsundo.checkpoints.tensor_files import listed
from paintsundo.errors import UserError

Tensors = Mapping[str, torch.Tensor]

_UNET = "model.diffusion_model."
_PREFIXES = {
    "unet": _UNET,
    "vae": "first_stage_model.",
    "text_encoder": "cond_stage_model.model.",
    "image_encoder": "embedder.model.visual.",
    "image_projection": "image_proj_model.",
}
# Wrappers that DeepSpeed and Lightning leave around all names.
_WRAPPERS = ("_forward_module.", "module.")
# Not part of any network of ours: noise schedules, the image tower's leftovers of the text tower, a training loss.
_KNOWN = re.compile(
    r"(sqrt_\w+|alphas_cumprod\w*|betas|log_one_minus_alphas_cumprod|posterior_\w+|lvlb_weights|logvar|scale_arr|"
    r"scale_factor|embedder\.(mean|std)|embedder\.model\.(?!visual\.).+|first_stage_model\.loss\..+)"
)
# A tensor by which each kind of part is known, below its prefix.
_MARK = {
    "unet": "time_embed.0.weight",
    "vae": "encoder.conv_in.weight",
    "text_encoder": "token_embedding.weight",
    "image_encoder": "conv1.weight",
    "image_projection": "latents",
}
_TEMPORAL = re.compile(
    r".*(temopral_conv|temporal_conv|init_attn\.0|blocks\.\d+\.2\.transformer_blocks|block\.2\.trans).*"
)


def state_of(content: Any) -> dict[str, torch.Tensor] | None:
    """All tensors by name in what a checkpoint file holds, bare or under "state_dict" or "module"; None if there
    are none."""
    for key in ("state_dict", "module"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        return None
    tensors = {str(name): tensor for name, tensor in content.items() if isinstance(tensor, torch.Tensor)}
    for wrapper in _WRAPPERS:
        if tensors and all(name.startswith(wrapper) for name in tensors):
            tensors = {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()}
    return tensors or None


def is_lvdm(tensors: Mapping[str, Any]) -> bool:
    """Whether these are the tensors of a video model of the family (Stable Diffusion's own have nothing over time)."""
    return f"{_UNET}time_embed.0.weight" in tensors and any(_TEMPORAL.fullmatch(name) for name in tensors)


def lvdm_starting_point(file: Path, source: str, read: Callable[[], Tensors]) -> StartingPoint:
    """The parts of a checkpoint file as the multi-frame model's; it has no tokenizer.

    Configurations come from the shapes of the tensors. What no shape tells is as published (heads of 64), unless a
    file of the same name with the ending `.yaml` says it in the family's own form.

    Args:
        file: for errors and the description.
        source: as the user gave it.
        read: gives all tensors, by name.

    Raises:
        UserError: the file lacks a tensor that every such file has.
    """
    every = read()
    given = _written_config(file.with_suffix(".yaml"))
    parts: dict[str, Part] = {}
    changes: list[str] = []
    for component, prefix in _PREFIXES.items():
        if f"{prefix}{_MARK[component]}" not in every:
            changes.append(f"no {component}")
            continue
        try:
            config, changed = _config(component, _below(every, prefix, component), given)
        except KeyError as error:
            raise UserError(f"{file} is no checkpoint of the lvdm family: {prefix}{error.args[0]} is missing") from None
        except UserError as error:
            raise UserError(f"{file} cannot be used: {error}") from None
        changes += changed
        parts[component] = Part(config, _reader(file, component, config, read))
    changes.append("no tokenizer")
    if ignored := [name for name in every if not _is_used(name, parts)]:
        changes.append(f"{len(ignored)} tensors ignored ({listed(ignored, 3)})")
    return StartingPoint(source, "lvdm", f"{_family(parts)} checkpoint {file.name}: {'; '.join(changes)}", parts)


def _config(component: str, tensors: Tensors, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    if component == "unet":
        return lvdm_networks.unet_config(tensors, given.get("unet_config", {}))
    if component == "vae":
        return lvdm_networks.vae_config(tensors)
    if component == "image_projection":
        return lvdm_networks.projection_config(tensors, given.get("image_proj_stage_config", {}))
    if component == "text_encoder":
        return open_clip.text_config(tensors), ["last layer of the text encoder left out, as in the family"]
    return open_clip.vision_config(tensors), []


_BUILD: dict[str, Callable[[dict[str, Any], Tensors, str], Any]] = {
    "unet": lvdm_networks.unet,
    "vae": lvdm_networks.vae,
    "text_encoder": open_clip.text_tower,
    "image_encoder": open_clip.vision_tower,
    "image_projection": lvdm_networks.projection,
}


def _reader(file: Path, component: str, config: dict[str, Any], read: Callable[[], Tensors]) -> Callable[[], Any]:
    prefix = _PREFIXES[component]

    def load() -> Any:
        # Copies: the file's own tensors may be a view of it on disk.
        tensors = {n: t.to(torch.float32, copy=True) for n, t in _below(read(), prefix, component).items()}
        return _BUILD[component](config, tensors, f"{file} ({prefix}*)")

    return load


def _below(every: Tensors, prefix: str, component: str) -> dict[str, torch.Tensor]:
    tensors = {n.removeprefix(prefix): t for n, t in every.items() if n.startswith(prefix) and not _KNOWN.fullmatch(n)}
    return lvdm_networks.spelled(tensors) if component == "unet" else tensors


def _is_used(name: str, parts: Mapping[str, Part]) -> bool:
    return bool(_KNOWN.fullmatch(name)) or any(name.startswith(_PREFIXES[component]) for component in parts)


def _family(parts: Mapping[str, Part]) -> str:
    """The name of the models that have these parts: descriptions only."""
    temporal_vae = "vae" in parts and "combiner_heads" in (parts["vae"].config or {})
    return "ToonCrafter" if temporal_vae else "DynamiCrafter" if "image_projection" in parts else "VideoCrafter"


def _written_config(file: Path) -> dict[str, dict[str, Any]]:
    """`params` of the parts in a configuration of the family (`model.params.<part>.params`); {} if there is none."""
    if not file.is_file():
        return {}
    import yaml

    try:
        params = yaml.safe_load(file.read_text(encoding="utf-8"))["model"]["params"]
        parts = {name: part["params"] for name, part in params.items() if isinstance(part, dict) and "params" in part}
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        raise UserError(f"{file} is not a configuration of the lvdm family (it has no model.params)") from None
    unsupported = {"use_relative_position": True, "use_scale_shift_norm": True, "tempspatial_aware": True}
    for key, value in unsupported.items():
        if parts.get("unet_config", {}).get(key) == value:
            raise UserError(f"{file}: networks with {key}: {value} are not supported")
    return parts
