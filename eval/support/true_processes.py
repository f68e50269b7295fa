"""The true processes of a data set, as the evaluations take them: the same ones in the same order every time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from paintsundo.data.index import read_index
from paintsundo.data.process import DrawingProcess
from paintsundo.data.process_source import ProcessSource
from paintsundo.errors import UserError

_UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class TrueProcess:
    """A process of a test set: `name` for files, unique in the set; `group`, the set its source file came from."""

    name: str
    group: str
    process: DrawingProcess

    @property
    def subject(self) -> str:
        """What is drawn; intervals are taken over subjects."""
        return self.process.subject or self.name


def true_processes(dataset: str | Path, limit: int | None = None, split: str | None = None) -> Iterator[TrueProcess]:
    """The processes of a data set, read one by one; `limit`: so many of them, spread evenly over the set.

    Raises UserError: no data set, or no process of that split in it.
    """
    index = read_index(dataset)
    if split is not None:
        index = index.of_split(split)
    if len(index) == 0:
        raise UserError(f"{dataset}: no processes{'' if split is None else f' of the split {split}'} in it")
    if limit is not None and limit < 1:
        raise UserError(f"limit={limit}: at least 1")
    count = len(index) if limit is None else min(limit, len(index))
    source, seen = ProcessSource(index), set()
    for number in np.floor(np.arange(count) * len(index) / count).astype(int).tolist():
        name = _UNSAFE.sub("-", str(index.keys[number]))
        while name in seen:
            name += "+"
        seen.add(name)
        process = source.process(number)
        yield TrueProcess(name, process.source.partition("/")[0] or "unknown", process)
