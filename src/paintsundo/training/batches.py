"""Endless batches from a process bank; batch n depends on (seed, n) alone, so a resumed run goes on exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from paintsundo.errors import UserError
from paintsundo.training.bank import PERMUTATIONS, ProcessBank, operation_step_of, to_signed

Batch = dict[str, Any]


def seed_of(seed: int, number: int) -> int:
    """A seed for one of many streams, 64 bits well mixed: torch's generator for processors takes the low 32 only."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0])


class Batches(IterableDataset):
    """Calls `make(generator)` for batch number `start`, `start + 1`, …, each with its own generator.

    Args:
        make: gives a batch.
        seed: of all batches.
        device: where they are made.
        rank, world: of this process; batch n of all processes together are numbers n·world … n·world + world − 1.
    """

    def __init__(
        self,
        make: Callable[[torch.Generator], Batch],
        seed: int,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.make, self.seed, self.device = make, seed, device
        self.rank, self.world = rank, world
        self.start = 0

    def __iter__(self) -> Iterator[Batch]:
        number = self.start
        while True:
            stream = seed_of(self.seed, number * self.world + self.rank)
            batch = self.make(torch.Generator(self.device).manual_seed(stream))
            yield {**batch, "number": number}
            number += 1


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _integers(high: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(high, (count,), generator=generator, device=generator.device)


def _permutations(count: int, share: float, generator: torch.Generator) -> Tensor:
    """int64 (count, 3): with probability `share` one of the six channel orders, else the identity."""
    choice = _integers(6, count, generator)
    keep = _uniform((count,), generator) >= share
    return PERMUTATIONS.to(generator.device)[torch.where(keep, torch.zeros_like(choice), choice)]


def clip_work(count: int, frames: int, span: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Work positions of clips, finished end first (the model's order), float (count, frames) in [0, 1].

    Each clip covers an interval whose length is uniform in `span` (in shares of the whole work); intervals
    that would leave [0, 1] are cut there, so that the blank canvas and the finished picture are ends too.
    """
    low, high = span
    length = low + (high - low) * _uniform((count,), generator)
    middle = _uniform((count,), generator) * (1.0 + low) - low / 2
    top = (middle + length / 2).clamp(max=1.0)
    bottom = (middle - length / 2).clamp(min=0.0)
    t = torch.linspace(1.0, 0.0, frames, device=generator.device)
    return bottom[:, None] + (top - bottom)[:, None] * t


class StatePictures:
    """Pictures for an image autoencoder or a tagger: {"pictures": (B, 3, H, W) in [−1, 1], "index": (B,)}.

    `finished` of them are finished pictures, the others states at uniform work positions.
    """

    def __init__(self, bank: ProcessBank, batch_size: int, finished: float = 0.4, permute: float = 0.7) -> None:
        self.bank, self.batch_size, self.finished, self.permute = bank, batch_size, finished, permute

    def __call__(self, generator: torch.Generator) -> Batch:
        index = _integers(len(self.bank), self.batch_size, generator)
        work = _uniform((self.batch_size, 1), generator)
        done = _uniform((self.batch_size, 1), generator) < self.finished
        work = torch.where(done, torch.ones_like(work), work)
        permutation = _permutations(self.batch_size, self.permute, generator)
        return {"pictures": to_signed(self.bank.states(index, work, permutation)[:, 0]), "index": index}


class StateClips:
    """Clips for the temporal autoencoder: {"clips": (B, 3, T, H, W) in [−1, 1]}, finished end first.

    Raises:
        UserError: `crop` does not fit the pictures.
    """

    def __init__(
        self,
        bank: ProcessBank,
        batch_size: int,
        frames: int,
        span: tuple[float, float],
        permute: float = 0.7,
        crop: int | None = None,
    ) -> None:
        if crop is not None and (crop < 1 or crop % 16 or crop > min(bank.size)):
            raise UserError(f"crop must be a multiple of 16 within pictures of {bank.size}, not {crop}")
        self.bank, self.batch_size, self.frames, self.crop = bank, batch_size, frames, crop
        self.span, self.permute = (float(span[0]), float(span[1])), permute

    def __call__(self, generator: torch.Generator) -> Batch:
        index = _integers(len(self.bank), self.batch_size, generator)
        work = clip_work(self.batch_size, self.frames, self.span, generator)
        permutation = _permutations(self.batch_size, self.permute, generator)
        states = self.bank.states(index, work, permutation)
        if self.crop is not None:
            top, left = (int(_integers((side - self.crop) // 8 + 1, 1, generator)) * 8 for side in self.bank.size)
            states = states[..., top : top + self.crop, left : left + self.crop]
        return {"clips": to_signed(states).transpose(1, 2)}


class LatentGrid:
    """Latents of every process at `positions` work positions, encoded once: the networks train on gathers of them.

    Positions run from 1 (finished) to 0 (blank); those between are equally spaced and moved together by a part of
    a step, drawn for each row, so that all operation steps occur.

    Args:
        bank: the processes.
        encode: pictures, float (N, 3, H, W) in [−1, 1] → scaled latents (N, C, h, w).
        positions: work positions per row.
        variants: rows per process, each with its own order of colour channels; the first keeps the original.
        seed: of channel orders and offsets.
        chunk: rows encoded at a time.
    """

    def __init__(
        self,
        bank: ProcessBank,
        encode: Callable[[Tensor], Tensor],
        positions: int,
        variants: int,
        seed: int,
        chunk: int = 6,
    ) -> None:
        self.bank, self.variants = bank, variants
        generator = torch.Generator(bank.device).manual_seed(seed)
        rows = len(bank) * variants
        offset = (_uniform((rows, 1), generator) - 0.5) / (positions - 1)
        self.work = torch.linspace(1.0, 0.0, positions, device=bank.device) + offset
        self.work[:, 0], self.work[:, -1] = 1.0, 0.0
        self.permutation = _permutations(rows, 1.0, generator).view(len(bank), variants, 3)
        self.permutation[:, 0] = torch.arange(3, device=bank.device)
        self.permutation = self.permutation.view(rows, 3)
        self.latents: Tensor | None = None
        chunk = min(chunk, rows)
        for start in range(0, rows, chunk):
            start = min(start, rows - chunk)  # always whole chunks: one shape to compile for
            row = torch.arange(start, start + chunk, device=bank.device)
            states = bank.states(row // variants, self.work[row], self.permutation[row])
            encoded = encode(to_signed(states.flatten(0, 1)))
            if self.latents is None:
                shape = (rows, positions, *encoded.shape[1:])
                self.latents = torch.empty(shape, dtype=torch.float16, device=bank.device)
            self.latents[row] = encoded.unflatten(0, (chunk, positions)).half()

    def pictures(self, row: Tensor, position: Tensor) -> Tensor:
        """float (B, K, 3, H, W) in [−1, 1]: the pictures behind latents `[row, position]` (B, K)."""
        work = self.work[row[:, None], position]
        return to_signed(self.bank.states(row // self.variants, work, self.permutation[row]))


class LatentStates:
    """For the single-frame model: {"latents", "finished" (B, C, h, w), "operation_steps" (B,), "index" (B,)}."""

    def __init__(self, grid: LatentGrid, batch_size: int) -> None:
        self.grid, self.batch_size = grid, batch_size

    def __call__(self, generator: torch.Generator) -> Batch:
        latents = self.grid.latents
        assert latents is not None
        row = _integers(len(latents), self.batch_size, generator)
        position = _integers(latents.shape[1], self.batch_size, generator)
        return {
            "latents": latents[row, position].float(),
            "finished": latents[row, torch.zeros_like(row)].float(),
            "operation_steps": operation_step_of(self.grid.work[row, position]),
            "index": row // self.grid.variants,
        }


class LatentClips:
    """For the multi-frame model: {"latents" (B, C, T, h, w), "ends" (B, 3, 2, H, W) in [−1, 1]}, finished end first.

    A clip takes every n-th entry of the grid, n drawn from `strides`.

    Raises:
        UserError: the longest clips do not fit into the grid.
    """

    def __init__(self, grid: LatentGrid, batch_size: int, frames: int, strides: list[int]) -> None:
        positions = grid.work.shape[1]
        if positions <= max(strides) * (frames - 1):
            raise UserError(f"{frames} frames {max(strides)} apart do not fit into {positions} positions")
        self.grid, self.batch_size, self.frames = grid, batch_size, frames
        self.strides = torch.tensor(strides, device=grid.bank.device)

    def __call__(self, generator: torch.Generator) -> Batch:
        latents = self.grid.latents
        assert latents is not None
        count = self.batch_size
        row = _integers(len(latents), count, generator)
        stride = self.strides[_integers(len(self.strides), count, generator)]
        room = latents.shape[1] - stride * (self.frames - 1)
        # a sixth of the starts beyond either end is pulled onto it: blank and finished ends must be well known
        start = (_uniform((count,), generator) * 1.33 - 0.165) * room
        start = start.floor().long().clamp(min=0).minimum(room - 1)
        position = start[:, None] + stride[:, None] * torch.arange(self.frames, device=row.device)
        clip = latents[row[:, None], position].float().transpose(1, 2)
        ends = self.grid.pictures(row, position[:, [0, -1]]).transpose(1, 2)
        return {"latents": clip, "ends": ends}
