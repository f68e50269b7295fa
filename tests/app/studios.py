"""Engines for these tests: one on the smallest models, one whose work is whatever a test says."""

import copy
import functools
import io
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file

from paintsundo.app.options import AppOptions
from paintsundo.app.run import Run
from paintsundo.app.studio import Studio
from paintsundo.app.watch import Stopped
from paintsundo.models import SingleFrameUNet
from tiny_models import MODELS, SMALL, TINY, drawing

ANNA, BERT = "a" * 32, "b" * 32
_LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


@functools.cache
def _composed(*arguments: str) -> AppOptions:
    return AppOptions.composed([*MODELS, *SMALL, *arguments])


def options(folder: Path, *arguments: str) -> AppOptions:
    made = copy.deepcopy(_composed(*arguments))
    made.runs.folder = str(folder)
    return made


def png(picture: Image.Image | None = None) -> bytes:
    stream = io.BytesIO()
    (picture or drawing()).save(stream, format="PNG")
    return stream.getvalue()


def model_folders(folder: Path) -> list[str]:
    """Options: a pair in the official layout, one that lacks its weights, a LoRA, and a file that is none."""
    models, loras = folder / "models", folder / "loras"
    for kind in ("single_frame", "multi_frame", "tagger"):
        shutil.copytree(TINY / kind, models / "mine" / kind)
        shutil.copytree(TINY / kind, models / "half" / kind)
    for file in (models / "half" / "single_frame" / "unet").glob("*.safetensors"):
        file.unlink()
    loras.mkdir()
    weight = SingleFrameUNet.from_pretrained(TINY / "single_frame" / "unet").get_submodule(_LAYER).weight
    torch.manual_seed(0)
    factors = {"A": torch.randn(2, weight.shape[1]), "B": torch.randn(weight.shape[0], 2)}
    save_file({f"unet.{_LAYER}.lora_{name}.weight": each for name, each in factors.items()}, loras / "ink.safetensors")
    (loras / "broken.safetensors").write_bytes(b"no tensors")
    return [f"choices.models={models}", f"choices.loras={loras}", "choices.download=false"]


class Gate:
    """Work that waits to be let through, and hears when it is cancelled."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._open = threading.Semaphore(0)

    def __call__(self, run: Run, device: str | None) -> None:
        self.begun.append(run.id)
        with run.lock:
            run.record.stage = "keyframes"
            run.save()
        while not self._open.acquire(timeout=0.01):
            if run.live.cancel.is_set():
                raise Stopped

    def let_through(self, count: int = 1) -> None:
        self._open.release(count)


def gated(folder: Path, *arguments: str) -> tuple[Studio, Gate]:
    gate = Gate()
    return Studio(options(folder, *arguments), work=gate), gate


def eventually(true: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait until something holds."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come to be"
        time.sleep(0.005)
