"""How much memory a network needs while it works, found without doing the work.

A copy of the network on PyTorch's `meta` device, which has shapes and no values, is called once. Every storage that an
operation makes is counted from then until it is dropped, in the allocator's blocks of 512 bytes. What kernels of a GPU
need beside that is added where it is known: convolutions of the usual layout are computed channels last, on copies of
their input and output; GroupNorm of channels-last activations copies them first, but for our kernels; attention is
fused.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_BLOCK = 512
_CONVOLUTION = torch.ops.aten.convolution.default
_INDEX_ADD = torch.ops.aten.index_add.default
_GROUP_NORM = torch.ops.aten.native_group_norm.default


def weight_bytes(network: nn.Module) -> int:
    """Bytes of a network's parameters and buffers."""
    return sum(_rounded(tensor.nbytes) for tensor in (*network.parameters(), *network.buffers()))


def activation_bytes(
    call: Callable[[], Any], networks: Iterable[nn.Module] = (), norms_keep_layout: bool = False
) -> int:
    """Most bytes alive at once while `call` runs on meta tensors, its inputs and result included, weights not.

    Args:
        call: makes its inputs on the meta device (the default inside) and calls networks that lie there.
        networks: those networks; their weights are not counted.
        norms_keep_layout: GroupNorm makes channels-last results of channels-last activations, without a copy.
    """
    trace = _Trace(networks)
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.device("meta"))
        stack.enter_context(_AsKernels(norms_keep_layout))
        stack.enter_context(trace)
        call()
    return trace.peak


class _Trace(TorchDispatchMode):
    """Counts the storages that operations make, while they live."""

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.known: dict[int, object] = {}
        # Views of weights are results of operations as well; their storages are known before. Weights that are cast
        # while a layer works give up their own storage for so long.
        for network in networks:
            for tensor in (*network.parameters(), *network.buffers()):
                self._add(tensor.untyped_storage())
        self.live = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is _CONVOLUTION and (_only_channels_last(args[0]) or _only_channels_last(args[1])):
            # As on a GPU, where either decides.
            result = torch.empty_like(result, memory_format=torch.channels_last)
        elif function is _INDEX_ADD:
            result = torch.empty_like(args[0])  # it keeps the layout of what it adds to
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                self._add(tensor.untyped_storage())
        self.peak = max(self.peak, self.live + _beside(function, args, result))
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, _rounded(storage.nbytes())
        if key in self.known:
            return

        def drop(_: object) -> None:
            self.live -= size
            del self.known[key]

        self.live += size
        self.known[key] = weakref.ref(storage, drop)


class _AsKernels(TorchFunctionMode):
    """Attention as fused kernels compute it: no scores, the result laid out like the query; GroupNorm as ours do."""

    def __init__(self, norms_keep_layout: bool) -> None:
        super().__init__()
        self.norms_keep_layout = norms_keep_layout

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is F.scaled_dot_product_attention:
            query, _, value = (*args, *(kwargs[name] for name in ("query", "key", "value")[len(args) :]))[:3]
            batch, heads, length, _ = query.shape
            return query.new_empty((batch, length, heads, value.shape[-1])).transpose(1, 2)
        if function is F.group_norm and self.norms_keep_layout:
            return torch.empty_like(args[0] if args else kwargs["input"])
        return function(*args, **kwargs)


def _beside(function: Any, args: Any, result: Any) -> int:
    """Bytes that a kernel needs beside its inputs and outputs, dropped when it ends."""
    if function is _CONVOLUTION and args[0].element_size() == 2 and _copied(args[0]):
        others = 0 if _only_channels_last(args[1]) else result.nbytes + args[1].nbytes
        return args[0].nbytes + others
    if function is _GROUP_NORM and not args[0].is_contiguous():
        return args[0].nbytes
    return 0


def _only_channels_last(x: torch.Tensor) -> bool:
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _copied(x: torch.Tensor) -> bool:
    last = torch.channels_last if x.dim() == 4 else torch.channels_last_3d
    return x.dim() in (4, 5) and not x.is_contiguous(memory_format=last)


def _rounded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
