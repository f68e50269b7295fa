"""Weights of the training loss by timestep, each a callable `(schedule, t, prediction_type) -> (B,)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paintsundo.diffusion.targets import schedule_of
from paintsundo.errors import UserError


def snr(schedule: Any, t: Tensor) -> Tensor:
    """Signal-to-noise ratio a / (1 - a) at timesteps t (B,): (B,) float32, 0 at zero terminal SNR."""
    return schedule_of(schedule).at("snr", t, torch.empty(len(t), device=t.device))


@dataclass(frozen=True)
class UniformWeight:
    """Every timestep counts the same."""

    def __call__(self, schedule: Any, t: Tensor, prediction_type: str) -> Tensor:
        """Ones (B,) float32."""
        return torch.ones(t.shape, device=t.device)


@dataclass(frozen=True)
class MinSNRWeight:
    """Min-SNR-gamma (Hang et al. 2023): the loss on x0 weighs min(SNR, gamma), whatever is predicted.

    At zero terminal SNR a v-prediction would weigh 0 and the first sampling step never be trained: `floor` is
    the smallest weight given.
    """

    gamma: float = 5.0
    floor: float = 0.0

    def __call__(self, schedule: Any, t: Tensor, prediction_type: str) -> Tensor:
        """(B,) float32. An error in epsilon counts SNR times that in x0, one in v SNR + 1 times."""
        ratio = snr(schedule, t)
        clipped = ratio.clamp(max=self.gamma)
        if prediction_type == "epsilon":
            weight = clipped / ratio.clamp(min=torch.finfo(ratio.dtype).tiny)
        elif prediction_type == "v_prediction":
            weight = clipped / (ratio + 1)
        elif prediction_type == "sample":
            weight = clipped
        else:
            raise UserError(f"prediction_type must be epsilon, v_prediction or sample, not {prediction_type!r}")
        return weight.clamp(min=self.floor)


@dataclass(frozen=True)
class TimestepWeight:
    """Weights given at some timesteps and linear in between, constant beyond the ends.

    timesteps: rising. weights: as many, none negative.
    """

    timesteps: Sequence[float] = field(default=(0, 999))
    weights: Sequence[float] = field(default=(1.0, 1.0))

    def __post_init__(self) -> None:
        if len(self.timesteps) != len(self.weights) or not len(self.timesteps):
            raise UserError(f"{len(self.timesteps)} timesteps for {len(self.weights)} weights")
        if any(later <= earlier for earlier, later in zip(self.timesteps, self.timesteps[1:], strict=False)):
            raise UserError(f"timesteps of loss weights must rise: {list(self.timesteps)}")
        if min(self.weights) < 0:
            raise UserError(f"loss weights must not be negative: {list(self.weights)}")

    def __call__(self, schedule: Any, t: Tensor, prediction_type: str) -> Tensor:
        """(B,) float32."""
        table = np.interp(np.arange(len(schedule_of(schedule))), list(self.timesteps), list(self.weights))
        return torch.from_numpy(table).float().to(t.device)[t.long()]
