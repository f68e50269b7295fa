"""One run per output folder: a lock that the process's death releases."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from paintsundo.errors import UserError

NAME = ".lock"
_HELD: set[Path] = set()


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the folder of a run for this process; the first process of several takes it for all.

    A POSIX record lock: forked workers do not inherit it, so that it ends with this process however that dies.

    Raises:
        UserError: another run trains into this folder; the line names its process.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / NAME).resolve()
    # Closing a second descriptor of the file would give up this process's lock.
    if file in _HELD:
        raise UserError(f"{folder} is in use by another run of this process ({os.getpid()})")
    with file.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            owner = stream.read().strip() or "unknown"
            raise UserError(
                f"{folder} is in use by another run (process {owner}): wait for it, stop it, or choose another output"
            ) from None
        _HELD.add(file)
        try:
            stream.seek(0)
            stream.truncate()
            stream.write(f"{os.getpid()} on {socket.gethostname()}\n")
            stream.flush()
            yield
        finally:
            _HELD.discard(file)
            stream.seek(0)
            stream.truncate()
