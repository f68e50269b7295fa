"""Work beside the steps (sampling, measuring, counting): it leaves no trace in the training."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import lightning
import numpy as np
import torch
from torch import nn


class Averages(Protocol):
    """What keeps averaged weights and lends them."""

    def swapped(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> AbstractContextManager[Any]:
        """Compute with the averaged weights. All processes must call it."""
        ...


class Interval:
    """Says when something that happens every n steps is due: once a step, whatever the number of batches in it.

    Args:
        every_n_steps: interval in optimiser steps.
    """

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps
        self.last = 0

    def begin(self, step: int) -> None:
        """Training starts, or goes on, at `step`: what was due then has been done."""
        self.last = step

    def due(self, step: int, end: bool = False) -> bool:
        """Whether it is due after `step` steps; at the end of training it is, unless just done."""
        if step == self.last or not (end or step % self.every_n_steps == 0):
            return False
        self.last = step
        return True


@contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """Put the random numbers of torch (processor and `device`), numpy and Python back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """All layers in evaluation mode (no dropout); afterwards each is as it was."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


@contextmanager
def clock_stopped(trainer: lightning.Trainer) -> Iterator[None]:
    """Time spent inside does not count as training in the figures of `Throughput`."""
    pauses = [c.paused for c in trainer.callbacks if hasattr(c, "paused")]  # type: ignore[attr-defined]
    with pauses[0]() if pauses else nullcontext():
        yield


@contextmanager
def beside_training(
    trainer: lightning.Trainer, module: lightning.LightningModule, averages: Averages | None
) -> Iterator[None]:
    """Compute without gradients, with the averaged weights, in the training's precision, and leave no trace.

    Networks run uncompiled: other batch shapes would each be compiled anew. All processes must enter it.
    """
    with (
        clock_stopped(trainer),
        random_state_kept(module.device),
        evaluating(module),
        averages.swapped(trainer, module) if averages is not None else nullcontext(),
        trainer.precision_plugin.forward_context(),
        torch.compiler.set_stance("force_eager"),
        torch.no_grad(),
    ):
        yield
