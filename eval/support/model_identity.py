"""Which models figures were measured with."""

from __future__ import annotations

import os
from pathlib import Path

from paintsundo.checkpoints.fingerprint import combined, folder_hashes
from paintsundo.checkpoints.sources import resolve

PAIR = ("single_frame", "multi_frame", "tagger")


def part_folder(models: str, part: str) -> Path:
    """The folder of a part of a pair; a pair without a tagger of its own has the bundled one."""
    if part == "tagger" and os.path.isdir(models) and not os.path.isdir(os.path.join(models, part)):
        models = "bundled"
    return resolve(models, part).resolve()


def hashes_of(models: str) -> dict[str, str]:
    """Part of a pair → a hash of all of its files, 16 digits."""
    return {part: combined(folder_hashes(part_folder(models, part)))[:16] for part in PAIR}
