"""An output folder of `train.py` as a starting point: what it exported, or else its newest complete checkpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPVisionConfig

from paintsundo.checkpoints.image_vae import image_vae
from paintsundo.checkpoints.layout import check_configs, flat_config
from paintsundo.checkpoints.starting_point import COMPONENTS, Part, StartingPoint
from paintsundo.checkpoints.tensor_files import read_pickle
from paintsundo.checkpoints.text_encoders import load_tokenizer, text_encoder
from paintsundo.errors import UserError
from paintsundo.models import ClipVisionEncoder, ImageProjection, SingleFrameUNet, UNet3DModel, VideoAutoencoderKL
from paintsundo.models.official_layout import build, cast_floating, load_tensors, read_tensors

Tensors = Mapping[str, torch.Tensor]
_STEP = re.compile(r"step-(\d+)")
_AVERAGES = "averages.safetensors"


def newest_checkpoint(folder: Path) -> Path | None:
    """The complete checkpoint of the most steps below `checkpoints/` (its manifest is written last); None if there
    is none."""
    steps = {
        int(match[1]): step
        for step in (folder / "checkpoints").glob("step-*")
        if (match := _STEP.fullmatch(step.name)) and (step / "manifest.json").is_file()
    }
    return steps[max(steps)] if steps else None


def checkpoint_starting_point(folder: Path, step: Path, kind: str, source: str) -> StartingPoint:
    """The networks of a checkpoint of a run; averaged weights where the run keeps an average.

    Args:
        folder: of the run.
        step: the checkpoint.
        kind: "single_frame" or "multi_frame".
        source: as the user gave it.

    Raises:
        UserError: the checkpoint is damaged, another model's, or holds a LoRA.
    """
    configs = _configs(step)
    names = list(_content(step)["state_dict"])
    if any(".lora_A." in name for name in names):
        raise UserError(f"{folder} is the run of a LoRA: name the LoRA file that it exported")
    present = {c: configs[c] for c in COMPONENTS[kind] if c in configs and any(n.startswith(f"{c}.") for n in names)}
    if not present:
        raise UserError(f"{step} holds no part of the {kind} model")
    check_configs({component: flat_config(config) for component, config in present.items()}, kind, step)
    parts = {component: Part(config, _reader(step, kind, component, config)) for component, config in present.items()}
    for place in (step, folder):
        if (place / "tokenizer" / "vocab.json").is_file():
            parts["tokenizer"] = Part(None, _tokenizer_reader(place / "tokenizer"))
            break
    weights = "averaged weights" if _averages(step, _content(step)) else "weights"
    return StartingPoint(source, "run", f"{weights} of {', '.join(parts)} at {step.name} of the run {folder}", parts)


def _configs(step: Path) -> dict[str, dict[str, Any]]:
    file = step / "components.json"
    try:
        configs = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None
    if not isinstance(configs, dict) or not all(isinstance(config, dict) for config in configs.values()):
        raise UserError(f"{file} does not say the configuration of each component")
    return configs


def _content(step: Path) -> Mapping[str, Any]:
    content = read_pickle(step / "state.ckpt")
    if not isinstance(content, Mapping) or not isinstance(content.get("state_dict"), Mapping):
        raise UserError(f"{step / 'state.ckpt'} has no state_dict")
    return content


def _averages(step: Path, content: Mapping[str, Any]) -> Tensors:
    """The averages of a checkpoint that exports show: the first that the run keeps; nothing where it keeps none."""
    if (step / _AVERAGES).is_file():
        return read_tensors(step, _AVERAGES)
    callbacks = content.get("callbacks", {})
    states: Iterator[Mapping[str, Any]] = (state for name, state in callbacks.items() if "AverageWeights" in name)
    members: Mapping[str, Any] = next(states, {}).get("members", {})
    return next((dict(member["averages"]) for member in members.values() if member.get("averages")), {})


def _reader(step: Path, kind: str, component: str, config: dict[str, Any]) -> Callable[[], Any]:
    def read() -> Any:
        content = _content(step)
        state = {**content["state_dict"], **_averages(step, content)}
        prefix = f"{component}."
        # Copies: the tensors of a pickle may be a view of it on disk.
        own = {n.removeprefix(prefix): t.clone() for n, t in state.items() if n.startswith(prefix)}
        return build_network(kind, component, config, cast_floating(own, torch.float32), step / "state.ckpt")

    return read


def _tokenizer_reader(folder: Path) -> Callable[[], Any]:
    return lambda: load_tokenizer(folder)


def build_network(kind: str, component: str, config: dict[str, Any], tensors: Tensors, source: Path) -> Any:
    """A network of a model, of its configuration and tensors; `UserError` where they do not fit."""
    if component == "text_encoder":
        return text_encoder(config.get("text_config", config), tensors, source)
    if component == "vae" and kind == "single_frame":
        return image_vae(config, tensors, source)
    if component == "image_encoder":
        network = build(lambda: ClipVisionEncoder(CLIPVisionConfig(**config)), source)
    else:
        network = build(lambda: _NETWORKS[kind, component].from_config(config), source)
    load_tensors(network, tensors, source)
    return network


_NETWORKS: dict[tuple[str, str], Any] = {
    ("single_frame", "unet"): SingleFrameUNet,
    ("multi_frame", "unet"): UNet3DModel,
    ("multi_frame", "vae"): VideoAutoencoderKL,
    ("multi_frame", "image_projection"): ImageProjection,
}
