"""Which file may be used for what: reserved files are never trained on, and a subject is of one split in every set."""

from __future__ import annotations

import hashlib
from functools import cache

from omegaconf import OmegaConf

from paintsundo.data.subjects import subject_key
from paintsundo.settings import config_directory

SPLITS = ("train", "validation", "test")
RESERVED = "reserved"  # of no split: the file is reserved by its name, while its subject is not
VALIDATION_SHARE = 1 / 16


def is_reserved(stem: str) -> bool:
    """Whether a file of this stem (no folder, no suffix) is kept out of all training, in every set."""
    return hashlib.sha256(stem.lower().encode()).hexdigest().endswith("0")


@cache
def frozen_subjects() -> frozenset[str]:
    """Keys of what the frozen test sets show (`subjects` of configs/test_set/*.yaml)."""
    files = sorted((config_directory() / "test_set").glob("*.yaml"))
    recipes = (OmegaConf.to_container(OmegaConf.load(file)) for file in files)
    return frozenset(key for recipe in recipes if isinstance(recipe, dict) for key in recipe.get("subjects") or ())


def is_test_subject(subject: str) -> bool:
    """Whether a subject is for tests alone, in every set: by the hash of its key, or as one of a frozen test set."""
    key = subject_key(subject)
    return is_reserved(key) or key in frozen_subjects()


def split_of(stem: str, subject: str) -> str:
    """The split of a subject, by its key alone; RESERVED where the stem forbids training on it."""
    if is_test_subject(subject):
        return "test"
    return RESERVED if is_reserved(stem) else split_of_subject(subject, VALIDATION_SHARE)


def split_of_subject(subject: str, validation: float, test: float = 0.0, seed: int | None = None) -> str:
    """The split of a subject that is not for tests alone: these shares of all keys, drawn anew by each seed."""
    key = subject_key(subject).lower()
    text = key if seed is None else f"{seed}/{key}"
    place = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 16**8
    return "validation" if place < validation else "test" if place < validation + test else "train"
