"""A small CLIP text encoder and its tokens, trained beside a network from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer


def new_text_encoder(tokenizer: CLIPTokenizer, network: dict[str, Any]) -> CLIPTextModel:
    """A freshly initialised text encoder whose vocabulary is the tokenizer's."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_position_embeddings=77,
        **network,
    )
    return CLIPTextModel(config)


def tokenize(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> Tensor:
    """int64 (B, 77), padded with the tokenizer's own pad token and truncated."""
    return tokenizer(list(prompts), padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids


def hidden_states(encoder: CLIPTextModel, ids: Tensor) -> Tensor:
    """Last hidden state (B, 77, D) after the final layer norm, no attention mask."""
    return encoder(input_ids=ids).last_hidden_state


def drop(ids: Tensor, empty: Tensor, dropped: Tensor) -> Tensor:
    """Replace the rows where `dropped` (bool (B,)) by the empty prompt's tokens (77,)."""
    return torch.where(dropped[:, None], empty[None], ids)
