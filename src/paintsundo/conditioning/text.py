"""Words → text embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor


def _max_length(tokenizer: Any, text_encoder: Any = None) -> int:
    # A tokenizer saved without a length claims an absurd one (1e30); CLIP's own is 77.
    positions = getattr(getattr(text_encoder, "config", None), "max_position_embeddings", None) or 77
    return int(min(tokenizer.model_max_length, positions))


def encode_prompts(tokenizer: Any, text_encoder: Any, prompts: str | Sequence[str]) -> Tensor:
    """Text embeddings (B, 77, D) in the encoder's dtype and on its device.

    Prompts are padded with the tokenizer's own pad token, cut at 77 tokens, and encoded without an attention
    mask: the models were trained to see the padding. The result is the last hidden state after the final
    layer norm. Gradients are the caller's choice.
    """
    tokens = tokenizer(
        [prompts] if isinstance(prompts, str) else list(prompts),
        padding="max_length",
        max_length=_max_length(tokenizer, text_encoder),
        truncation=True,
        return_tensors="pt",
    )
    device = next(text_encoder.parameters()).device
    return text_encoder(tokens.input_ids.to(device), attention_mask=None).last_hidden_state


def prompt_notice(tokenizer: Any, prompt: str) -> str | None:
    """One line saying how much of a prompt is too long to be read; None if all of it is."""
    read = _max_length(tokenizer) - 2  # start and end tokens
    count = len(tokenizer(prompt, add_special_tokens=False, truncation=False, verbose=False).input_ids)
    if count <= read:
        return None
    return f"the prompt has {count} tokens; the model reads the first {read}"
