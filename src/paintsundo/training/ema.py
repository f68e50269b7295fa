"""Exponential moving average of trained parameters, kept in the checkpoint and used for samples and exports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning
import torch
from torch import Tensor


class ExponentialMovingAverage(lightning.Callback):
    """Averages every parameter that is trained: m ← m + (1 − d)(p − m), d = min(decay, (1 + n)/(10 + n)).

    Args:
        decay: asymptotic decay per step; n is the number of steps taken.
    """

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = decay
        self.averages: dict[str, Tensor] = {}
        self.updates = 0

    @staticmethod
    def _trained(module: lightning.LightningModule) -> dict[str, Tensor]:
        return {name: p.data for name, p in module.named_parameters() if p.requires_grad}

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        current = self._trained(pl_module)
        if not self.averages:
            self.averages = {name: p.detach().clone() for name, p in current.items()}
        self.averages = {name: m.to(current[name].device) for name, m in self.averages.items()}

    @torch.no_grad()
    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any) -> None:
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        current = self._trained(pl_module)
        torch._foreach_lerp_([self.averages[n] for n in current], list(current.values()), 1.0 - decay)
        self.updates += 1

    @contextmanager
    def swapped(self, module: lightning.LightningModule) -> Iterator[None]:
        """Run with the averaged parameters in place of the trained ones."""
        current = self._trained(module)
        kept = {name: p.clone() for name, p in current.items()}
        try:
            for name, p in current.items():
                p.copy_(self.averages[name])
            yield
        finally:
            for name, p in current.items():
                p.copy_(kept[name])

    def state_dict(self) -> dict[str, Any]:
        return {"averages": self.averages, "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.averages, self.updates = dict(state["averages"]), int(state["updates"])
