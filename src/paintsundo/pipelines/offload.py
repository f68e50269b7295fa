"""Networks that lie on the computing device only while they work, whole or block by block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers.hooks import HookRegistry, apply_group_offloading
from diffusers.hooks.group_offloading import (
    _GROUP_OFFLOADING,
    _LAYER_EXECUTION_TRACKER,
    _LAZY_PREFETCH_GROUP_OFFLOADING,
)
from torch import nn

from paintsundo.pipelines.memory_trace import weight_bytes

# Lists of lists of layers: what is streamed is a layer of the inner lists.
_NESTED = ("input_blocks", "output_blocks")
# The block that works, the one that is fetched meanwhile, and one whose memory is not free for reuse yet.
_BLOCKS_AT_ONCE = 3


def stream_weights(network: nn.Module, device: torch.device, folder: str | os.PathLike[str] | None = None) -> None:
    """Keep a network's weights in the processor's memory, and each block on the device only while it works.

    On a GPU the next block is fetched while one works (diffusers' group offloading). A network that is streamed
    already is left as it is.

    Args:
        folder: keep the weights in files of this folder instead.
    """
    if is_streamed(network):
        return
    stream = device.type in ("cuda", "xpu")
    network.to("cpu")
    apply_group_offloading(
        network,
        onload_device=device,
        offload_device=torch.device("cpu"),
        offload_type="block_level",
        num_blocks_per_group=1,
        use_stream=stream,
        record_stream=stream,
        offload_to_disk_path=None if folder is None else str(folder),
        block_modules=[name for name in _NESTED if hasattr(network, name)] or None,
    )


def stop_streaming(network: nn.Module) -> None:
    """Undo `stream_weights`; the weights wait in the processor's memory."""
    if not is_streamed(network):
        return
    registry = HookRegistry.check_if_exists_or_initialize(network)
    for name in (_GROUP_OFFLOADING, _LAYER_EXECUTION_TRACKER, _LAZY_PREFETCH_GROUP_OFFLOADING):
        registry.remove_hook(name, recurse=True)
    network.to("cpu")


def is_streamed(network: nn.Module) -> bool:
    """Whether blocks of a network come to the device by themselves."""
    for module in network.modules():
        registry = getattr(module, "_diffusers_hook", None)
        if registry is not None and registry.get_hook(_GROUP_OFFLOADING) is not None:
            return True
    return False


def streamed_bytes(network: nn.Module) -> int:
    """Bytes of weights that are on the device at most while a streamed network works."""
    blocks, rest = [0], 0
    for name, child in network.named_children():
        if name in _NESTED:
            blocks += [weight_bytes(layer) for block in child.children() for layer in block.children()]
        elif isinstance(child, (nn.ModuleList, nn.Sequential)):
            blocks += [weight_bytes(layer) for layer in child.children()]
        else:
            rest += weight_bytes(child)
    return rest + _BLOCKS_AT_ONCE * max(blocks)


@contextmanager
def visiting(network: nn.Module, device: torch.device, home: torch.device) -> Iterator[None]:
    """Have a network on a device inside the block, and back home after it, its weights unchanged.

    What was at home is taken up again and not copied back: half of the traffic.
    """
    at_home = [
        (tensors, name, tensor, tensor.data)
        for module in network.modules()
        for tensors in (module._parameters, module._buffers)
        for name, tensor in tensors.items()
        if tensor is not None
    ]
    network.to(device)
    try:
        yield
    finally:
        for tensors, name, tensor, data in at_home:
            tensor.data = data
            tensors[name] = tensor
        network.to(home)  # what was not at home before
