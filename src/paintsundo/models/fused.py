"""Normalisation, activation, bias and residual of channels-last activations, in few passes over memory, at inference.

Layers ask `fast(self, x)` first, which says no in training, under a compiler and for other memory layouts: the plain
modules compute the same there. On GPUs with Triton the work is done by the kernels of the files `triton_…`; the bias of
a convolution is then left to the pass that follows it. LayerNorms of tokens go through `add_norm`.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from paintsundo.models.layers import TemporalConv, is_channels_last
from paintsundo.models.temporal_products import suits_products, three_products

# What the kernel of LayerNorm takes: a row is held in registers (`triton_layer_norm.MAX_WIDTH`).
_KERNEL_TYPES = (torch.float16, torch.bfloat16, torch.float32)
_WIDEST_NORM = 8192


@functools.cache
def kernels_installed() -> bool:
    """Whether Triton can be imported."""
    return importlib.util.find_spec("triton") is not None


@functools.cache
def kernels_work(device: torch.device) -> bool:
    """Whether Triton computes on a GPU, tried once; where it does not, a warning says why.

    Besides the GPU it needs a C compiler and Python's headers, which not every machine has.
    """
    from paintsundo.models import triton_launch

    try:
        triton_launch.probe(device)
    except Exception as error:  # whatever a compiler says
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(
            f"films take longer: Triton's kernels cannot be compiled here ({reason}); it needs a C compiler and "
            "Python's headers",
            stacklevel=2,
        )
        return False
    return True


def set_fused(network: nn.Module, fused: bool) -> nn.Module:
    """Choose whether the layers of a network may use the fast forms of this module, in place; off in a new network.

    Weights, their names and, up to rounding, results stay. To be off where a layer's weights are only there while it
    is called itself, as with offloading layer by layer.
    """
    for module in network.modules():
        if hasattr(module, "fused"):
            module.fused = fused
    return network


def fast(layer: Any, x: torch.Tensor) -> bool:
    """Whether a layer with the attribute `fused` may compute x (N, C, h, w) by the functions here."""
    return (
        layer.fused
        and not layer.training
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and (x.is_meta or not torch.is_autocast_enabled(x.device.type))
        and x.dim() == 4
        and is_channels_last(x)
    )


def has_kernels(x: torch.Tensor) -> bool:
    """Whether Triton's kernels can compute x: it lies on a GPU where they work, or they are interpreted for a test."""
    if x.is_meta or not kernels_installed():
        return False
    return kernels_work(x.device) if x.is_cuda else os.environ.get("TRITON_INTERPRET") == "1"


def normalise(
    norm: nn.GroupNorm, x: torch.Tensor, shift: torch.Tensor | None = None, silu: bool = False
) -> torch.Tensor:
    """GroupNorm of x (N, C, h, w) + shift (S, C), S a divisor of N, then SiLU if wanted; channels last in and out.

    Hooked layers are called as they are.
    """
    if norm.affine and _as_written(norm) and is_channels_last(x) and has_kernels(x):
        return kernel_norm(norm, x, shift, silu)
    if shift is not None:
        x = x + shift.repeat_interleave(len(x) // len(shift), dim=0)[..., None, None]
    out = norm(x)
    return F.silu(out, inplace=True) if silu else out


def kernel_norm(
    norm: nn.GroupNorm, x: torch.Tensor, shift: torch.Tensor | None = None, silu: bool = False
) -> torch.Tensor:
    """`normalise` of channels-last x by the kernels, whatever waits around the layer: what its own `forward` calls."""
    from paintsundo.models.triton_norms import group_norm

    return group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps, shift, silu)


