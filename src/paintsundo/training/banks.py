"""Banks of several sizes: one for each bucket, read from data sets straight onto the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paintsundo.data.bank_arrays import ArrayReader
from paintsundo.data.faults import Fault, FaultTally
from paintsundo.data.index import DataIndex
from paintsundo.data.shard_store import ShardStore
from paintsundo.data.sizes import Size, assign
from paintsundo.errors import UserError
from paintsundo.training.bank import NEVER, ProcessBank, shifted


class BankSet(Sequence[ProcessBank]):
    """The banks of a run, one a size, the one of the most processes first; processes are numbered through all of them.

    Raises:
        UserError: there is none.
    """

    def __init__(self, banks: Sequence[ProcessBank]) -> None:
        if not banks:
            raise UserError("the data set has no processes of this split")
        self.banks = sorted(banks, key=len, reverse=True)
        first = 0
        for bank in self.banks:
            bank.first = first
            first += len(bank)

    def __len__(self) -> int:
        return len(self.banks)

    def __getitem__(self, number: Any) -> Any:
        return self.banks[number]

    def __iter__(self) -> Iterator[ProcessBank]:
        return iter(self.banks)

    @property
    def processes(self) -> int:
        """How many there are in all banks."""
        return sum(len(bank) for bank in self.banks)

    @property
    def metas(self) -> list[dict[str, Any]]:
        """Those of all processes, in the order of their numbers."""
        return [meta for bank in self.banks for meta in bank.metas]

    @property
    def device(self) -> torch.device:
        """Where the banks live."""
        return self.banks[0].device


class _Rows:
    """A bank being filled."""

    def __init__(self, count: int, stages: int, size: Size, device: torch.device) -> None:
        self.pictures = torch.full((count, stages, 3, *size), 255, dtype=torch.uint8, device=device)
        self.reveals = torch.full((count, stages, *size), NEVER, dtype=torch.int16, device=device)
        self.metas: list[dict[str, Any]] = []
        self.stages = 1

    def add(self, pictures: np.ndarray, reveals: np.ndarray, meta: dict[str, Any]) -> None:
        row, stages, device = len(self.metas), len(pictures), self.pictures.device
        self.pictures[row, :stages] = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2)
        self.reveals[row, :stages] = _on(shifted(reveals), device)
        self.metas.append(meta)
        self.stages = max(self.stages, stages)

    def bank(self) -> ProcessBank:
        rows, stages = len(self.metas), self.stages
        return ProcessBank(self.pictures[:rows, :stages], self.reveals[:rows, :stages], self.metas)


def _on(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device)


def read_banks(
    index: DataIndex,
    buckets: Sequence[Size],
    device: torch.device | str,
    workers: int | None = None,
    tally: FaultTally | None = None,
    store: ShardStore | None = None,
    progress: bool = False,
) -> tuple[BankSet, list[Fault]]:
    """All samples of an index, each at the size of its nearest bucket (`data.sizes`), and those that cannot be read.

    The machine's own memory holds a few decoded samples at a time.

    Args:
        index: the samples.
        buckets: (height, width); those that no sample is nearest to give no bank.
        device: where the banks are to live.
        workers: threads that decode.
        tally: told of every fault.
        store: where shards are had from.
        progress: show it.

    Raises:
        UserError: no sample can be read, or more faults than the tally allows.
    """
    device = torch.device(device)
    bucket_of = assign(index.heights, index.widths, buckets)
    reader = ArrayReader(index, store, workers)
    stages = reader.stages()
    filling = {
        int(number): _Rows(
            int((bucket_of == number).sum()), max(1, int(stages[bucket_of == number].max())), buckets[number], device
        )
        for number in np.unique(bucket_of)
    }
    faults = []
    sizes = [(int(buckets[number][0]), int(buckets[number][1])) for number in bucket_of.tolist()]
    for number, found in zip(bucket_of.tolist(), reader.read(sizes, progress), strict=True):
        if isinstance(found, Fault):
            faults.append(found)
            if tally is not None:
                tally.add([found])
        else:
            filling[number].add(*found)
    return BankSet([rows.bank() for rows in filling.values() if rows.metas]), faults
