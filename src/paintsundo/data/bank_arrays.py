"""Many processes as arrays in memory, each brought to the size of its bucket, decoded by threads."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from paintsundo.data.faults import Fault, FaultyData
from paintsundo.data.frame_stages import MOST
from paintsundo.data.index import DataIndex, read_indexes
from paintsundo.data.process import NEVER
from paintsundo.data.process_source import ProcessSource
from paintsundo.data.samples import fitted, fitted_map
from paintsundo.data.shard_store import ShardError, ShardStore, public
from paintsundo.errors import UserError

Arrays = tuple[NDArray[np.uint8], NDArray[np.uint16], dict[str, Any]]


class ArrayReader:
    """Reads samples of an index in many threads; each has files of its own, since a file that one closes to open
    another might be read by a third.

    Args:
        index: the samples.
        store: where shards are had from.
        workers: threads; None: one per core, at most 16.
    """

    def __init__(self, index: DataIndex, store: ShardStore | None = None, workers: int | None = None) -> None:
        self.index, self.store = index, store
        self.workers = workers or min(16, os.cpu_count() or 1)
        self._own = threading.local()

    def _source(self) -> ProcessSource:
        if not hasattr(self._own, "source"):
            self._own.source = ProcessSource(self.index, self.store)
            self._own.source.files.most_open = 4
        source: ProcessSource = self._own.source
        return source

    def stages(self) -> NDArray[np.int64]:
        """How many stages each sample has at most, (N,), by its record alone; 0 where that cannot be read."""

        def count(number: int) -> int:
            entry = self.index.entry(number)
            place = entry.members.index("json")
            try:
                record = json.loads(self._source().files.read(entry.shard, entry.offsets[place], entry.sizes[place]))
                return min(MOST, record["frames"]) if "frames" in record else len(record["stages"])
            except (ShardError, ValueError, KeyError, TypeError):
                return 0

        with ThreadPoolExecutor(self.workers) as pool:
            return np.array(list(pool.map(count, range(len(self.index)), chunksize=64)), np.int64)

    def read(self, buckets: Sequence[tuple[int, int]], progress: bool = False) -> Iterator[Arrays | Fault]:
        """Every sample in order at its bucket's size: pictures (S, H, W, 3), reveal maps (S, H, W), the record with
        the sample's "key"; or why it cannot be had.

        Args:
            buckets: (height, width) of each sample.
            progress: show a bar, or a line now and then where there is no terminal.
        """
        bar = tqdm(
            total=len(self.index),
            desc="reading",
            unit="process",
            disable=not progress,
            mininterval=0.2 if sys.stderr.isatty() else 10.0,
            leave=False,
        )

        def one(number: int) -> Arrays | Fault:
            try:
                pictures, reveals, record = self._source().arrays(number)
            except FaultyData as error:
                return error.fault
            bucket = buckets[number]
            return (
                np.stack([fitted(picture, bucket) for picture in pictures]),
                np.stack([fitted_map(reveal, bucket) for reveal in reveals]),
                {**record, "key": self.index.name(number)},
            )

        with bar, ThreadPoolExecutor(self.workers) as pool:
            waiting: deque[Future[Arrays | Fault]] = deque()
            for number in range(len(self.index)):
                waiting.append(pool.submit(one, number))
                if len(waiting) >= 8 * self.workers:  # decoded ones in memory are few
                    yield waiting.popleft().result()
                    bar.update()
            while waiting:
                yield waiting.popleft().result()
                bar.update()


def read_bank_arrays(
    paths: Sequence[str | Path],
    split: str,
    count: int | None,
    bucket: tuple[int, int],
    store: ShardStore | None = None,
    workers: int | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.uint16], list[dict[str, Any]]]:
    """Processes of any sizes brought to one, in memory, as `training.bank.ProcessBank.join` takes them.

    Pictures are scaled to cover the bucket (height, width), INTER_AREA, and cropped about the centre; reveal maps
    likewise, by nearest pixel. Of more than `count` processes those are taken that `DataIndex.limited` chooses, the
    same ones in every run. Samples that cannot be read are left out.

    Returns:
        uint8 (P, S, H, W, 3), white and never revealed where a process has fewer than S stages; uint16 (P, S, H, W);
        the records, each with its "key".

    Raises:
        UserError: a data set cannot be had, or none of the split's samples can be read.
    """
    index = read_indexes(paths, split, count, store)
    found = ArrayReader(index, store, workers).read([bucket] * len(index))
    parts = [part for part in found if not isinstance(part, Fault)]
    if not parts:
        places = ", ".join(public(str(path)) for path in paths)
        raise UserError(f"{places}: no sample of the split {split} can be read")
    most = max(len(pictures) for pictures, _, _ in parts)
    all_pictures = np.full((len(parts), most, *bucket, 3), 255, np.uint8)
    all_reveals = np.full((len(parts), most, *bucket), NEVER, np.uint16)
    for row, (pictures, reveals, _) in enumerate(parts):
        all_pictures[row, : len(pictures)], all_reveals[row, : len(reveals)] = pictures, reveals
    return all_pictures, all_reveals, [record for _, _, record in parts]
