"""A whole data set of drawing processes held on the training device, any state of it at any work position in one gather."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

# uint16 has few kernels in torch; int16 shifted by half the range orders the same way.
_SHIFT = 32768
_WORK_UNITS = 65534

PERMUTATIONS = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])


class ProcessBank:
    """P processes of at most S stages at H×W pixels, resident on one device.

    Args:
        pictures: uint8 (P, S, H, W, 3), what each stage paints.
        reveals: uint16 (P, S, H, W), the work position 0…65534 at which a pixel takes that stage's picture;
            65535 is never.
        metas: one mapping a process (tags, stage names, …).
        device: where everything is kept.
    """

    def __init__(
        self, pictures: np.ndarray, reveals: np.ndarray, metas: Sequence[dict[str, Any]], device: torch.device | str
    ) -> None:
        if len(pictures) == 0:
            raise ValueError("a process bank needs at least one process")
        self.device = torch.device(device)
        self.metas = list(metas)
        count, stages, height, width, _ = pictures.shape
        self.pictures = torch.empty(count, stages, 3, height, width, dtype=torch.uint8, device=self.device)
        self.reveals = torch.empty(count, stages, height, width, dtype=torch.int16, device=self.device)
        for start in range(0, count, 256):  # in pieces, so that the host never holds a second copy
            piece = slice(start, start + 256)
            self.pictures[piece] = torch.from_numpy(pictures[piece]).to(self.device).permute(0, 1, 4, 2, 3)
            shifted = (reveals[piece].astype(np.int32) - _SHIFT).astype(np.int16)
            self.reveals[piece] = torch.from_numpy(shifted).to(self.device)
        sketch = torch.zeros(count, stages, dtype=torch.bool)
        for row, meta in enumerate(self.metas):
            for stage, name in enumerate(meta.get("stages", [])[:stages]):
                sketch[row, stage] = name == "sketch"
        self.is_sketch = sketch.to(self.device)

    def subset(self, rows: Sequence[int]) -> ProcessBank:
        """Keep only these processes, in place of the others (no second copy in memory); returns itself."""
        order = torch.tensor(sorted(rows), device=self.device)
        for target, source in enumerate(order.tolist()):
            if target != source:  # sorted, so a row never lands on one still needed
                self.pictures[target] = self.pictures[source]
                self.reveals[target] = self.reveals[source]
        self.pictures, self.reveals = self.pictures[: len(order)], self.reveals[: len(order)]
        self.is_sketch = self.is_sketch[order]
        self.metas = [self.metas[i] for i in order.tolist()]
        return self

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every picture."""
        return self.pictures.shape[-2], self.pictures.shape[-1]

    def states(self, index: Tensor, work: Tensor, permutation: Tensor | None = None) -> Tensor:
        """Pictures of processes at given work positions.

        Args:
            index: int64 (B,), which processes.
            work: float (B, K) in 0 (blank) … 1 (finished).
            permutation: optional int64 (B, 3), the order of colour channels; sketch lines keep theirs, since
                their colour is a convention and not part of the picture.

        Returns:
            uint8 (B, K, 3, H, W).
        """
        position = ((work * _WORK_UNITS).round() - _SHIFT).to(torch.int16)[:, :, None, None]
        height, width = self.size
        out = torch.full((*work.shape, 3, height, width), 255, dtype=torch.uint8, device=self.device)
        for stage in range(self.pictures.shape[1]):
            picture = self.pictures[index, stage]
            if permutation is not None:
                permuted = picture.gather(1, permutation[:, :, None, None].expand_as(picture))
                picture = torch.where(self.is_sketch[index, stage][:, None, None, None], picture, permuted)
            revealed = self.reveals[index, stage][:, None] <= position
            out = torch.where(revealed[:, :, None], picture[:, None], out)
        return out


def to_signed(pictures: Tensor) -> Tensor:
    """uint8 0…255 → float32 −1…1, as the published system scales pictures (x / 127.5 − 1)."""
    return pictures.float() / 127.5 - 1.0


def operation_step_of(work: Tensor) -> Tensor:
    """Work done (1 finished, 0 blank) → operation step 0…999 (`s = round(999·(1 − work))`), int64."""
    return (999.0 * (1.0 - work)).round().long().clamp(0, 999)
