"""Data sets of drawing processes held on the training device: any state of any process in one gather."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paintsundo.data.shards import different_sizes
from paintsundo.errors import UserError

_SHIFT = 32768
NEVER = 32767  # of reveal maps, shifted: a pixel that never takes the stage's picture
_WORK_UNITS = 65534

PERMUTATIONS = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])


class ProcessBank:
    """P processes of at most S stages at H×W pixels, resident on one device.

    Args:
        pictures: uint8 (P, S, 3, H, W), what each stage paints.
        reveals: int16 (P, S, H, W), the work position at which a pixel takes that stage's picture, less 32768
            (uint16 has few kernels in torch; shifted, it orders the same way). 32767 is never.
        metas: one mapping a process (tags, stage names, …).
        first: number of its first process among those of all banks of a run.

    Raises:
        UserError: no process at all.
    """

    def __init__(self, pictures: Tensor, reveals: Tensor, metas: Sequence[dict[str, Any]], first: int = 0) -> None:
        if len(pictures) == 0:
            raise UserError("the data set has no processes of this split")
        self.pictures, self.reveals, self.metas, self.first = pictures, reveals, list(metas), first
        sketch = torch.zeros(pictures.shape[:2], dtype=torch.bool)
        for row, meta in enumerate(self.metas):
            for stage, name in enumerate(meta.get("stages", [])):
                sketch[row, stage] = name == "sketch"
        self.is_sketch = sketch.to(pictures.device)

    @classmethod
    def join(
        cls, parts: Iterable[tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]], device: torch.device | str
    ) -> ProcessBank:
        """One bank of several data sets, each as `data.shards.load_arrays` reads it (uint8 (P, S, H, W, 3),
        uint16 (P, S, H, W), records); processes of fewer stages get ones that are never revealed.

        Raises:
            UserError: no process at all, or pictures of different sizes.
        """
        loaded = [part for part in parts if len(part[0])]
        if not loaded:
            raise UserError("the data set has no processes of this split")
        most = max(pictures.shape[1] for pictures, _, _ in loaded)
        total = sum(len(pictures) for pictures, _, _ in loaded)
        sizes = {pictures.shape[2:4] for pictures, _, _ in loaded}
        if len(sizes) > 1:
            raise UserError(different_sizes("the data", sorted(sizes)))
        height, width = loaded[0][0].shape[2:4]
        joined = torch.full((total, most, 3, height, width), 255, dtype=torch.uint8, device=device)
        reveals = torch.full((total, most, height, width), NEVER, dtype=torch.int16, device=device)
        at = 0
        for pictures, when, _ in loaded:
            for start in range(0, len(pictures), 256):  # in pieces: the host never holds a second copy
                piece = slice(start, start + 256)
                count, stages = pictures[piece].shape[:2]
                rows = slice(at, at + count)
                joined[rows, :stages] = torch.from_numpy(pictures[piece]).to(device).permute(0, 1, 4, 2, 3)
                reveals[rows, :stages] = torch.from_numpy(shifted(when[piece])).to(device)
                at += count
        return cls(joined, reveals, [meta for _, _, metas in loaded for meta in metas])

    def shuffle(self, seed: int, keep: int | None = None) -> ProcessBank:
        """Put the processes into a random order and keep the first `keep` of them (None: all); returns itself."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:keep]
        self.metas = [self.metas[i] for i in order.tolist()]
        order = order.to(self.device)
        self.pictures, self.reveals = self.pictures[order], self.reveals[order]
        self.is_sketch = self.is_sketch[order]
        return self

    @property
    def device(self) -> torch.device:
        """Where the bank lives."""
        return self.pictures.device

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


def shifted(reveals: np.ndarray) -> np.ndarray:
    """uint16 reveal maps → int16 of the same order, each less 32768."""
    return (reveals ^ np.uint16(_SHIFT)).view(np.int16)


def to_signed(pictures: Tensor) -> Tensor:
    """uint8 0…255 → float32 −1…1, as the published system scales pictures (x / 127.5 − 1)."""
    return pictures.float() / 127.5 - 1.0


def operation_step_of(work: Tensor) -> Tensor:
    """Work done (1 finished, 0 blank) → operation step 0…999 (`s = round(999·(1 − work))`), int64."""
    return (999.0 * (1.0 - work)).round().long().clamp(0, 999)
