"""Each Triton kernel on random data: as we call it, as PyTorch computes the same, and exactly, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from paintsundo.models import triton_kernels, triton_layer_norm, triton_norms, triton_upsample
from support.kernel_calls import Call

EPS = 1e-5
Results = Callable[[], tuple[Tensor, ...]]


@dataclass
class Case:
    """One operation: ours, PyTorch's and the exact one give the same tensors; bytes read and written at the least."""

    ours: Results
    torch: Results
    exact: Results
    moved: int
    shape: str


@dataclass(frozen=True)
class Data:
    """Random tensors of a type on a device."""

    device: torch.device
    dtype: torch.dtype

    def rand(self, *shape: int, mean: float = 0.0) -> Tensor:
        """Normal numbers of deviation 1."""
        return torch.randn(*shape, device=self.device, dtype=torch.float32).add_(mean).to(self.dtype)

    def frames(self, *shape: int, mean: float = 0.0) -> Tensor:
        """(N, C, h, w) in channels-last memory."""
        return last(self.rand(*shape, mean=mean))


def last(x: Tensor) -> Tensor:
    """(N, C, h, w) in channels-last memory."""
    return x.contiguous(memory_format=torch.channels_last)


def group_norm(data: Data, n: int, c: int, h: int, w: int, groups: int, silu: int) -> Case:
    """Of activations (N, C, h, w), with SiLU or without: read twice, or once as a whole, and written."""
    x, weight, bias = data.frames(n, c, h, w, mean=1.0), data.rand(c), data.rand(c)
    reads = 2 if triton_norms.plan_group_norm(n, h * w, c, groups).whole is None else 1

    def plain(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        out = F.group_norm(x, groups, weight, bias, EPS)
        return (F.silu(out) if silu else out,)

    return Case(
        lambda: (triton_norms.group_norm(x, groups, weight, bias, EPS, silu=bool(silu)),),
        lambda: plain(x, weight, bias),
        lambda: plain(x.double(), weight.double(), bias.double()),
        (reads + 1) * x.nbytes,
        f"{n}x{h * w}x{c}" + (" SiLU" if silu else ""),
    )


def layer_norm(data: Data, rows: int, width: int) -> Case:
    """Of tokens (1, rows, C)."""
    tokens, weight, bias = data.rand(1, rows, width, mean=1.0), data.rand(width), data.rand(width)
    return Case(
        lambda: (triton_layer_norm.layer_norm(tokens, weight, bias, EPS)[1],),
        lambda: (F.layer_norm(tokens, (width,), weight, bias, EPS),),
        lambda: (F.layer_norm(tokens.double(), (width,), weight.double(), bias.double(), EPS),),
        2 * tokens.nbytes,
        f"{rows}x{width}",
    )


def sum_layer_norm(data: Data, rows: int, width: int) -> Case:
    """Of the sum of two of them, rounded to their type, which is stored too."""
    tokens, branch = data.rand(1, rows, width, mean=1.0), data.rand(1, rows, width)
    weight, bias = data.rand(width), data.rand(width)

    def plain() -> tuple[Tensor, ...]:
        total = tokens + branch
        return total, F.layer_norm(total, (width,), weight, bias, EPS)

    def exact() -> tuple[Tensor, ...]:
        total = (tokens + branch).double()
        return total, F.layer_norm(total, (width,), weight.double(), bias.double(), EPS)

    return Case(
        lambda: triton_layer_norm.layer_norm(tokens, weight, bias, EPS, branch),
        plain,
        exact,
        4 * tokens.nbytes,
        f"{rows}x{width}",
    )


def geglu(data: Data, rows: int, width: int) -> Case:
    """Of (1, rows, 2·C')."""
    inner = data.rand(1, rows, 2 * width)

    def plain(x: Tensor) -> tuple[Tensor, ...]:
        value, gate = x.chunk(2, -1)
        return (value * F.gelu(gate),)

    return Case(
        lambda: (triton_kernels.geglu(inner),),
        lambda: plain(inner),
        lambda: plain(inner.double()),
        inner.nbytes * 3 // 2,
        f"{rows}x{width}",
    )


def add(data: Data, n: int, c: int, h: int, w: int) -> Case:
    """x + (y + bias) of activations (N, C, h, w)."""
    x, y, bias = data.frames(n, c, h, w), data.frames(n, c, h, w), data.rand(c)
    return Case(
        lambda: (triton_kernels.add(x, y, bias),),
        lambda: (x + (y + bias[:, None, None]),),
        lambda: (x.double() + (y.double() + bias.double()[:, None, None]),),
        3 * x.nbytes,
        f"{n}x{h * w}x{c}",
    )


def over_time(data: Data, batch: int, frames: int, places: int, heads: int, width: int) -> Case:
    """Attention over the frames at each place; queries, keys and values (B, T, n, heads·d) lie in one product, of which
    PyTorch's attention takes copies, timed as part of it."""
    query, key, value = data.rand(batch, frames, places, 3 * heads * width).chunk(3, -1)

    def plain(*tokens: Tensor) -> tuple[Tensor, ...]:
        query, key, value = (t.unflatten(-1, (heads, -1)).permute(0, 2, 3, 1, 4).flatten(0, 1) for t in tokens)
        out = F.scaled_dot_product_attention(query, key, value)
        return (out.unflatten(0, (batch, places)).permute(0, 3, 1, 2, 4).flatten(3),)

    return Case(
        lambda: (triton_kernels.attend_over_time(query, key, value, heads),),
        lambda: plain(query, key, value),
        lambda: plain(query.double(), key.double(), value.double()),
        4 * query.numel() * query.element_size(),
        f"{batch}x{frames}x{places}x{heads}x{width}",
    )


def upsample_kernels(data: Data, outputs: int, inputs: int) -> Case:
    """Four kernels of 2×2 of one of 3×3, weights (C', C, 3, 3)."""
    weight = last(data.rand(outputs, inputs, 3, 3))

    def plain(weight: Tensor) -> tuple[Tensor, ...]:
        first, second, third = weight.unbind(2)
        made = []
        for taps in ((first, second + third), (first + second, third)):
            left, middle, right = torch.stack(taps, dim=2).unbind(3)
            made += [torch.stack(pair, dim=3) for pair in ((left, middle + right), (left + middle, right))]
        return (last(torch.cat(made)),)

    return Case(
        lambda: (triton_upsample.kernels(weight),),
        lambda: plain(weight),
        lambda: plain(weight.double()),
        weight.nbytes * 25 // 9,
        f"{outputs}x{inputs}",
    )


def interleave(data: Data, n: int, c: int, h: int, w: int) -> Case:
    """Four results (N, C, h + 1, w + 1) and a bias to one of twice the size."""
    parts, bias = data.frames(n, 4 * c, h + 1, w + 1), data.rand(c)

    def plain(parts: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        out = last(parts.new_empty((n, c, 2 * h, 2 * w)))
        for index, part in enumerate((parts + bias.repeat(4)[:, None, None]).chunk(4, 1)):
            down, along = divmod(index, 2)
            out[:, :, down::2, along::2] = part[:, :, down : down + h, along : along + w]
        return (out,)

    return Case(
        lambda: (triton_upsample.interleave(parts, bias),),
        lambda: plain(parts, bias),
        lambda: plain(parts.double(), bias.double()),
        2 * n * 4 * h * w * c * parts.element_size(),
        f"{n}x{4 * h * w}x{c}",
    )


CASES: dict[str, Callable[..., Case]] = {
    make.__name__: make
    for make in (group_norm, layer_norm, sum_layer_norm, geglu, add, over_time, upsample_kernels, interleave)
}


def case_of(call: Call, data: Data) -> Case:
    """The case of a call of one of the kernels."""
    return CASES[call.name](data, *call.sizes)
