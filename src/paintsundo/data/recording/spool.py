"""Rows of pictures too many for memory, kept in a temporary file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from types import TracebackType

import numpy as np
from numpy.typing import NDArray


class Spool:
    """Arrays uint8 of one shape, appended and read back by number; the file goes with the object."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._bytes = int(np.prod(shape))
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, array: NDArray[np.uint8]) -> None:
        """Add one array of the shape."""
        if array.shape != self.shape or array.dtype != np.uint8:
            raise ValueError(f"the spool holds uint8 {self.shape}, not {array.dtype} {array.shape}")
        self._file.seek(self._count * self._bytes)
        self._file.write(np.ascontiguousarray(array).data)
        self._count += 1

    def __getitem__(self, number: int) -> NDArray[np.uint8]:
        """A copy of one array."""
        if not 0 <= number < self._count:
            raise IndexError(number)
        return self._read(number, 1)[0]

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[number] for number in range(self._count))

    def all(self) -> NDArray[np.uint8]:
        """Everything, (N, *shape), in memory."""
        return self._read(0, self._count)

    def _read(self, first: int, count: int) -> NDArray[np.uint8]:
        found = np.empty((count, *self.shape), np.uint8)
        self._file.seek(first * self._bytes)
        if self._file.readinto(found.data.cast("B")) != found.nbytes:  # type: ignore[attr-defined]
            raise OSError("the temporary file was cut off")
        return found

    def close(self) -> None:
        """Give the file up."""
        self._file.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()
