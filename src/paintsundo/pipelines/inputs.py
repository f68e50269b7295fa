"""Which pictures `input=` means, and under which name each film is written."""

from __future__ import annotations

import glob
import os
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from paintsundo.conditioning.picture_file import FORMATS
from paintsundo.errors import UserError


@dataclass
class Inputs:
    """Pictures to work on.

    Attributes:
        pictures: (file, name of its output folder), sorted by file.
        skipped: names of other files in the folder.
        many: whether a folder or pattern was given, so that one bad picture does not stop the others.
    """

    pictures: list[tuple[Path, str]]
    skipped: list[str] = field(default_factory=list)
    many: bool = False


def find_pictures(value: str, option: str = "input") -> Inputs:
    """Resolve a picture, a folder of pictures (those directly in it), or a glob pattern.

    A name that exists is never taken for a pattern, whatever its characters. `option` is what errors name.

    Raises:
        UserError: nothing is there, or a folder or pattern without pictures.
    """
    path = Path(value)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        what = f"the folder {value}"
    elif path.exists():
        return Inputs([(path, _folder_name(path))])
    elif glob.has_magic(value):
        files = sorted(Path(match) for match in glob.glob(value, recursive=True) if os.path.isfile(match))
        what = f"the pattern {value}"
    else:
        raise UserError(f"{option}: {value} does not exist")
    suffixes = _picture_suffixes()
    pictures = [file for file in files if file.suffix.lower() in suffixes]
    if not pictures:
        raise UserError(f"{option}: {what} has no pictures")
    skipped = [file.name for file in files if file.suffix.lower() not in suffixes]
    return Inputs(list(zip(pictures, _output_names(pictures), strict=True)), skipped, many=True)


def _picture_suffixes() -> set[str]:
    Image.init()
    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}


def _folder_name(file: Path) -> str:
    # "..png" would otherwise name the output folder itself.
    return file.stem if file.stem.strip(". ") else f"picture{file.stem}"


def _output_names(files: list[Path]) -> list[str]:
    """The stem; with the suffix where stems are equal; with a number where even that is not enough.

    Names count as equal if a file system that ignores case or composes accents could confuse them.
    """
    stems = Counter(_folded(_folder_name(file)) for file in files)
    taken: set[str] = set()
    names = []
    for file in files:
        unique = stems[_folded(_folder_name(file))] == 1
        name = wanted = _folder_name(file) if unique else file.name
        number = 2
        while _folded(name) in taken:
            name = f"{wanted} {number}"
            number += 1
        taken.add(_folded(name))
        names.append(name)
    return names


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
