"""A first look at every input, before anything is drawn: tags for those without, and near duplicates left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from paintsundo.data.making.crew import Crew, Death
from paintsundo.data.making.drawing import deadline, keep_small
from paintsundo.data.making.engines import workers_of
from paintsundo.data.making.folder import Folder, write
from paintsundo.data.making.near_duplicates import NearDuplicates, perceptual_hash
from paintsundo.data.making.plan import Inputs
from paintsundo.data.making.settings import BuildSettings
from paintsundo.data.making.tagging import tags_of
from paintsundo.data.source import Item

CHUNK = 32  # items looked at together, and tagged in one batch
SIDE = 256  # pixels of a preview
Look = dict[str, Any]  # "hash": 16 hex digits or None; "tags": a list or None
NOTHING: Look = {"hash": None, "tags": None}


@dataclass(frozen=True)
class Chunk:
    """Items of one part that are looked at together."""

    number: int
    part: int
    items: tuple[Item, ...]


class _Looker:
    """What a process needs to look."""

    def __init__(self, settings: BuildSettings) -> None:
        self.settings = settings
        keep_small(settings.memory_gb)

    def preview(self, part: int, item: Item) -> NDArray[np.uint8] | None:
        """The finished picture; None where it is not known or the input is unusable: drawing it will say why."""
        source = self.settings.parts[part].source
        try:
            with deadline(source.seconds if self.settings.seconds is None else self.settings.seconds):
                return source.preview(item, SIDE)
        except Exception:
            return None

    def look(self, chunk: Chunk) -> list[Look]:
        """Hashes and tags of a chunk."""
        pictures = [self.preview(chunk.part, item) for item in chunk.items]
        looks: list[Look] = [dict(NOTHING) for _ in pictures]
        if self.settings.near_duplicates is not None:
            for look, picture in zip(looks, pictures, strict=True):
                look["hash"] = None if picture is None else f"{perceptual_hash(picture):016x}"
        if self.settings.tagger != "none":
            known = [bool(item.record.get("tags")) for item in chunk.items]
            wanted = {k: picture for k, picture in enumerate(pictures) if picture is not None and not known[k]}
            for k, tags in zip(wanted, tags_of(self.settings.tagger, list(wanted.values())), strict=True):
                looks[k]["tags"] = tags
        return looks


_LOOKER: list[_Looker] = []


def _prepare(settings: BuildSettings) -> None:
    _LOOKER[:] = [_Looker(settings)]


def _work(chunk: Chunk) -> list[Look]:
    return _LOOKER[0].look(chunk)


def _place(folder: Folder, number: int) -> Path:
    return folder.work / "looks" / f"{number:06d}.json"


def _chunks(found: Inputs) -> Iterator[Chunk]:
    number = 0
    for part, items in enumerate(found.items):
        for start in range(0, len(items), CHUNK):
            yield Chunk(number, part, tuple(items[start : start + CHUNK]))
            number += 1


def looked_at(found: Inputs, settings: BuildSettings, folder: Folder, progress: bool) -> Inputs:
    """The inputs with tags where they had none, near duplicates among the refused. Goes on where it was stopped."""
    if settings.tagger == "none" and settings.near_duplicates is None:
        return found
    _look_at_all(found, settings, folder, progress)
    duplicates = NearDuplicates(settings.near_duplicates) if settings.near_duplicates is not None else None
    items: list[list[Item]] = [[] for _ in found.items]
    refused = list(found.refused)
    for chunk in _chunks(found):
        looks: list[Look] = json.loads(_place(folder, chunk.number).read_bytes())
        for item, look in zip(chunk.items, looks, strict=True):
            if duplicates is not None and look["hash"] is not None:
                same = duplicates.add(item.name, int(look["hash"], 16))
                if same is not None:
                    refused.append((item.name, f"near duplicate: {same[0]} is kept ({same[1]} of 64 bits differ)"))
                    continue
            tags = look["tags"]
            items[chunk.part].append(item if not tags else replace(item, record={**item.record, "tags": tags}))
    return replace(found, items=items, refused=refused)


def _look_at_all(found: Inputs, settings: BuildSettings, folder: Folder, progress: bool) -> None:
    total = sum(map(len, found.items))
    (folder.work / "looks").mkdir(exist_ok=True)
    with tqdm(desc="looking", total=total, unit="input", disable=not progress) as bar:

        def missing() -> Iterator[Chunk]:
            for chunk in _chunks(found):
                if _place(folder, chunk.number).is_file():
                    bar.update(len(chunk.items))
                else:
                    yield chunk

        for chunk, result in _looks(settings, missing(), min(workers_of(settings), total)):
            if isinstance(result, Death):
                ones = (replace(chunk, items=(item,)) for item in chunk.items)
                found_alone = {  # in any order
                    one.items[0].name: looks for one, looks in _looks(settings, ones, min(1, workers_of(settings)))
                }
                alone = [found_alone[item.name] for item in chunk.items]
                result = [NOTHING if isinstance(looks, Death) else looks[0] for looks in alone]
            write(_place(folder, chunk.number), json.dumps(result))
            bar.update(len(chunk.items))


def _looks(
    settings: BuildSettings, chunks: Iterator[Chunk], workers: int
) -> Iterator[tuple[Chunk, list[Look] | Death]]:
    crew: Crew[Chunk, list[Look]] = Crew(workers, _work, _prepare, (settings,))
    return crew.run(lambda: next(chunks, None))
