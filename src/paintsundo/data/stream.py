"""Batches read by workers as the plan says; the order never depends on how many workers there are."""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from paintsundo.data.faults import Fault, FaultTally, FaultyData
from paintsundo.data.plan import BatchPlan, PlannedBatch, generator
from paintsundo.data.process_source import ProcessSource
from paintsundo.data.samples import ClipRule, ClipSample, StateRule, StateSample
from paintsundo.errors import UserError

Batch = dict[str, Any]
_ROWS = 101  # stream of random numbers of rows
_ATTEMPTS = 32  # samples tried in place of damaged ones


class Reader(Protocol):
    """Makes rows of batches, from pictures or from a cache."""

    def read(self, index: int, bucket: tuple[int, int], randoms: Sequence[np.random.Generator]) -> list[Any]:
        """One row for each generator, all of sample `index`. Raises FaultyData when it cannot be used."""

    def collate(self, rows: Sequence[Any]) -> Batch:
        """A batch of rows of one bucket."""


class PictureReader:
    """States or clips as pictures.

    `read` gives StateSample or ClipSample rows. `collate` gives {"states", "finished" uint8 (B, 3, H, W),
    "operation_steps" int64 (B,)} or {"clips" uint8 (B, T, 3, H, W), finished end first, "works" float32 (B, T),
    "strides" int64 (B,)}, and "tags", "keys".
    """

    def __init__(self, source: ProcessSource, rule: StateRule | ClipRule) -> None:
        self.source, self.rule = source, rule

    def read(
        self, index: int, bucket: tuple[int, int], randoms: Sequence[np.random.Generator]
    ) -> list[StateSample | ClipSample]:
        process, key = self.source.process(index), self.source.index.name(index)
        return [self.rule.sample(process, key, bucket, random) for random in randoms]

    def collate(self, rows: Sequence[Any]) -> Batch:
        batch: Batch = {"tags": [list(row.tags) for row in rows], "keys": [row.key for row in rows]}
        if isinstance(self.rule, ClipRule):
            return {
                "clips": torch.stack([_planes(row.states) for row in rows]),
                "works": torch.from_numpy(np.stack([row.works for row in rows])).float(),
                "strides": torch.tensor([row.stride for row in rows]),
                **batch,
            }
        return {
            "states": _planes([row.state for row in rows]),
            "finished": _planes([row.finished for row in rows]),
            "operation_steps": torch.tensor([row.operation_step for row in rows]),
            **batch,
        }


def _planes(pictures: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> Tensor:
    """Pictures (H, W, 3) -> uint8 (N, 3, H, W)."""
    height, width = pictures[0].shape[:2]
    out = np.empty((len(pictures), 3, height, width), np.uint8)
    for place, picture in zip(out, pictures, strict=True):
        for channel in range(3):
            cv2.extractChannel(picture, channel, place[channel])
    return torch.from_numpy(out)


class Stream(IterableDataset):
    """Endless batches of one device, from number `start`; each also holds "number" and "faults" (list of dicts).

    With W workers, worker w makes batches start + w, start + w + W, …, which a DataLoader puts back in order. A
    row's random numbers are those of (seed, number, row of the global batch). A sample that cannot be used is named
    in "faults" and replaced by another of its bucket (`on_fault="skip"`, the same one in every run), or ends the run.

    Args:
        plan: which samples make which batch.
        reader: makes the rows.
        rank: of this device among the plan's `world`.
        start: number of the first batch.
        on_fault: "skip" or "stop".
        max_faults: the largest share of samples that may be lost, those lost to the index included.
    """

    def __init__(
        self,
        plan: BatchPlan,
        reader: Reader,
        rank: int = 0,
        start: int = 0,
        on_fault: str = "skip",
        max_faults: float = 0.01,
    ) -> None:
        self.plan, self.reader, self.rank, self.start = plan, reader, rank, start
        self.on_fault, self.max_faults = on_fault, max_faults
        self.tally()

    def tally(self) -> FaultTally:
        """A count that starts with the faults of the index. Raises UserError when these are too many."""
        entries = self.plan.entries
        everything = len(entries) + entries.left_out + entries.lost
        tally = FaultTally(everything, self.on_fault, self.max_faults)
        tally.add(entries.faults)
        return FaultTally(len(entries), self.on_fault, self.max_faults) if entries.left_out else tally

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        tally = self.tally()
        number, step = self.start, 1
        if worker is not None:
            cv2.setNumThreads(1)  # workers share the cores already
            number, step = self.start + worker.id, worker.num_workers
        while True:
            try:
                batch = self.make(self.plan.batch(number, self.rank))
                tally.add(batch["faults"])
            except UserError as error:
                if worker is None:
                    raise
                yield {"number": number, "error": str(error)}  # a loader would wrap it in its own traceback
                return
            yield batch
            number += step

    def make(self, planned: PlannedBatch) -> Batch:
        """One batch. Raises UserError when no sample can be read in the place of a damaged one."""
        rows: list[Any] = []
        faults: list[dict[str, Any]] = []
        together = self.plan.repeats
        for at in range(0, len(planned.indices), together):
            rows += self._rows(planned, at, together, faults)
        batch = self.reader.collate(rows)
        return {**batch, "number": planned.number, "faults": faults}

    def _rows(self, planned: PlannedBatch, at: int, together: int, faults: list[dict[str, Any]]) -> list[Any]:
        index, first = int(planned.indices[at]), planned.first_row + at
        for attempt in range(_ATTEMPTS):
            randoms = [generator(self.plan.seed, _ROWS, planned.number, row) for row in range(first, first + together)]
            try:
                return self.reader.read(index, planned.bucket, randoms)
            except FaultyData as error:
                faults.append({**error.fault.as_dict()})
                if self.on_fault == "stop":
                    FaultTally(1, "stop").add([error.fault])
                index = self.plan.replacement(index, planned.number, first, attempt)
        raise UserError(f"damaged data: {_ATTEMPTS} samples in a row cannot be used; the last: {Fault(**faults[-1])}")


def worker_context() -> multiprocessing.context.BaseContext:
    """How workers are started: never by forking a process that has threads, which OpenCV and CUDA do not survive."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


class StreamLoader(DataLoader):
    """The batches of a stream through workers. The faults of all workers are counted together.

    Iterating raises UserError, in one line, for what a worker refuses and when too many samples are lost.

    Args:
        stream: the batches.
        workers: processes that read; 0: none but this one.
        pin_memory: for faster copies to a GPU.
        prefetch: batches each worker holds ready.
    """

    def __init__(self, stream: Stream, workers: int = 0, pin_memory: bool = False, prefetch: int = 2) -> None:
        ready: dict[str, Any] = {}
        if workers:
            ready = {"prefetch_factor": prefetch, "multiprocessing_context": worker_context()}
        super().__init__(stream, batch_size=None, num_workers=workers, pin_memory=pin_memory, **ready)

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        tally = self.dataset.tally()
        for batch in super().__iter__():
            if "error" in batch:
                raise UserError(batch["error"])
            tally.add(batch["faults"])
            yield batch
