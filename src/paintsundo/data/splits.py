"""Which file may be used for what: reserved files are never trained on, and subjects never cross splits."""

from __future__ import annotations

import hashlib
import re

SPLITS = ("train", "validation", "test")
VALIDATION_SHARE = 1 / 16
_WORD = r"-(?:medium-light|medium-dark|light|medium|dark)(?:-skin-tone)?"
TONE = re.compile(rf"-?1f3f[b-f]|{_WORD}(?=(?:{_WORD})*$)", re.I)  # code points, or words ending a name
SKIN_TONES = ("light", "medium-light", "medium", "medium-dark", "dark")


def is_reserved(stem: str) -> bool:
    """Whether a file of this stem (no folder, no suffix) is kept out of all training, in every set."""
    return hashlib.sha256(stem.lower().encode()).hexdigest().endswith("0")


def split_of(stem: str, subject: str) -> str:
    """test for reserved files, otherwise train or validation by the subject alone."""
    if is_reserved(stem):
        return "test"
    place = int(hashlib.sha256(subject.lower().encode()).hexdigest()[:8], 16) / 16**8
    return "validation" if place < VALIDATION_SHARE else "train"


def without_tone(name: str) -> str:
    """A code point sequence or name without its skin tones: variants of one subject share it."""
    return TONE.sub("", name).strip("-_ ")


def tones(name: str) -> int:
    """How many skin tones a code point sequence or name holds."""
    return len(TONE.findall(name))
