"""The processes to draw, one job each, as lines of text that any machine can work from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paintsundo.data.archives import Stretch, Zipped
from paintsundo.data.source import Item


@dataclass(frozen=True)
class Job:
    """One process to draw: a variant of an item, or several items on one canvas.

    Attributes:
        number: in the plan; the key of the sample.
        name: for people: the item's, or of a composition its own.
        part: which part of the data set it belongs to.
        seed: of whatever its source draws by chance.
        together: a composition.
    """

    number: int
    name: str
    part: int
    items: tuple[Item, ...]
    split: str
    variant: int
    seed: int
    together: bool = False

    def line(self) -> str:
        """The job as one line of JSON."""
        return json.dumps(
            [
                self.number,
                self.name,
                self.part,
                [[item.name, _place(item), item.record] for item in self.items],
                self.split,
                self.variant,
                self.seed,
                self.together,
            ]
        )

    @classmethod
    def of_line(cls, line: str) -> Job:
        """The job of a line."""
        number, name, part, items, *rest = json.loads(line)
        return cls(number, name, part, tuple(Item(n, _content(place), record) for n, place, record in items), *rest)

    def identity(self) -> bytes:
        """What is drawn, whatever machine its files lie on."""
        items = [[item.name, item.size, item.record] for item in self.items]
        return json.dumps([self.number, self.name, self.part, items, self.split, self.variant, self.seed]).encode()


def seed_of(seed: int, *words: object) -> int:
    """A seed of 32 bits for one use, from the seed of all."""
    return int(hashlib.sha256("/".join(map(str, (seed, *words))).encode()).hexdigest()[:8], 16)


def _place(item: Item) -> list[Any]:
    content = item.content
    if isinstance(content, Stretch):
        return ["stretch", str(content.file), content.offset, content.size]
    if isinstance(content, Zipped):
        return ["zipped", str(content.file), content.entry, content.size]
    assert isinstance(content, Path)
    return ["file", str(content)]


def _content(place: list[Any]) -> Path | Stretch | Zipped:
    kind, file, *numbers = place
    if kind == "file":
        return Path(file)
    return (Stretch if kind == "stretch" else Zipped)(Path(file), *numbers)
