"""Endless batches from process banks; batch n depends on (seed, n) alone, so a resumed run goes on exactly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from paintsundo.errors import UserError
from paintsundo.training.bank import PERMUTATIONS, ProcessBank, operation_step_of, to_signed

Batch = dict[str, Any]
_SIZES = 1  # stream of random numbers that sizes of batches are drawn from


def seed_of(seed: int, number: int) -> int:
    """A seed for one of many streams, 64 bits well mixed: torch's generator for processors takes the low 32 only."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0])


class BatchMaker(ABC):
    """Makes batches of one size in two parts: what is drawn for the rows of all devices, and what one device reads.

    So a device's rows are the same whether it takes all of them or a part.

    Attributes:
        batch_size: rows per device.
        size: (height, width) of the pictures in a batch.
        processes: how many drawing processes rows are drawn from.
    """

    batch_size: int
    size: tuple[int, int]
    processes: int

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> dict[str, Any]:
        """Random choices for so many rows: tensors (count, …), and others that hold for all rows."""

    @abstractmethod
    def gather(self, drawn: Mapping[str, Any]) -> Batch:
        """The batch of these choices."""

    def __call__(self, generator: torch.Generator) -> Batch:
        """A batch of one device alone."""
        return self.gather(self.draw(self.batch_size, generator))


