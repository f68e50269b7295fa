"""Activations of each network at each size, in bytes, found on shape-only twins of the networks at hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import nn

from paintsundo.models.chunking import set_feed_forward_chunks
from paintsundo.models.fused import kernels_installed
from paintsundo.models.weight_storage import cast_like
from paintsundo.pipelines.memory_trace import activation_bytes

Size = tuple[int, int]
_HOOKS = ("_diffusers_hook", "forward")  # attributes of single modules, beside their class's method


class MemoryNeeds:
    """Answers are remembered: a network is traced once for each size, that of latents (h, w).

    Results grow in proportion to the rows, of which two are traced.

    Args:
        device: where the networks will compute.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = torch.device("cpu") if device is None else device
        self._twins: dict[int, tuple[nn.Module, nn.Module]] = {}
        self._found: dict[Hashable, int] = {}

    def keyframe_unet(self, unet: Any, rows: int, size: Size, chunk_elements: int | None) -> int:
        """A pass of the single-frame UNet over so many rows."""

        def call(twin: Any, rows: int) -> None:
            latents = _zeros(twin, rows, twin.conv_in.in_channels // 2, *size)
            words = _zeros(twin, rows, 77, twin.config.cross_attention_dim)
            twin(latents, torch.zeros(rows), words, torch.zeros(rows, dtype=torch.long), latents)

        return self._rows(unet, rows, chunk_elements, size, call)

    def video_unet(self, unet: Any, rows: int, frames: int, size: Size, window: str, chunk_elements: int | None) -> int:
        """A pass of the 3D UNet over so many clips."""

        def call(twin: Any, rows: int) -> None:
            config = twin.config
            latents = _zeros(twin, rows, config["out_channels"], frames, *size)
            concat = _zeros(twin, rows, config["in_channels"] - config["out_channels"], frames, *size)
            words = _zeros(twin, rows, 77, config["context_dim"])
            image = _zeros(twin, rows, frames, 16, config["context_dim"])
            strides = torch.zeros(rows, dtype=torch.long)
            twin(latents, torch.zeros(rows), words, image, strides, concat, attention_window=window)

        return self._rows(unet, rows, chunk_elements, (frames, size, window), call)

    def video_decoder(self, vae: Any, frames: int, size: Size, slice_frames: int | None, clips: int = 1) -> int:
        """Decoding clips together, the kept states of their ends included."""

        def call(twin: Any) -> None:
            twin.enable_slicing(slice_frames) if slice_frames else twin.disable_slicing()
            factor, config = twin.downsampling, twin.config
            _, hidden = twin.encode(_zeros(twin, clips, config["in_channels"], 2, size[0] * factor, size[1] * factor))
            twin.decode(_zeros(twin, clips, config["z_channels"], frames, *size), hidden)

        return self._once(vae, (frames, size, slice_frames, clips), call)

    def picture_decoder(self, vae: Any, size: Size) -> int:
        """Decoding one keyframe."""
        return self._once(vae, size, lambda twin: twin.decode(_zeros(twin, 1, twin.config.latent_channels, *size)))

    def _rows(
        self, unet: nn.Module, rows: int, chunk_elements: int | None, key: Hashable, call: Callable[[Any, int], None]
    ) -> int:
        def traced(count: int) -> int:
            def once(twin: Any) -> None:
                set_feed_forward_chunks(twin, chunk_elements)
                call(twin, count)

            return self._once(unet, (key, chunk_elements, count), once)

        return traced(rows) if rows <= 2 else traced(2) + (rows - 2) * (traced(2) - traced(1))

    def _once(self, network: nn.Module, key: Hashable, call: Callable[[Any], None]) -> int:
        found = (id(network), key)
        if found not in self._found:
            twin = self._twin(network)
            # The fast forms of layers keep the layout: by kernels on GPUs, and PyTorch's own do on processors.
            fused = any(getattr(module, "fused", False) for module in twin.modules())
            keep = fused and (kernels_installed() or self._device.type == "cpu")
            self._found[found] = activation_bytes(lambda: call(twin), [twin], keep)
        return self._found[found]

    def _twin(self, network: nn.Module) -> nn.Module:
        known = self._twins.get(id(network))
        if known is None:
            # The network itself is kept beside its twin: another one cannot get its id.
            known = self._twins[id(network)] = (network, shape_twin(network))
        return known[1]


def shape_twin(network: nn.Module) -> nn.Module:
    """A copy of a network on the meta device: all its modules, and tensors without values.

    Weights that are cast when they are used are so in the copy; it is not streamed.
    """
    shapes: dict[int, Any] = {}
    for module in network.modules():
        # Copied, diffusers' hooks would go on calling the network itself.
        shapes |= {id(vars(module)[hook]): None for hook in _HOOKS if hook in vars(module)}
        tensors = (*module._parameters.values(), *module._buffers.values(), *vars(module).values())
        for tensor in tensors:
            if isinstance(tensor, nn.Parameter):
                shapes[id(tensor)] = nn.Parameter(torch.empty_like(tensor, device="meta"), requires_grad=False)
            elif isinstance(tensor, torch.Tensor):
                shapes[id(tensor)] = torch.empty_like(tensor, device="meta")
    twin = copy.deepcopy(network, shapes)
    for module, own in zip(twin.modules(), network.modules(), strict=True):
        for hook in _HOOKS:
            vars(module).pop(hook, None)
        cast_like(module, own)
    return twin


def _zeros(network: Any, *shape: int) -> torch.Tensor:
    return torch.zeros(*shape, dtype=network.dtype)
