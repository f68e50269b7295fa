"""Classifier-free guidance (Ho and Salimans 2022), as one batched pass or two in a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from paintsundo.diffusion.precision import widen


def guide(cond: Tensor, uncond: Tensor, scale: float, rescale: float = 0.0) -> Tensor:
    """Guided prediction uncond + scale * (cond - uncond), in float32 or better.

    rescale in [0, 1] mixes in the same prediction brought back to the standard deviation of `cond` (over all
    but the batch axis, unbiased), which keeps high scales from over-exposing: Lin et al. 2024, equations 15
    and 16.
    cond, uncond: (B, …).
    """
    cond, uncond = widen(cond), widen(uncond)
    guided = uncond + scale * (cond - uncond)
    if rescale == 0:
        return guided
    axes = tuple(range(1, cond.ndim))
    deviation = guided.std(dim=axes, keepdim=True)
    # A constant prediction has no deviation to restore.
    ratio = torch.where(deviation > 0, cond.std(dim=axes, keepdim=True) / deviation, 1.0)
    return rescale * (guided * ratio) + (1 - rescale) * guided


@dataclass(frozen=True)
class Guidance:
    """Runs a network with and without its conditions and guides the result.

    scale 1 (or no negative conditions) is a single pass. batched: both halves in one pass of twice the batch,
    [cond, uncond]; otherwise two passes, for half the activation memory. Both give the same values.
    """

    scale: float = 1.0
    rescale: float = 0.0
    batched: bool = True

    @property
    def active(self) -> bool:
        """Whether the negative conditions matter at all."""
        return self.scale != 1.0

    def started(self, scheduler: Any) -> Guidance:
        """The guidance for one run of a scheduler, whose timesteps are set: called once for each of them."""
        return self

    def __call__(
        self,
        predict: Callable[..., Tensor],
        shared: Mapping[str, Tensor],
        cond: Mapping[str, Tensor],
        uncond: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Call `predict(**inputs) -> (B, …)` and return the guided prediction (B, …) in float32 or better.

        Args:
            shared: inputs common to both halves (sample, timestep, …): (B, …), or anything that broadcasts
                over the
                batch: a number, a 0-d tensor, or first axis 1 in a larger batch.
            cond, uncond: the inputs that differ, under the same names, (B, …) or (1, …) each; or objects with a
                length and the methods `over(rows)` and `joined(other)`.
        """
        positive, negative = self.predictions(predict, shared, cond, uncond)
        return widen(positive) if negative is None else guide(positive, negative, self.scale, self.rescale)

    def predictions(
        self,
        predict: Callable[..., Tensor],
        shared: Mapping[str, Tensor],
        cond: Mapping[str, Tensor],
        uncond: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """What is guided: the predictions (B, …) with conditions and without (None: not needed); arguments as above."""
        batch = max(_length(value) for value in (*shared.values(), *cond.values()))
        cond = {name: _over(value, batch) for name, value in cond.items()}
        if uncond is None or not self.active:
            return predict(**shared, **cond), None
        if set(cond) != set(uncond):
            raise ValueError(f"conditions differ in name: {sorted(cond)} and {sorted(uncond)}")
        uncond = {name: _over(value, batch) for name, value in uncond.items()}
        if not self.batched:
            return predict(**shared, **cond), predict(**shared, **uncond)
        # A network that repeats its samples itself computes once what is the same for both halves.
        itself = getattr(predict, "repeats_rows", False)
        both = {name: value if itself else _twice(value, batch) for name, value in shared.items()}
        both |= {name: _joined(value, uncond[name]) for name, value in cond.items()}
        positive, negative = predict(**both).chunk(2)
        return positive, negative


def _length(value: Any) -> int:
    if isinstance(value, Tensor):
        return len(value) if value.ndim > 0 else 1
    return len(value) if hasattr(value, "joined") else 1


def _over(value: Any, batch: int) -> Any:
    return value.expand(batch, *value.shape[1:]) if isinstance(value, Tensor) else value.over(batch)


def _joined(value: Any, other: Any) -> Any:
    return torch.cat([value, other]) if isinstance(value, Tensor) else value.joined(other)


def _twice(value: Tensor, batch: int) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim == 0 or len(value) != batch:
        return value
    return torch.cat([value, value])