class Batches(IterableDataset):
    """Batch number `start`, `start + 1`, …, each of one size and with its own generator.

    Sizes are drawn in proportion to their processes, but for the first batches, which show every size once: what is
    compiled for each of them is compiled at the beginning.

    Args:
        makers: one for each size.
        seed: of all batches.
        device: where they are made.
        rank, world: of this process; it takes its rows of the batch of all processes together.

    Raises:
        ValueError: no makers.
    """

    def __init__(
        self,
        makers: Sequence[BatchMaker],
        seed: int,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if not makers:
            raise ValueError("batches need a maker")
        self.makers, self.seed, self.device = list(makers), seed, device
        self.rank, self.world = rank, world
        self.start = 0
        self._cumulative = np.cumsum([maker.processes for maker in self.makers], dtype=np.float64)

    def maker_of(self, number: int) -> BatchMaker:
        """What makes batch number 0, 1, …: the same on all devices."""
        if number < len(self.makers):
            return self.makers[number]
        place = np.random.default_rng((self.seed, number, _SIZES)).random() * self._cumulative[-1]
        return self.makers[int(np.searchsorted(self._cumulative, place, side="right"))]

    def __iter__(self) -> Iterator[Batch]:
        number = self.start
        while True:
            maker = self.maker_of(number)
            generator = torch.Generator(self.device).manual_seed(seed_of(self.seed, number))
            count = maker.batch_size * self.world
            own = slice(self.rank * maker.batch_size, (self.rank + 1) * maker.batch_size)
            drawn = maker.draw(count, generator)
            rows = {name: value[own] if isinstance(value, Tensor) else value for name, value in drawn.items()}
            yield {**maker.gather(rows), "number": number, "bucket": maker.size}
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


def group_work(count: int, frames: int, group: int, span: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Work positions of what a decoder with `decode_group=group` sees of such clips, float (count, group + 2).

    The ends of each clip of `frames`, and `group` neighbours between them at a uniform place.
    """
    work = clip_work(count, frames, span, generator)
    first = 1 + _integers(frames - 1 - group, count, generator)
    inner = first[:, None] + torch.arange(group, device=work.device)
    return torch.cat([work[:, :1], work.gather(1, inner), work[:, -1:]], dim=1)


class Crop:
    """A random square of `side` pixels, the same of all pictures of a batch; None: whole pictures.

    Raises:
        UserError: it does not fit pictures of `size` (height, width).
    """

    def __init__(self, side: int | None, size: tuple[int, int]) -> None:
        if side is not None and (side < 1 or side % 16 or side > min(size)):
            raise UserError(f"crop must be a multiple of 16 within pictures of {size}, not {side}")
        self.side, self.whole = side, size
        self.size = size if side is None else (side, side)

    def draw(self, generator: torch.Generator) -> dict[str, int]:
        """{"top", "left"}, multiples of 8; nothing for whole pictures."""
        if self.side is None:
            return {}
        rooms = [(side - self.side) // 8 + 1 for side in self.whole]
        return {name: 8 * int(_integers(room, 1, generator)) for name, room in zip(("top", "left"), rooms, strict=True)}

    def cut(self, pictures: Tensor, drawn: Mapping[str, Any]) -> Tensor:
        """(…, H, W) → (…, side, side)."""
        if self.side is None:
            return pictures
        return pictures[..., drawn["top"] : drawn["top"] + self.side, drawn["left"] : drawn["left"] + self.side]


class StatePictures(BatchMaker):
    """Pictures for an image autoencoder or a tagger: {"pictures": (B, 3, H, W) in [−1, 1], "index": (B,)}.

    `finished` of them are finished pictures, the others states at uniform work positions.

    Raises:
        UserError: `crop` does not fit the pictures.
    """

    def __init__(
        self,
        bank: ProcessBank,
        batch_size: int,
        finished: float = 0.4,
        permute: float = 0.7,
        crop: int | None = None,
    ) -> None:
        self.bank, self.batch_size, self.finished, self.permute = bank, batch_size, finished, permute
        self.crop = Crop(crop, bank.size)
        self.size, self.processes = self.crop.size, len(bank)

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Any]:
        index = _integers(len(self.bank), count, generator)
        work = _uniform((count, 1), generator)
        done = _uniform((count, 1), generator) < self.finished
        work = torch.where(done, torch.ones_like(work), work)
        permutation = _permutations(count, self.permute, generator)
        return {"index": index, "work": work, "permutation": permutation, **self.crop.draw(generator)}

    def gather(self, drawn: Mapping[str, Any]) -> Batch:
        index = drawn["index"]
        states = self.bank.states(index, drawn["work"], drawn["permutation"])
        return {"pictures": to_signed(self.crop.cut(states, drawn)[:, 0]), "index": index + self.bank.first}


class StateClips(BatchMaker):
    """Clips for the temporal autoencoder: {"clips": (B, 3, T, H, W) in [−1, 1]}, finished end first.

    `group`: of each clip the ends and so many neighbours alone (`group_work`); 0: all frames.

    Raises:
        UserError: `crop` or `group` does not fit the clips.
    """

    def __init__(
        self,
        bank: ProcessBank,
        batch_size: int,
        frames: int,
        span: tuple[float, float],
        permute: float = 0.7,
        crop: int | None = None,
        group: int = 0,
    ) -> None:
        if not 0 <= group <= max(frames - 2, 0):
            raise UserError(f"{group} neighbours between the ends of {frames} frames: choose 0 to {frames - 2}")
        self.bank, self.batch_size, self.frames, self.crop = bank, batch_size, frames, Crop(crop, bank.size)
        self.span, self.permute, self.group = (float(span[0]), float(span[1])), permute, group
        self.size, self.processes = self.crop.size, len(bank)

    def _work(self, count: int, generator: torch.Generator) -> Tensor:
        if self.group:
            return group_work(count, self.frames, self.group, self.span, generator)
        return clip_work(count, self.frames, self.span, generator)

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Any]:
        return {
            "index": _integers(len(self.bank), count, generator),
            "work": self._work(count, generator),
            "permutation": _permutations(count, self.permute, generator),
            **self.crop.draw(generator),
        }

    def gather(self, drawn: Mapping[str, Any]) -> Batch:
        states = self.bank.states(drawn["index"], drawn["work"], drawn["permutation"])
        return {"clips": to_signed(self.crop.cut(states, drawn)).transpose(1, 2)}


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
        chunk: rows encoded at a time; None: as many as hold about 256 pictures on a GPU, 64 on a CPU.
    """

    def __init__(
        self,
        bank: ProcessBank,
        encode: Callable[[Tensor], Tensor],
        positions: int,
        variants: int,
        seed: int,
        chunk: int | None = None,
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
        if chunk is None:
            chunk = max(1, (256 if bank.device.type == "cuda" else 64) // positions)
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


class LatentStates(BatchMaker):
    """For the single-frame model: {"latents", "finished" (B, C, h, w), "operation_steps" (B,), "index" (B,)}."""

    def __init__(self, grid: LatentGrid, batch_size: int) -> None:
        self.grid, self.batch_size = grid, batch_size
        self.size, self.processes = grid.bank.size, len(grid.bank)

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Any]:
        rows, positions = self.grid.work.shape
        return {"row": _integers(rows, count, generator), "position": _integers(positions, count, generator)}

    def gather(self, drawn: Mapping[str, Any]) -> Batch:
        row, position, latents = drawn["row"], drawn["position"], self.grid.latents
        assert latents is not None
        return {
            "latents": latents[row, position].float(),
            "finished": latents[row, torch.zeros_like(row)].float(),
            "operation_steps": operation_step_of(self.grid.work[row, position]),
            "index": row // self.grid.variants + self.grid.bank.first,
        }


class LatentClips(BatchMaker):
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
        self.size, self.processes = grid.bank.size, len(grid.bank)
        self.strides = torch.tensor(strides, device=grid.bank.device)

    def draw(self, count: int, generator: torch.Generator) -> dict[str, Any]:
        rows, positions = self.grid.work.shape
        row = _integers(rows, count, generator)
        stride = self.strides[_integers(len(self.strides), count, generator)]
        room = positions - stride * (self.frames - 1)
        # a sixth of the starts beyond either end is pulled onto it: blank and finished ends must be well known
        start = (_uniform((count,), generator) * 1.33 - 0.165) * room
        start = start.floor().long().clamp(min=0).minimum(room - 1)
        return {
            "row": row,
            "position": start[:, None] + stride[:, None] * torch.arange(self.frames, device=row.device),
        }

    def gather(self, drawn: Mapping[str, Any]) -> Batch:
        row, position, latents = drawn["row"], drawn["position"], self.grid.latents
        assert latents is not None
        clip = latents[row[:, None], position].float().transpose(1, 2)
        ends = self.grid.pictures(row, position[:, [0, -1]]).transpose(1, 2)
        return {"latents": clip, "ends": ends}
