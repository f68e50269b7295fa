"""A network's call recorded once as a CUDA graph and played at every step, which costs the processor one launch."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor, nn

from paintsundo.models.context_keys import ContextKeys
from paintsundo.pipelines.offload import is_streamed

Call = Callable[[], Tensor]
# Runs a call and gives its result, and what computes it again into the same tensor from what its inputs hold then.
Recorder = Callable[[Call], tuple[Tensor, Callable[[], Any]]]


def graphed(predict: Any, network: nn.Module, device: torch.device, wanted: bool) -> Any:
    """`predict` recorded as CUDA graphs, or itself where that is not wanted or impossible; the latter is told."""
    if not wanted:
        return predict
    if device.type != "cuda":
        return _told(predict, f"there are none on the device {device.type!r}")
    if is_streamed(network):
        return _told(predict, "weights that come block by block lie at another place each time")
    return GraphedCalls(predict, functools.partial(record_on_gpu, device=device))


class GraphedCalls:
    """A network as the sampling loop calls it, recorded for each set of shapes when they come for the second time.

    Calls with other than tensors, keys known beforehand and plain values are made as they are; so are all once a
    recording has failed. To be dropped after a run: a graph holds the memory of all its activations.

    Args:
        predict: called with named inputs, gives a tensor; must work without waiting for the device.
        record: how to record.
    """

    def __init__(self, predict: Any, record: Recorder) -> None:
        self.predict = predict
        self.repeats_rows = getattr(predict, "repeats_rows", False)
        self._record = record
        self._graphs: dict[Hashable, _Graph | None] = {}
        self._failed = False

    def __call__(self, **inputs: Any) -> Tensor:
        key = None if self._failed else _key(inputs)
        if key is None:
            return self.predict(**inputs)
        if key not in self._graphs:
            # Kernels are chosen and compiled in a first call, which cannot be done while recording.
            self._graphs[key] = None
            return self.predict(**inputs)
        graph = self._graphs[key]
        try:
            if graph is None:
                graph = self._graphs[key] = _Graph(self.predict, inputs, self._record)
        except RuntimeError as error:
            self._failed = True
            self._graphs.clear()
            _told(self.predict, str(error).splitlines()[0])
        # Only here, because the exception holds the failed recording's activations until it is dealt with.
        return self.predict(**inputs) if graph is None else graph(inputs)


class _Graph:
    """One recording, with tensors of its own for what goes in."""

    def __init__(self, predict: Any, inputs: dict[str, Any], record: Recorder) -> None:
        self._own = {name: x.clone() if isinstance(x, Tensor) else x for name, x in inputs.items()}
        self._result, self._replay = record(lambda: predict(**self._own))

    def __call__(self, inputs: dict[str, Any]) -> Tensor:
        for name, own in self._own.items():
            if isinstance(own, Tensor):
                own.copy_(inputs[name])
        self._replay()
        # Samplers keep predictions, which the next step would write over.
        return self._result.clone()


def record_on_gpu(call: Call, device: torch.device) -> tuple[Tensor, Callable[[], Any]]:
    """Record a call on a CUDA device; nothing is computed until the first replay."""
    graph = torch.cuda.CUDAGraph()
    with (
        torch.cuda.device(device),
        # Put back here: what records does not do so where it failed.
        torch.cuda.stream(torch.cuda.current_stream()),
        torch.cuda.graph(graph, stream=_recording_stream(torch.cuda.current_device())),
    ):
        result = call()
    return result, graph.replay


@functools.cache
def _recording_stream(device: int) -> torch.cuda.Stream:
    """One for each device: that of `torch.cuda.graph` is on the first that records, and records nothing of others."""
    return torch.cuda.Stream(device)


def _key(inputs: dict[str, Any]) -> Hashable | None:
    """What a recording holds for: shapes and types of tensors, the very keys known beforehand, plain values."""
    parts: list[Hashable] = []
    for name, value in sorted(inputs.items()):
        if isinstance(value, Tensor):
            parts.append((name, value.shape, value.dtype, value.device))
        elif isinstance(value, ContextKeys) or value is None or isinstance(value, (bool, int, float, str)):
            parts.append((name, value))  # keys are equal to themselves alone
        else:
            return None
    return tuple(parts)


def _told(predict: Any, reason: str) -> Any:
    warnings.warn(f"runtime.graphs: {reason}: networks are called without CUDA graphs", stacklevel=3)
    return predict
