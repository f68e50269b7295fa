"""SHA-256 of files; those of large ones can be begun while something else is done."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path

_begun: dict[tuple[str, int, int], Future[str]] = {}
_lock = threading.Lock()


def file_hash(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; waits for it where it was begun before and the file is still the same.

    Raises OSError: it cannot be read.
    """
    key = _key(file)
    with _lock:
        begun = _begun.get(key)
    return _hash(file) if begun is None else begun.result()


def begin_hashes(files: Iterable[Path]) -> None:
    """Let threads hash files, each its own, which end with the process; what cannot be read is told by `file_hash`."""
    for file in files:
        try:
            key = _key(file)
        except OSError:
            continue
        with _lock:
            if key in _begun:
                continue
            found = _begun[key] = Future()
        threading.Thread(target=_fulfil, args=(found, file), daemon=True).start()


def _fulfil(found: Future[str], file: Path) -> None:
    try:
        found.set_result(_hash(file))
    except OSError as error:
        found.set_exception(error)


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _key(file: Path) -> tuple[str, int, int]:
    """Another one once the file is written anew."""
    state = os.stat(file)
    return str(file.resolve()), state.st_size, state.st_mtime_ns
