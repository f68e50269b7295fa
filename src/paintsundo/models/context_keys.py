"""Keys and values of cross-attention, computed once and used at every step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

Projected = tuple[torch.Tensor, ...]  # keys and values of the words, then, where there are any, of the image


class ContextKeys:
    """What the cross-attentions of one network see of the conditions of B clips.

    Args:
        layers: for each cross-attention its keys and values of words (B, m, C) and of image embeddings (B·T, L, C).
        rows: B.
    """

    def __init__(self, layers: Mapping[nn.Module, Projected], rows: int) -> None:
        self._layers = dict(layers)
        self._rows = rows
        self._repeated: dict[int, ContextKeys] = {}
        self._joined: tuple[ContextKeys, ContextKeys] | None = None

    def __len__(self) -> int:
        return self._rows

    def of(self, layer: nn.Module) -> Projected:
        """Keys and values of one cross-attention."""
        return self._layers[layer]

    def over(self, rows: int) -> ContextKeys:
        """Those of one clip (or of `rows`) for `rows` clips; views."""
        if rows == self._rows:
            return self
        if self._rows != 1:
            raise ValueError(f"keys of {self._rows} clips for {rows}")
        if rows not in self._repeated:
            repeated = {
                layer: tuple(x.expand(rows, *x.shape).flatten(0, 1) for x in projected)
                for layer, projected in self._layers.items()
            }
            self._repeated[rows] = ContextKeys(repeated, rows)
        return self._repeated[rows]

    def joined(self, other: ContextKeys) -> ContextKeys:
        """These rows and then the other's; made once for the same other."""
        if self._joined is None or self._joined[0] is not other:
            both = {
                layer: tuple(torch.cat(pair) for pair in zip(projected, other.of(layer), strict=True))
                for layer, projected in self._layers.items()
            }
            self._joined = (other, ContextKeys(both, len(self) + len(other)))
        return self._joined[1]