def add_norm(
    layer: Any, norm: nn.Module, tokens: torch.Tensor, branch: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """tokens + branch, both (…, C), and its LayerNorm; the tokens themselves and theirs without a branch.

    One pass over memory for a layer with the attribute `fused`, on GPUs with Triton.
    """
    if norms_tokens(layer, norm, tokens) and (branch is None or _alike(branch, tokens)):
        from paintsundo.models.triton_layer_norm import layer_norm

        assert isinstance(norm, nn.LayerNorm)
        return layer_norm(tokens, norm.weight, norm.bias, norm.eps, branch)
    if branch is not None:
        tokens = tokens + branch
    return tokens, norm(tokens)


def norms_tokens(layer: Any, norm: nn.Module, tokens: torch.Tensor) -> bool:
    """Whether the kernel of `add_norm` computes this norm of tokens (…, C)."""
    return (
        layer.fused
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and has_kernels(tokens)
        and type(norm) is nn.LayerNorm
        and _as_written(norm)
        and norm.bias is not None
        and norm.normalized_shape == tokens.shape[-1:]
        and norm.weight.dtype == norm.bias.dtype == tokens.dtype
        and tokens.dtype in _KERNEL_TYPES
        and tokens.shape[-1] <= _WIDEST_NORM
        and tokens.numel() > 0
        and tokens.is_contiguous()
        and not torch.is_autocast_enabled(tokens.device.type)
    )


def _as_written(layer: nn.Module) -> bool:
    """Whether calling the layer does what its class says and no more: nothing is wrapped around it, no hook waits."""
    return "forward" not in vars(layer) and not layer._forward_pre_hooks and not layer._forward_hooks


def _alike(branch: torch.Tensor, tokens: torch.Tensor) -> bool:
    return branch.shape == tokens.shape and branch.dtype == tokens.dtype and branch.is_contiguous()


def convolve(conv: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A convolution of x (N, C, h, w) and the bias (C',) that the caller still has to add; None if there is none left.

    `TemporalConv` takes (B, C, T, h·w). Adapters and hooked layers are called as they are.
    """
    plain = type(conv) in (nn.Conv2d, TemporalConv) and _as_written(conv) and conv.padding_mode == "zeros"
    if not plain or conv.bias is None or not has_kernels(x):
        return conv(x), None
    if isinstance(conv, TemporalConv):
        weight = conv.weight.squeeze(-1)
        if suits_products(conv, x):
            out = three_products(x, weight)
        else:
            out = F.conv2d(x, weight, None, padding=conv.padding[:2])
    else:
        out = F.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)
    return out.contiguous(memory_format=torch.channels_last), conv.bias


def pointwise(conv: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A convolution of x (N, C, h, w); one of kernel 1 as a product that adds the bias itself, where it can be.

    Those of cuDNN have their bias added in a pass over memory of its own.
    """
    if (
        type(conv) is nn.Conv2d
        and conv.kernel_size == (1, 1)
        and conv.stride == (1, 1)
        and conv.padding == (0, 0)
        and conv.groups == 1
        and _as_written(conv)
        and has_kernels(x)
    ):
        return F.linear(x.permute(0, 2, 3, 1), conv.weight.flatten(1), conv.bias).permute(0, 3, 1, 2)
    return conv(x)


def add(x: torch.Tensor, y: torch.Tensor, bias: torch.Tensor | None, mix: torch.Tensor | None = None) -> torch.Tensor:
    """x + mix · (y + bias) for x, y (N, C, h, w), bias (C,) and mix (1,), each optional."""
    # What comes from hooked layers may lie in memory otherwise.
    if bias is not None and is_channels_last(x) and is_channels_last(y) and has_kernels(x):
        from paintsundo.models import triton_kernels

        return triton_kernels.add(x, y, bias, mix)
    if bias is not None:
        y = y + bias[:, None, None]
    return x + y if mix is None else torch.addcmul(x, y, mix.to(y.dtype))


def geglu(projected: torch.Tensor) -> torch.Tensor:
    """value · GELU(gate) of [value, gate] (…, 2·C) → (…, C)."""
    from paintsundo.models import triton_kernels

    return triton_kernels.geglu(projected.contiguous())


def joined_weight(layers: Sequence[nn.Module]) -> torch.Tensor | None:
    """The weights (C', C) of several linear maps of the same tokens as one (n·C', C), or None where that cannot be.

    The layers' own weights become parts of it, so that nothing is stored twice; what moves the network elsewhere
    takes them apart again, and they are joined anew here.
    """
    weights = []
    for layer in layers:
        plain = type(layer) is nn.Linear and layer.bias is None and _as_written(layer)
        if not plain or layer.weight.is_meta or not layer.weight.is_floating_point():
            return None
        weights.append(layer.weight)
    first = weights[0]
    if any(w.shape != first.shape or not w.is_contiguous() or w.dtype != first.dtype for w in weights):
        return None
    size = first.numel() * first.element_size()
    if any(w.data_ptr() != first.data_ptr() + i * size for i, w in enumerate(weights)) or (
        first.untyped_storage().nbytes() < len(weights) * size
    ):
        with torch.inference_mode(False), torch.no_grad():
            joined = torch.cat([w.detach() for w in weights])
            for weight, part in zip(weights, joined.split(len(first)), strict=True):
                weight.data = part
    return first.detach().as_strided((len(weights) * len(first), first.shape[1]), (first.shape[1], 1))


def upsample_convolve(conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """A 3×3 convolution, padded by one, of x (N, C, h, w) doubled by nearest neighbour → (N, C', 2·h, 2·w).

    Each of the four results above a pixel sees only 2×2 different pixels: four such kernels, sums of the weights that
    meet the same pixel, take 4/9 of the products, and the doubled picture is never made.
    """
    if has_kernels(x):
        from paintsundo.models import triton_upsample

        parts = F.conv2d(x, triton_upsample.kernels(conv.weight), None, padding=1)
        return triton_upsample.interleave(parts.contiguous(memory_format=torch.channels_last), conv.bias)
    # Two of three taps fall on one pixel: (first), (second + third) for even rows, the reverse for odd ones.
    first, second, third = conv.weight.unbind(2)
    rows = [torch.stack(taps, dim=2) for taps in ((first, second + third), (first + second, third))]
    kernels = []
    for row in rows:
        left, middle, right = row.unbind(3)
        kernels += [torch.stack(taps, dim=3) for taps in ((left, middle + right), (left + middle, right))]
    kernel = torch.cat(kernels).contiguous(memory_format=torch.channels_last)
    bias = None if conv.bias is None else conv.bias.repeat(4)
    samples, _, height, width = x.shape
    # Position (i, j) of the padded result has seen rows i - 1 and i, columns j - 1 and j.
    quarters = F.conv2d(x, kernel, bias, padding=1).chunk(4, dim=1)
    out = torch.empty(
        (samples, conv.out_channels, 2 * height, 2 * width),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last,
    )
    for index, part in enumerate(quarters):
        down, along = divmod(index, 2)
        out[:, :, down::2, along::2] = part[:, :, down : down + height, along : along + width]
    return out


def can_upsample(layer: Any, conv: nn.Module, x: torch.Tensor) -> bool:
    """Whether `upsample_convolve` computes this convolution of a layer with the attribute `fused`."""
    return (
        fast(layer, x)
        and type(conv) is nn.Conv2d
        and conv.kernel_size == (3, 3)
        and conv.padding == (1, 1)
        and conv.padding_mode == "zeros"
        and conv.stride == (1, 1)
        and conv.dilation == (1, 1)
        and conv.groups == 1
        and _as_written(conv)
    )
