"""Running averages of weights: the exponential one, and those with power-function profiles (Karras et al. 2024).

"Analyzing and Improving the Training Dynamics of Diffusion Models", section 3 and appendix C. Plain tensors and
shards of them (DTensors) are averaged alike: every operation is element by element.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paintsundo.errors import UserError

# γ = 0, the mean of everything so far: no power function with γ ≥ 0 is wider.
WIDEST = 12**-0.5


def power_exponent(std: float) -> float:
    """Exponent γ ≥ 0 of the power function whose relative standard deviation is `std`.

    The largest root of (γ + 1)(γ + 2)⁻²(γ + 3)⁻¹ = σ² (paper, appendix C): 0.05 → 16.97, 0.10 → 6.94.

    Args:
        std: σ, relative to the length of the training, in (0, 12^−½ ≈ 0.2887].

    Raises:
        UserError: there is no such function.
    """
    if not 0 < std <= WIDEST:
        raise UserError(f"the width of an average is more than 0 and at most {WIDEST:.4f}, not {std}")
    inverse = std**-2
    return max(0.0, float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max()))


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, in the same memory: its shard of a DTensor, else all of it."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


class _Average:
    """m ← m + w(n)(p − m) for every tensor p, with the weight w of the n-th update.

    Attributes:
        averages: float32, by name, each on the device (and mesh) of the tensor it averages.
        updates: how many have been made.
    """

    def __init__(self) -> None:
        self.averages: dict[str, Tensor] = {}
        self.updates = 0
        self._loaded: dict[str, Tensor] | None = None

    def weight(self, update: int) -> float:
        """Share of the newest value in the average after update number 1, 2, …"""
        raise NotImplementedError

    @torch.no_grad()
    def start(self, masters: Mapping[str, Tensor]) -> None:
        """Begin with these values, or go on with those of a loaded state.

        Raises:
            UserError: the loaded state belongs to other tensors.
        """
        if self._loaded is None:
            self.averages = {name: p.detach().to(torch.float32, copy=True) for name, p in masters.items()}
            self.updates = 0
            return
        loaded, self._loaded = self._loaded, None
        differing = sorted(loaded.keys() ^ masters.keys())
        differing += [n for n, p in masters.items() if n in loaded and local(loaded[n]).shape != local(p).shape]
        if differing:
            raise UserError(
                f"the checkpoint's averages are of other tensors ({len(differing)} differ, as {differing[0]}): "
                "what is trained, and on how many devices, cannot change when a run goes on"
            )
        self.averages = {n: torch.empty_like(p, dtype=torch.float32) for n, p in masters.items()}
        for name, average in self.averages.items():
            local(average).copy_(local(loaded[name]))

    @torch.no_grad()
    def update(self, masters: Mapping[str, Tensor]) -> None:
        """Take in the values after another step; names and shapes as at the start."""
        self.updates += 1
        averages = [local(self.averages[name]) for name in masters]
        values = [local(p.detach()).to(torch.float32) for p in masters.values()]
        torch._foreach_lerp_(averages, values, self.weight(self.updates))

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on bit by bit; the tensors are not copied."""
        return {"averages": self.averages, "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state; `start` then puts it where the tensors are."""
        self._loaded, self.updates = dict(state["averages"]), int(state["updates"])


class StandardAverage(_Average):
    """Exponential average, m ← m + (1 − d)(p − m), d = min(decay, (1 + n)/(10 + n)) after n updates.

    Args:
        decay: asymptotic decay per update, in [0, 1).

    Raises:
        UserError: the decay is outside.
    """

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise UserError(f"the decay of an average is at least 0 and less than 1, not {decay}")
        self.decay = decay

    def weight(self, update: int) -> float:
        return 1.0 - min(self.decay, update / (9 + update))


class PowerAverage(_Average):
    """Average over the profile ∝ τ^γ of all steps τ ≤ t: β = (1 − 1/t)^(γ+1), m ← β m + (1 − β) p (paper, eq. 2).

    The first update takes the whole value: nothing is left of what the average began with.

    Args:
        std: width of the profile relative to t, in (0, 0.2887].

    Raises:
        UserError: the width is outside.
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std, self.exponent = std, power_exponent(std)

    def weight(self, update: int) -> float:
        return 1.0 - (1.0 - 1.0 / update) ** (self.exponent + 1)
