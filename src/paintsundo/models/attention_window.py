"""Temporal windows of spatial self-attention: which other frames a frame's tokens may look at."""

from __future__ import annotations

from typing import Literal, cast, get_args

import torch

AttentionWindow = Literal["none", "prv", "first", "roll"]
ATTENTION_WINDOWS: tuple[AttentionWindow, ...] = get_args(AttentionWindow)


def check_attention_window(window: str) -> AttentionWindow:
    """The window itself; `ValueError` names the known ones."""
    if window not in ATTENTION_WINDOWS:
        raise ValueError(f"unknown attention window {window!r}: known are {', '.join(ATTENTION_WINDOWS)}")
    return cast(AttentionWindow, window)


def extend_window(tokens: torch.Tensor, window: AttentionWindow, num_frames: int) -> torch.Tensor:
    """Append the tokens of other frames of the same clip to those of each frame.

    Args:
        tokens: keys or values (B·T, n, C), T fastest.
        window: `none`; `prv` [own, previous], frame 0 its own twice; `first` [own, first];
            `roll` [previous, own, next], cyclically.
        num_frames: T, any number.

    Returns:
        (B·T, k·n, C) with k = 1, 2, 2, 3.
    """
    if window == "none":
        return tokens
    own = tokens.unflatten(0, (-1, num_frames))
    if window == "prv":
        parts = [own, torch.cat([own[:, :1], own[:, :-1]], dim=1)]
    elif window == "first":
        parts = [own, own[:, :1].expand_as(own)]
    else:
        parts = [own.roll(1, dims=1), own, own.roll(-1, dims=1)]
    return torch.cat(parts, dim=2).flatten(0, 1)
