"""Held-out processes of any sizes as arrays of one size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paintsundo.data.faults import FaultyData
from paintsundo.data.index import read_indexes
from paintsundo.data.process import NEVER
from paintsundo.data.process_source import ProcessSource
from paintsundo.data.samples import fitted, fitted_map
from paintsundo.data.shard_store import ShardStore, public
from paintsundo.errors import UserError


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
    source = ProcessSource(read_indexes(paths, split, count, store), store)

    def read(index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint16], dict[str, Any]] | None:
        try:
            pictures, reveals, record = source.arrays(index)
        except FaultyData:
            return None
        resized = np.stack([fitted(picture, bucket) for picture in pictures])
        return (
            resized,
            np.stack([fitted_map(reveal, bucket) for reveal in reveals]),
            {
                **record,
                "key": source.index.name(index),
            },
        )

    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        parts = [part for part in pool.map(read, range(len(source.index))) if part is not None]
    if not parts:
        places = ", ".join(public(str(path)) for path in paths)
        raise UserError(f"{places}: no sample of the split {split} can be read")
    most = max(len(pictures) for pictures, _, _ in parts)
    all_pictures = np.full((len(parts), most, *bucket, 3), 255, np.uint8)
    all_reveals = np.full((len(parts), most, *bucket), NEVER, np.uint16)
    for row, (pictures, reveals, _) in enumerate(parts):
        all_pictures[row, : len(pictures)], all_reveals[row, : len(reveals)] = pictures, reveals
    return all_pictures, all_reveals, [record for _, _, record in parts]
