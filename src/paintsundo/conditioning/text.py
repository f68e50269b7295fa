"""Words → text embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from paintsundo.errors import UserError


def _max_length(tokenizer: Any, text_encoder: Any = None) -> int:
    # A tokenizer saved without a length claims an absurd one (1e30); CLIP's own is 77.
    positions = getattr(getattr(text_encoder, "config", None), "max_position_embeddings", None) or 77
    return int(min(tokenizer.model_max_length, positions))


def encode_prompts(tokenizer: Any, text_encoder: Any, prompts: str | Sequence[str], clip_skip: int = 0) -> Tensor:
    """Text embeddings (B, 77, D) in the encoder's dtype and on its device.

    Prompts are padded with the tokenizer's own pad token, cut at 77 tokens, and encoded without an attention
    mask: the models were trained to see the padding. The result is the last hidden state after the final
    layer norm. Gradients are the caller's choice.
    With `clip_skip` that many last layers are left out before the final layer norm.

    Raises:
        UserError: there are not so many layers.
    """
    tokens = tokenizer(
        [prompts] if isinstance(prompts, str) else list(prompts),
        padding="max_length",
        max_length=_max_length(tokenizer, text_encoder),
        truncation=True,
        return_tensors="pt",
    )
    device = next(text_encoder.parameters()).device
    ids = tokens.input_ids.to(device)
    if clip_skip == 0:
        return text_encoder(ids, attention_mask=None).last_hidden_state
    check_clip_skip(clip_skip, text_encoder.config.num_hidden_layers)
    states = text_encoder(ids, attention_mask=None, output_hidden_states=True).hidden_states
    return getattr(text_encoder, "text_model", text_encoder).final_layer_norm(states[-1 - clip_skip])


def check_clip_skip(clip_skip: int, layers: int) -> None:
    """Raise UserError unless a text encoder of so many layers keeps at least one."""
    if not 0 <= clip_skip < layers:
        raise UserError(f"clip_skip is {clip_skip}: this text encoder has {layers} layers, 0 to {layers - 1} can go")


def prompt_notice(tokenizer: Any, prompt: str) -> str | None:
    """One line saying how much of a prompt is too long to be read; None if all of it is."""
    read = _max_length(tokenizer) - 2  # start and end tokens
    count = len(tokenizer(prompt, add_special_tokens=False, truncation=False, verbose=False).input_ids)
    if count <= read:
        return None
    return f"the prompt has {count} tokens; the model reads the first {read}"
