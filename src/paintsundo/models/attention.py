"""Multi-head attention of the 3D UNet, the temporal VAE and the image projection."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from paintsundo.models import fused, sdpa_choice
from paintsundo.models.attention_window import AttentionWindow, extend_window
from paintsundo.models.context_keys import ContextKeys, Projected

AttentionBackend = Literal["sdpa", "xformers", "sliced"]

# CUDA grids have at most 65535 blocks in their second and third dimension, where fused attention kernels put
# the batch; attention over time has a batch of B·h·w.
MAX_FUSED_BATCH = 65535
# A tile of our kernel for attention over time holds all frames.
MAX_KERNEL_FRAMES = 64
# Fused kernels work on tiles of about 64 tokens: shorter sequences, those of attention over time, are packed into one.
MAX_PACKED_LENGTH = 32
PACKED_TOKENS = 64
# Scores held at once by the "sliced" backend: 2²⁴ float32 values are 64 MiB.
MAX_SLICED_SCORES = 2**24
# xformers has no kernel for wider heads on every card; the autoencoders' one head of 512 goes through SDPA.
MAX_XFORMERS_WIDTH = 256


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    heads: int,
    backend: AttentionBackend = "sdpa",
    causal: bool = False,
) -> torch.Tensor:
    """softmax(q kᵀ / √d) v for each head (Vaswani et al. 2017, equation 1).

    Args:
        query: (B, n, heads·d).
        key: (B, m, heads·d).
        value: (B, m, heads·d).
        heads: number of heads.
        backend: `sdpa` is PyTorch's fused attention, `xformers` that library's, `sliced` plain arithmetic on
            slices of queries, for devices whose fused attention is missing or too large.
        causal: query i sees keys 0 … i only.

    Returns:
        (B, n, heads·d).
    """
    if query.shape[0] > MAX_FUSED_BATCH:
        chunks = zip(*(x.split(MAX_FUSED_BATCH) for x in (query, key, value)), strict=True)
        return torch.cat([attend(q, k, v, heads, backend, causal) for q, k, v in chunks])
    # Heads become a dimension by view and transposition only: fused kernels take the strides as they are.
    q, k, v = (x.unflatten(-1, (heads, -1)) for x in (query, key, value))
    if backend == "xformers" and q.shape[-1] <= MAX_XFORMERS_WIDTH:
        from xformers.ops import LowerTriangularMask, memory_efficient_attention

        return memory_efficient_attention(q, k, v, attn_bias=LowerTriangularMask() if causal else None).flatten(2)
    if backend == "sdpa" and _worth_packing(q, k):
        return _packed(q, k, v, causal).flatten(2)
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    if backend == "sliced":
        return _sliced(q, k, v, causal).transpose(1, 2).flatten(2)
    return sdpa_choice.attention(q, k, v, causal).transpose(1, 2).flatten(2)


def _worth_packing(q: torch.Tensor, k: torch.Tensor) -> bool:
    # Compiled only: operations are counted (for utilisation) in uncompiled passes, without the products between
    # the sequences of a tile.
    length = q.shape[1]
    packs = PACKED_TOKENS // length
    return (
        torch.compiler.is_compiling()
        and length == k.shape[1]
        and length <= MAX_PACKED_LENGTH
        and q.shape[0] % packs == 0
    )


def _packed(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
    """Attention (B, n, heads, d) with several short sequences in one, their products with each other masked."""
    shape = q.shape
    packs, length = PACKED_TOKENS // shape[1], shape[1]
    q, k, v = (x.reshape(-1, packs * length, *shape[2:]).transpose(1, 2) for x in (q, k, v))
    place = torch.arange(packs * length, device=q.device)
    seen = place[:, None] // length == place // length
    if causal:
        seen = seen & (place[:, None] >= place)
    mask = torch.zeros(seen.shape, device=q.device, dtype=q.dtype).masked_fill(~seen, float("-inf"))
    with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH], set_priority=True):
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return out.transpose(1, 2).reshape(shape)


def _sliced(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
    """Attention (B, heads, n, d) in float32, never with more than `MAX_SLICED_SCORES` scores at once."""
    batch, heads, queries, width = q.shape
    keys = k.shape[2]
    rows = max(1, MAX_SLICED_SCORES // max(1, heads * keys))  # rows of scores over batch × queries
    per_batch = max(1, rows // queries)
    per_query = min(queries, rows)
    outputs = []
    for b in range(0, batch, per_batch):
        k_b, v_b = k[b : b + per_batch].float(), v[b : b + per_batch].float()
        parts = []
        for i in range(0, queries, per_query):
            scores = (q[b : b + per_batch, :, i : i + per_query].float() * width**-0.5) @ k_b.transpose(-1, -2)
            if causal:
                later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(i + 1)
                scores = scores.masked_fill(later, float("-inf"))
            parts.append((scores.softmax(dim=-1) @ v_b).to(q.dtype))
        outputs.append(torch.cat(parts, dim=2))
    return torch.cat(outputs)


class Attention(nn.Module):
    """Projections around `attend`: self-attention, or attention to `context_dim`-wide tokens.

    Args:
        query_dim: width of the tokens, in and out.
        heads: number of heads.
        head_dim: width of a head.
        context_dim: width of the tokens attended to; those of the query without it.
        causal: a token sees itself and earlier ones only.
    """

    def __init__(
        self, query_dim: int, heads: int, head_dim: int, context_dim: int | None = None, causal: bool = False
    ) -> None:
        super().__init__()
        inner_dim = heads * head_dim
        context_dim = query_dim if context_dim is None else context_dim
        self.heads = heads
        self.causal = causal
        self.attention_backend: AttentionBackend = "sdpa"
        self.fused = False
        self.to_q = nn.Linear(query_dim, inner_dim, bias=False)
        self.to_k = nn.Linear(context_dim, inner_dim, bias=False)
        self.to_v = nn.Linear(context_dim, inner_dim, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(inner_dim, query_dim)])

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return attend(query, key, value, self.heads, self.attention_backend, self.causal)

    def forward(
        self,
        tokens: torch.Tensor,
        context: torch.Tensor | None = None,
        window: AttentionWindow = "none",
        num_frames: int = 1,
    ) -> torch.Tensor:
        """Attend.

        Args:
            tokens: (B, n, query_dim); (B·T, n, query_dim) with a window.
            context: (B, m, context_dim); the tokens themselves without it.
            window: other frames whose keys and values are seen as well (`extend_window`).
            num_frames: T, needed with a window.

        Returns:
            (B, n, query_dim).
        """
        query, key, value = self.project(tokens, tokens if context is None else context)
        key, value = (extend_window(x, window, num_frames) for x in (key, value))
        return self.to_out[0](self.attend(query, key, value))

    def project(
        self, tokens: torch.Tensor, context: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | list[torch.Tensor]:
        """Queries of the tokens, keys and values of the context; one product where those are the same."""
        weight = None
        if self.fused and context is tokens and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            weight = fused.joined_weight([self.to_q, self.to_k, self.to_v])
        if weight is not None:
            return F.linear(tokens, weight).chunk(3, dim=-1)
        return self.to_q(tokens), self.to_k(context), self.to_v(context)

    def over_time(self, tokens: torch.Tensor) -> torch.Tensor:
        """Self-attention over the frames at each position: tokens (B, T, n, query_dim) → the same, nothing permuted."""
        frames, positions = tokens.shape[1:3]
        if fused.has_kernels(tokens) and frames <= MAX_KERNEL_FRAMES and self.attention_backend == "sdpa":
            from paintsundo.models.triton_kernels import attend_over_time

            query, key, value = self.project(tokens, tokens)
            return self.to_out[0](attend_over_time(query, key, value, self.heads, self.causal))
        projected = (self.to_q(tokens), self.to_k(tokens), self.to_v(tokens))
        # Positions and heads are one dimension to the attention, which takes them by their strides.
        some = max(1, MAX_FUSED_BATCH // self.heads)
        parts = [
            attend(
                q.flatten(2), k.flatten(2), v.flatten(2), q.shape[2] * self.heads, self.attention_backend, self.causal
            )
            for q, k, v in zip(*(x.split(some, dim=2) for x in projected), strict=True)
        ]
        out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
        return self.to_out[0](out.unflatten(2, (positions, -1)))


class TextImageAttention(Attention):
    """Cross-attention to words and to image embeddings, with keys and values of their own, outputs summed.

    `to_out`(softmax(q k_text) v_text + s · softmax(q k_ip) v_ip), s = 1, or tanh(alpha) + 1 where it is
    learnable (the decoupled cross-attention of IP-Adapter, Ye et al. 2023, as used by DynamiCrafter).
    """

    def __init__(
        self,
        query_dim: int,
        heads: int,
        head_dim: int,
        context_dim: int,
        image: bool = True,
        learnable_scale: bool = False,
    ) -> None:
        super().__init__(query_dim, heads, head_dim, context_dim)
        self.image = image
        self.alpha = nn.Parameter(torch.tensor(0.0)) if image and learnable_scale else None
        if image:
            self.to_k_ip = nn.Linear(context_dim, heads * head_dim, bias=False)
            self.to_v_ip = nn.Linear(context_dim, heads * head_dim, bias=False)

    def forward(  # type: ignore[override]
        self, tokens: torch.Tensor, text: torch.Tensor | ContextKeys, image: torch.Tensor | None
    ) -> torch.Tensor:
        """Attend.

        Args:
            tokens: (B·T, n, query_dim), T fastest.
            text: (B, m, context_dim): the same words for all frames of a clip; or what is known of words and image.
            image: (B·T, L, context_dim); ignored by a network without image cross-attention.

        Returns:
            (B·T, n, query_dim).
        """
        query = self.to_q(tokens)
        # All frames see the same words: their keys are projected once per clip.
        key, value, *seen_image = text.of(self) if isinstance(text, ContextKeys) else self.project_context(text, image)
        if torch.is_grad_enabled():
            # The backward kernels go through all queries of a sequence one after another: frames are sequences.
            frames = query.shape[0] // key.shape[0]
            key, value = (x.repeat_interleave(frames, dim=0) for x in (key, value))
            out = self.attend(query, key, value)
        else:
            clip_query = query.view(key.shape[0], -1, query.shape[-1])
            out = self.attend(clip_query, key, value).view_as(query)
        if self.image:
            seen = self.attend(query, *seen_image)
            out = out + (seen if self.alpha is None else (self.alpha.tanh() + 1) * seen)
        return self.to_out[0](out)

    def project_context(self, text: torch.Tensor, image: torch.Tensor | None) -> Projected:
        """Keys and values of words (B, m, context_dim) and, if it attends to any, images (B·T, L, context_dim)."""
        projected = (self.to_k(text), self.to_v(text))
        if not self.image:
            return projected
        if image is None:
            raise ValueError("this network attends to image embeddings, but none were given")
        return (*projected, self.to_k_ip(image), self.to_v_ip(image))
