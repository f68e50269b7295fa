"""What to build from: single files, folders and archives, with what is known about each file.

An `index.jsonl` beside the files (or inside an archive) may give, per line, {"file", "subject", "tags",
"source", "licence", "author"}; without it the file name is the subject. Nothing is opened that is no regular file
inside the input: what is refused is listed with its reason.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from paintsundo.data.archives import Found, is_archive, members, size_reason
from paintsundo.data.source import Item
from paintsundo.errors import UserError

INDEX = "index.jsonl"
LARGEST_INDEX = 1 << 30
_RECORD = ("subject", "tags", "source", "licence", "author")


@dataclass
class Listing:
    """The items of an input, in an order that mixes sets but is always the same, and the names and reasons of files
    that may not be used, by name.
    """

    items: list[Item] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


def list_inputs(
    path: Path,
    suffixes: Collection[str],
    sets: Iterable[str] = (),
    pattern: str | None = None,
    largest: int | None = None,
    links: bool = False,
    unpacked: Path | None = None,
    without: Path | None = None,
    **known: str | None,
) -> Listing:
    """All files of these suffixes under `path`.

    Args:
        sets: keep only files whose record names one of these sets (the part of "source" before a slash).
        pattern: keep only files, and archives, whose path below a folder matches it, as in "photos/*.jpg".
        largest: bytes a file may have.
        links: follow links that lead out of the folder.
        unpacked: where what compressed tars hold is put; None keeps it in memory.
        without: a folder to leave out.
        known: "licence" and "author" of files whose index gives none.

    Raises UserError when there is no such input, or its index is damaged.
    """
    wanted = set(suffixes)
    records: dict[str, dict[str, Any]] = {}
    files: dict[str, Found] = {}
    listing = Listing()
    for found in _found(path, wanted, pattern, largest, links, unpacked, without):
        name = str(PurePosixPath(found.name))
        if not _is_text(found.name):
            listing.refused.append((found.name.encode(errors="backslashreplace").decode(), "its name is no text"))
        elif found.reason or found.content is None:
            listing.refused.append((found.name, found.reason))
        elif PurePosixPath(name).name == INDEX:
            folder = PurePosixPath(name).parent
            for record in _index(found, path):
                records[str(folder / record["file"])] = record
        else:
            if name in files:
                listing.refused.append((found.name, "another file after it has the same name"))
            files[name] = found
    chosen = set(sets)
    for name, found in files.items():
        line = records.get(name, {})
        record = {key: line[key] for key in _RECORD if key in line}
        record.setdefault("subject", PurePosixPath(name).stem)
        record.setdefault("source", found.name)
        for key, value in known.items():
            if value and not record.get(key):
                record[key] = value
        if not chosen or record["source"].split("/")[0] in chosen:
            assert found.content is not None
            listing.items.append(Item(found.name, found.content, record))
    listing.items.sort(key=lambda item: hashlib.sha256(item.name.encode()).hexdigest())
    listing.refused.sort()
    return listing


def read_items(path: Path, suffixes: Collection[str], sets: Iterable[str] = ()) -> list[Item]:
    """The items of `list_inputs`. Raises UserError when there are none."""
    items = list_inputs(path, suffixes, sets).items
    if not items:
        raise UserError(f"input {path} holds no {' / '.join(sorted(suffixes))} files")
    return items


def stamp(path: Path, suffixes: Collection[str], without: Path | None = None) -> str:
    """A digest of names, sizes and times of change: equal as long as nobody touches the input.

    Raises UserError when there is no such input.
    """
    digest = hashlib.sha256()
    for name, _, status in _files(path, set(suffixes), without):
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _files(path: Path, suffixes: set[str], without: Path | None) -> Iterator[tuple[str, Path, os.stat_result]]:
    """(path below the input, file, its own status) of wanted files, archives directly in a folder, and links to
    folders.
    """
    try:
        top = path.stat()
    except OSError:
        raise UserError(f"input {path} does not exist") from None
    if not stat.S_ISDIR(top.st_mode):
        yield path.name, path, top
        return
    left_out = None if without is None else without.resolve()

    def fail(error: OSError) -> None:
        raise UserError(f"input {error.filename} cannot be read: {error.strerror}")

    for folder, folders, names in os.walk(path, onerror=fail):
        here = Path(folder)
        linked = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(
            name for name in folders if name not in linked and (left_out is None or (here / name).resolve() != left_out)
        )
        for name in sorted([*names, *linked]):
            child = here / name
            if _wanted(name, suffixes) or name in linked or (here == path and is_archive(child)):
                yield child.relative_to(path).as_posix(), child, child.lstat()


def _is_text(name: str) -> bool:
    """Whether a name can be written down: those of files may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _wanted(name: str, suffixes: set[str]) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in suffixes or path.name == INDEX


def _found(
    path: Path,
    suffixes: set[str],
    pattern: str | None,
    largest: int | None,
    links: bool,
    unpacked: Path | None,
    without: Path | None,
) -> Iterator[Found]:
    root = path.resolve()
    for name, file, _ in _files(path, suffixes, without):
        if pattern is not None and PurePosixPath(name).name != INDEX and not fnmatchcase(name, pattern):
            continue
        try:
            status = file.stat()
            if file.is_dir():
                yield Found(f"{name}/", None, "is a link to a folder")
            elif file != path and not links and file.is_symlink() and not file.resolve().is_relative_to(root):
                yield Found(name, None, "is a link out of the input folder")
            elif not stat.S_ISREG(status.st_mode):
                yield Found(name, None, "is no regular file")
            elif is_archive(file) and not _wanted(name, suffixes):
                prefix = "" if file == path else f"{file.name.split('.')[0]}/"
                for found in members(file, partial(_wanted, suffixes=suffixes), largest, unpacked):
                    whole = found.name == file.name and found.content is None
                    yield found if whole else Found(f"{prefix}{found.name}", found.content, found.reason)
            elif PurePosixPath(name).name == INDEX:
                yield Found(name, file)
            else:
                reason = size_reason(status.st_size, largest)
                yield Found(name, None if reason else file.absolute(), reason)
        except OSError as error:
            broken = file.is_symlink() and not file.exists()
            yield Found(name, None, "is a broken link" if broken else f"cannot be read: {error.strerror}")


def _index(found: Found, path: Path) -> list[dict[str, Any]]:
    item = Item(found.name, found.content or b"")
    try:
        if item.size > LARGEST_INDEX:
            raise ValueError("it is too large")
        records = [json.loads(line) for line in item.read().decode().splitlines() if line.strip()]
        for record in records:
            texts = [record["file"], *(record[key] for key in _RECORD if key != "tags" and key in record)]
            tags = record.get("tags", [])
            if not all(isinstance(text, str) and _is_text(text) for text in texts):
                raise TypeError("what it says of a file is no text")
            if not isinstance(tags, list) or not all(isinstance(tag, str) and _is_text(tag) for tag in tags):
                raise TypeError("tags are no list of words")
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: its {INDEX} is damaged ({error})") from error
    return records
