"""What the configuration files of a checkpoint say, checked before any weights are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paintsundo.errors import UserError
from paintsundo.models.official_layout import read_config

# Keys by which a component's configuration is recognised.
MARKS = {
    "single_frame": {
        "unet": ("block_out_channels", "cross_attention_dim", "in_channels"),
        "vae": ("block_out_channels", "latent_channels"),
        "text_encoder": ("hidden_size",),
    },
    "multi_frame": {
        "unet": ("channel_mult", "context_dim", "in_channels", "out_channels"),
        "vae": ("ch_mult", "z_channels"),
        "text_encoder": ("hidden_size",),
        "image_encoder": ("hidden_size", "patch_size"),
        "image_projection": ("video_length", "embedding_dim", "output_dim"),
    },
}

# Widths that have to agree: (component, key) twice.
_AGREEMENTS = {
    "single_frame": (
        (("vae", "latent_channels"), ("unet", "in_channels")),
        (("text_encoder", "hidden_size"), ("unet", "cross_attention_dim")),
    ),
    "multi_frame": (
        (("vae", "z_channels"), ("unet", "out_channels")),
        (("text_encoder", "hidden_size"), ("unet", "context_dim")),
        (("image_encoder", "hidden_size"), ("image_projection", "embedding_dim")),
        (("image_projection", "output_dim"), ("unet", "context_dim")),
    ),
}


def component_configs(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    """Read the `config.json` of every network of a checkpoint folder.

    Args:
        folder: in the official layout.
        kind: "single_frame" or "multi_frame".

    Raises:
        UserError: one is missing, belongs to another model, or does not agree with its neighbours.
    """
    configs = {component: flat_config(read_config(folder / component)) for component in MARKS[kind]}
    check_configs(configs, kind, folder)
    return configs


def flat_config(config: dict[str, Any]) -> dict[str, Any]:
    """A network's configuration, that of the text tower lifted out of one for both towers of CLIP."""
    return config | config.get("text_config", {})


def check_configs(configs: Mapping[str, dict[str, Any]], kind: str, source: str | Path) -> None:
    """Check the configurations of some or all networks of a checkpoint.

    Args:
        configs: by component, flat.
        kind: "single_frame" or "multi_frame".
        source: what to call the checkpoint in errors.

    Raises:
        UserError: one belongs to another model, or does not agree with its neighbours.
    """
    for component, marks in MARKS[kind].items():
        for mark in marks:
            if component in configs and mark not in configs[component]:
                raise UserError(
                    f"{source} holds another model than the {kind} one: {component}/config.json has no {mark}"
                )
    for (component, key), (other, other_key) in _AGREEMENTS[kind]:
        if component not in configs or other not in configs:
            continue
        ours, theirs = configs[component][key], configs[other][other_key]
        if ours != theirs:
            raise UserError(
                f"{source} mixes models: {component} has {key} {ours}, but {other} has {other_key} {theirs}"
            )
