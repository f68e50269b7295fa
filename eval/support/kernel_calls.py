"""Which kernels and convolutions one pass of the 3D UNet calls, of which sizes and how often; nothing is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest import mock

import torch
from omegaconf import OmegaConf
from torch.nn import functional as F

from paintsundo.models import (
    UNet3DModel,
    fused,
    triton_kernels,
    triton_layer_norm,
    triton_norms,
    triton_upsample,
    use_channels_last,
)
from support.random_models import architecture

# Latents of the default film's pairs, of which each step computes both halves of guidance.
FULL = {"frames": 16, "height": 56, "width": 48}
SMALL = {"frames": 2, "height": 4, "width": 4}
HALVES, WORDS, IMAGE_TOKENS = 2, 77, 16


class Call(NamedTuple):
    """A kernel, or a kind of convolution, and the sizes that make its work."""

    name: str
    sizes: tuple[int, ...]


def calls_of_a_pass(small: bool, dtype: torch.dtype) -> Counter[Call]:
    """How often one pass calls what, in its order.

    group_norm (N, C, h, w, groups, SiLU or not); layer_norm and sum_layer_norm (rows, C); geglu (rows, C');
    add (N, C, h, w); over_time (B, T, positions, heads, width of a head); upsample_kernels (C', C);
    interleave (N, C, h, w) before doubling; pointwise (N, C, h, w, C');
    spatial (N, C, h, w, C', stride), kernel 3×3; temporal (B, C, T, h·w, C'), kernel 3;
    doubled (N, C, h, w, C'): kernel 3×3 of pictures of twice that size.

    Args:
        small: the smallest network in place of the published one.
        dtype: of its weights and latents.
    """
    sizes: Any = OmegaConf.to_container(architecture("tiny" if small else "official").multi_frame.unet)
    latents = SMALL if small else FULL
    with torch.device("meta"):
        network = UNet3DModel(**sizes).eval()
        for parameter in network.parameters():
            parameter.data = parameter.data.to(dtype)
        x = torch.empty(1, sizes["in_channels"], *latents.values(), dtype=dtype)
        words = torch.empty(HALVES, WORDS, sizes["context_dim"], dtype=dtype)
        image = torch.empty(HALVES, latents["frames"], IMAGE_TOKENS, sizes["context_dim"], dtype=dtype)
        fused.set_fused(use_channels_last(network), True)
        with torch.no_grad(), recorded() as calls:
            network(x, torch.zeros(1, dtype=torch.long), words, image)
    return calls


@contextmanager
def recorded() -> Iterator[Counter[Call]]:
    """Calls of kernels made inside, on meta tensors: as on a GPU, but that only shapes come out."""
    calls: Counter[Call] = Counter()
    pointwise, conv2d = fused.pointwise, F.conv2d

    def note(name: str, *sizes: int) -> None:
        calls[Call(name, sizes)] += 1

    def group_norm(
        x: torch.Tensor, groups: int, weight: Any, bias: Any, eps: float, shift: Any = None, silu: bool = False
    ) -> torch.Tensor:
        note("group_norm", *x.shape, groups, int(silu))
        return torch.empty_like(x)

    def layer_norm(
        tokens: torch.Tensor, weight: Any, bias: Any, eps: float, branch: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        width = tokens.shape[-1]
        note("layer_norm" if branch is None else "sum_layer_norm", tokens.numel() // width, width)
        return tokens, torch.empty_like(tokens)

    def add(x: torch.Tensor, y: torch.Tensor, bias: torch.Tensor, mix: torch.Tensor | None = None) -> torch.Tensor:
        note("add", *x.shape)
        return torch.empty_like(x)

    def geglu(x: torch.Tensor) -> torch.Tensor:
        out = x.new_empty((*x.shape[:-1], x.shape[-1] // 2))
        note("geglu", out.numel() // out.shape[-1], out.shape[-1])
        return out

    def over_time(query: torch.Tensor, key: Any, value: Any, heads: int, causal: bool = False) -> torch.Tensor:
        note("over_time", *query.shape[:3], heads, query.shape[3] // heads)
        return query.new_empty(query.shape)

    def kernels(weight: torch.Tensor) -> torch.Tensor:
        note("upsample_kernels", *weight.shape[:2])
        out = weight.new_empty((4 * weight.shape[0], weight.shape[1], 2, 2))
        return out.contiguous(memory_format=torch.channels_last)

    def interleave(parts: torch.Tensor, bias: Any) -> torch.Tensor:
        shape = (len(parts), parts.shape[1] // 4, parts.shape[2] - 1, parts.shape[3] - 1)
        note("interleave", *shape)
        return parts.new_empty((*shape[:2], 2 * shape[2], 2 * shape[3])).contiguous(memory_format=torch.channels_last)

    def product(conv: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        if isinstance(conv, torch.nn.Conv2d):
            note("pointwise", *x.shape, conv.out_channels)
        return pointwise(conv, x)

    def convolution(x: torch.Tensor, weight: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        out = conv2d(x, weight, *args, **options)
        kernel = tuple(weight.shape[2:])
        if kernel == (3, 3):
            note("spatial", *x.shape, len(weight), -(-x.shape[2] // out.shape[2]))
        elif kernel == (3, 1):
            note("temporal", *x.shape, len(weight))
        elif kernel == (2, 2):
            note("doubled", *x.shape, len(weight) // 4)
        return out.contiguous(memory_format=torch.channels_last)  # which meta tensors forget

    def products(x: torch.Tensor, weight: torch.Tensor, bias: Any = None) -> torch.Tensor:
        note("temporal", *x.shape, len(weight))
        out = x.new_empty((len(x), len(weight), *x.shape[2:]))
        return out.contiguous(memory_format=torch.channels_last)

    patches: list[tuple[Any, str, Any]] = [
        (torch, "is_autocast_enabled", lambda *device: False),  # which refuses to say so of meta tensors
        (fused, "has_kernels", lambda x: True),
        (fused, "pointwise", product),
        (fused, "three_products", products),
        (F, "conv2d", convolution),
        (triton_norms, "group_norm", group_norm),
        (triton_layer_norm, "layer_norm", layer_norm),
        (triton_kernels, "add", add),
        (triton_kernels, "geglu", geglu),
        (triton_kernels, "attend_over_time", over_time),
        (triton_upsample, "kernels", kernels),
        (triton_upsample, "interleave", interleave),
    ]
    with ExitStack() as stack:
        for module, name, stand_in in patches:
            stack.enter_context(mock.patch.object(module, name, stand_in))
        yield calls
