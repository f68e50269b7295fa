"""The passes of a training step recorded as CUDA graphs: the processor starts two of them, not thousands of kernels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Predict = Callable[[dict[str, Any], Tensor, Tensor, Mapping[str, Tensor]], Tensor]
# Makes a module's forward pass, and the backward pass through it, replays of what they did with these inputs.
Record = Callable[[nn.Module, tuple[Tensor, ...]], None]


class RecordedPasses:
    """`DiffusionModule.predict` and its gradients, recorded once for each set of shapes and replayed from then on.

    What a network of some millions of parameters computes takes a GPU less time than the processor needs to ask for it;
    a recording is asked for at once. Results are those of the same kernels in the same order. If something cannot be
    recorded, a warning says so, and the networks are called as before.

    A gradient lies in the recording's own memory, which the next backward pass writes over: a step has one.

    Args:
        networks: that the prediction uses; the trained ones among them get gradients.
        record: how to record.
    """

    def __init__(self, networks: Sequence[nn.Module], record: Record | None = None) -> None:
        self.networks = list(networks)
        self._record = record or record_on_gpu
        self._recorded: dict[Hashable, _Prediction] = {}
        self._failed = False

    def __call__(
        self,
        predict: Predict,
        variant: Hashable,
        batch: Mapping[str, Any],
        noisy: Tensor,
        t: Tensor,
        dropped: Mapping[str, Tensor],
    ) -> Tensor:
        """`predict(batch, noisy, t, dropped)`, of whose batch tensors alone are handed on.

        Args:
            predict: must work without waiting for the device.
            variant: what it depends on besides tensors.
            batch, noisy, t, dropped: of `predict`.
        """
        tensors = {name: value for name, value in sorted(batch.items()) if isinstance(value, Tensor)}
        inputs = (noisy, t, *tensors.values(), *dropped.values())
        names = (tuple(tensors), tuple(dropped))
        key = (variant, names, *((x.shape, x.dtype) for x in inputs))
        if not self._failed and key not in self._recorded:
            prediction = _Prediction(self.networks, predict, *names)
            try:
                self._record(prediction, inputs)
                self._recorded[key] = prediction
            except RuntimeError as error:
                self._failed = True
                self._recorded.clear()
                reason = str(error).splitlines()[0]
                warnings.warn(f"runtime.graphs: {reason}: networks are trained without CUDA graphs", stacklevel=2)
        if self._failed:
            return predict(tensors, noisy, t, dropped)
        found: Tensor = self._recorded[key](*inputs)
        return found


class _Prediction(nn.Module):
    """`predict` with nothing but tensors for inputs; its parameters are the networks'."""

    def __init__(
        self, networks: Sequence[nn.Module], predict: Predict, batch: tuple[str, ...], dropped: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self._predict, self._batch, self._dropped = predict, batch, dropped

    def forward(self, noisy: Tensor, t: Tensor, *tensors: Tensor) -> Tensor:
        batch = dict(zip(self._batch, tensors, strict=False))
        dropped = dict(zip(self._dropped, tensors[len(self._batch) :], strict=True))
        return self._predict(batch, noisy, t, dropped)


def record_on_gpu(prediction: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Record on the inputs' CUDA device, after a few passes in which kernels are chosen; changes no gradient."""
    with (
        torch.cuda.device(inputs[0].device),
        # Put back here: what records does not do so where it failed.
        torch.cuda.stream(torch.cuda.current_stream()),
        # Casts of weights kept from outside would be replayed as they were, not as the weights have become.
        torch.autocast(
            "cuda",
            dtype=torch.get_autocast_dtype("cuda"),
            enabled=torch.is_autocast_enabled("cuda"),
            cache_enabled=False,
        ),
    ):
        own = tuple(x.clone() for x in inputs)
        torch.cuda.make_graphed_callables(prediction, own, allow_unused_input=True)
