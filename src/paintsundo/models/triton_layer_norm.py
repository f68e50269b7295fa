"""LayerNorm of tokens, together with the residual before it (Triton).

PyTorch's LayerNorm reads half precision at a third of the memory's rate, what the sum before it has just written.
"""

from __future__ import annotations

import functools

import torch

from paintsundo.models.triton_launch import KEPT_SHAPES, Grid, blocks_of, kernel, on, power_of_2, tl

# Elements of one program's tile; a row is held in registers as a whole.
_TILE = 4096
MAX_WIDTH = 8192


@kernel
def _layer_norm(
    x, branch, weight, bias, total, out, rows, width, eps,
    ADDED: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Some rows, each as a whole: mean first, then squares about it."""
    r = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    c = tl.arange(0, BLOCK_C)
    in_c = c < width
    inside = (r < rows)[:, None] & in_c[None, :]
    at = r[:, None] * width + c[None, :]
    values = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    if ADDED:
        # What is normalised is the sum as it is stored.
        stored = (values + tl.load(branch + at, mask=inside, other=0.0).to(tl.float32)).to(total.dtype.element_ty)
        tl.store(total + at, stored, mask=inside)
        values = stored.to(tl.float32)
    mean = tl.sum(values, axis=1) / width
    values = tl.where(inside, values - mean[:, None], 0.0)
    factor = 1.0 / tl.sqrt(tl.sum(values * values, axis=1) / width + eps)
    own = tl.load(weight + c, mask=in_c, other=0.0).to(tl.float32)
    added = tl.load(bias + c, mask=in_c, other=0.0).to(tl.float32)
    values = values * factor[:, None] * own[None, :] + added[None, :]
    tl.store(out + at, values.to(out.dtype.element_ty), mask=inside)


@functools.lru_cache(KEPT_SHAPES)
def plan_layer_norm(rows: int, width: int) -> tuple[Grid, int, int, int]:
    """Grid, rows and width of a tile, warps."""
    block_c = power_of_2(width)
    block_r = max(1, min(_TILE // block_c, power_of_2(rows)))
    return (blocks_of(rows, block_r),), block_r, block_c, 4 if block_c <= _TILE else 8


def layer_norm(
    tokens: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    eps: float,
    branch: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """tokens + branch, rounded once, and its LayerNorm (Ba et al. 2016); statistics in float32.

    Args:
        tokens: (…, C), contiguous, C up to `MAX_WIDTH`.
        weight, bias: (C,).
        eps: added to the variance.
        branch: as tokens; nothing is added without it.

    Returns:
        The sum, or the tokens themselves, and the normalised sum: as tokens.
    """
    width = tokens.shape[-1]
    rows = tokens.numel() // width
    grid, block_r, block_c, warps = plan_layer_norm(rows, width)
    out = torch.empty_like(tokens)
    total = tokens if branch is None else torch.empty_like(tokens)
    with on(tokens):
        _layer_norm[grid](
            tokens, tokens if branch is None else branch, weight, bias, total, out, rows, width, eps,
            ADDED=branch is not None, BLOCK_R=block_r, BLOCK_C=block_c, num_warps=warps,
        )  # fmt: skip
    return total, out
