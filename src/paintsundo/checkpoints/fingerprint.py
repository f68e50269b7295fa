"""SHA-256 of checkpoint files, for the record and to tell one model from another in the same place."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from paintsundo.file_hashes import file_hash

_HASHED = (".safetensors", ".onnx", ".csv", ".json", ".txt")


def folder_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a checkpoint, by name relative to its folder, subfolders one level deep."""
    files = sorted(
        file for file in (*folder.glob("*"), *folder.glob("*/*")) if file.is_file() and file.suffix in _HASHED
    )
    with ThreadPoolExecutor(max_workers=4) as workers:
        hashes = list(workers.map(file_hash, files))
    return {file.relative_to(folder).as_posix(): value for file, value in zip(files, hashes, strict=True)}


def combined(hashes: dict[str, str]) -> str:
    """One hash for all of a checkpoint's files."""
    text = "\n".join(f"{name} {value}" for name, value in sorted(hashes.items()))
    return hashlib.sha256(text.encode()).hexdigest()
