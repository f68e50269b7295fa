"""Engines for these tests: one on the smallest models, one whose work is whatever a test says."""

import copy
import functools
import io
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from paintsundo.app.options import AppOptions
from paintsundo.app.run import Run
from paintsundo.app.studio import Studio
from paintsundo.app.watch import Stopped
from tiny_models import MODELS, SMALL, drawing

ANNA, BERT = "a" * 32, "b" * 32


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
