"""What a training run starts from: the parts of a model, each loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

COMPONENTS = {
    "single_frame": ("unet", "vae", "text_encoder", "tokenizer"),
    "multi_frame": ("unet", "vae", "text_encoder", "tokenizer", "image_encoder", "image_projection"),
}


@dataclass(frozen=True)
class Part:
    """One component.

    Attributes:
        config: its `config.json`; None for a tokenizer.
        read: gives the network (any dtype and mode) or the tokenizer.
    """

    config: dict[str, Any] | None
    read: Callable[[], Any]


@dataclass(frozen=True)
class StartingPoint:
    """Where training starts.

    Attributes:
        source: as the user gave it.
        kind: "official", "sd15", "lvdm", "run" or "lora".
        description: one line: what was recognised, and what was changed or is new.
        parts: by component; one that the source does not have is not there.
        lora: the low-rank change to go on with, over these parts.
    """

    source: str
    kind: str
    description: str
    parts: Mapping[str, Part]
    lora: Path | None = None

    def config(self, component: str) -> dict[str, Any] | None:
        """A network's `config.json`, without reading its tensors; None where the source has no such network."""
        part = self.parts.get(component)
        return None if part is None else part.config

    def load(self, component: str) -> Any:
        """A component, read anew by each call: a network in float32 on the CPU, in training mode, every parameter
        trainable; the tokenizer; or None where the source has none.

        Raises:
            UserError: a file is missing or damaged, or tensors are missing, unknown or wrongly shaped.
        """
        part = self.parts.get(component)
        loaded = None if part is None else part.read()
        if isinstance(loaded, nn.Module):
            if any(p.dtype != torch.float32 for p in loaded.parameters()):
                loaded = loaded.to(torch.float32)  # only where it changes something: diffusers warns of every cast
            return loaded.to("cpu").train().requires_grad_(True)
        return loaded
