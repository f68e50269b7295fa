"""What to build from: single files, folders and archives of SVGs or pictures, with what is known about each
file.

An `index.jsonl` beside the files (or inside an archive) may give, per line, {"file", "subject", "tags",
"source", "licence", "author"}; without it the file name is the subject.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from paintsundo.data.source import Item
from paintsundo.errors import UserError

SVG_SUFFIXES = {".svg"}
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
INDEX = "index.jsonl"
_RECORD = ("subject", "tags", "source", "licence", "author")


def _archive_members(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if not name.endswith("/"):
                        yield name, archive.read(name)
            return
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile():
                    stream = archive.extractfile(member)
                    assert stream is not None
                    yield member.name, stream.read()
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise UserError(f"{path}: cannot be read as an archive ({error})") from error


def is_archive(path: Path) -> bool:
    """Tar (compressed or not) and zip files, by name."""
    return path.suffix in (".tar", ".zip", ".tgz") or ".tar." in path.name


def _members(path: Path, suffixes: set[str]) -> Iterator[tuple[str, bytes | Path]]:
    """Wanted files and indexes in a file, folder or archive; archives directly in a folder are opened too."""
    wanted = suffixes | {Path(INDEX).suffix}
    if path.is_dir():
        for child in sorted(path.rglob("*")):
            if child.is_file() and is_archive(child) and child.parent == path:
                for name, data in _archive_members(child):
                    if PurePosixPath(name).suffix.lower() in wanted:
                        yield f"{child.name.split('.')[0]}/{name}", data
            elif child.is_file() and child.suffix.lower() in wanted:
                yield child.relative_to(path).as_posix(), child
    elif is_archive(path):
        yield from (found for found in _archive_members(path) if PurePosixPath(found[0]).suffix.lower() in wanted)
    else:
        yield path.name, path


def _index(content: bytes | Path, path: Path) -> list[dict[str, Any]]:
    try:
        text = (content if isinstance(content, bytes) else content.read_bytes()).decode()
        records = [json.loads(line) for line in text.splitlines() if line.strip()]
        if not all(isinstance(record["file"], str) for record in records):
            raise TypeError("file is not a name")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: its {INDEX} is damaged ({error})") from error
    return records


def read_items(path: Path, suffixes: set[str], sets: Iterable[str] = ()) -> list[Item]:
    """All files of these suffixes under `path`, in an order that mixes sets but is always the same.

    `sets`: keep only files whose record names one of these sets (the part of "source" before a slash).
    Raises UserError when there is nothing to read.
    """
    if not path.exists():
        raise UserError(f"input {path} does not exist")
    records: dict[str, dict[str, Any]] = {}
    files: dict[str, bytes | Path] = {}
    for name, content in _members(path, suffixes):
        if PurePosixPath(name).name == INDEX:
            folder = PurePosixPath(name).parent
            for record in _index(content, path):
                records[str(folder / record["file"])] = record
        else:
            files[name] = content
    chosen = set(sets)
    items = []
    for name, content in files.items():
        found = records.get(str(PurePosixPath(name)), {})
        record = {key: found[key] for key in _RECORD if key in found}
        record.setdefault("subject", PurePosixPath(name).stem)
        record.setdefault("source", name)
        if not chosen or record["source"].split("/")[0] in chosen:
            items.append(Item(name, content, record))
    if not items:
        raise UserError(f"input {path} holds no {' / '.join(sorted(suffixes))} files")
    items.sort(key=lambda item: hashlib.sha256(item.name.encode()).hexdigest())
    return items
