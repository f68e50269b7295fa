"""Which layer was drawn when. The order of layers is depth, not time: rules say to which stage of work each belongs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from paintsundo.data.layered.document import Group, Layer, Node

THIN = 6 / 256  # lines are at most so thick, in canvas sides,
SPARSE = 0.25  # cover at most so much of the canvas,
DARK = 0.45  # and are at most so light
BY_BLEND: Mapping[str, str] = {"dark": "shading", "light": "light", "contrast": "light", "colour": "effects"}


@dataclass(frozen=True)
class Placed:
    """The stage of a layer, and the rule that says so."""

    stage: str
    rule: str


@dataclass(frozen=True)
class Rules:
    """Attributes:
    order: stages from the first to the last.
    names: of each stage, words that its layers are called by.
    """

    order: Sequence[str]
    names: Mapping[str, Sequence[str]]

    def stage(self, layer: Layer, path: Sequence[Group], look: NDArray[np.uint8]) -> Placed:
        """The stage of a layer in groups, outermost first; `look` (h, w, 4): its pixels on the canvas, straight.

        By its name, then the groups' names from the inside, then its blend mode, then whether it is made of lines.
        """
        if found := self.of_name(layer.name):
            return Placed(found, f"name {layer.name!r}")
        for group in reversed(path[1:]):
            if found := self.of_name(group.name):
                return Placed(found, f"group {group.name!r}")
        nodes: list[Node] = [layer, *reversed(path[1:])]
        for node in nodes:
            found = BY_BLEND.get(node.blend.kind, "")
            if found in self.order:
                return Placed(found, f"blend mode {node.blend.name}")
        if "line" in self.order and is_line_work(look):
            return Placed("line", "thin dark lines")
        return Placed("flats" if "flats" in self.order else self.order[0], "no other rule")

    def of_name(self, name: str) -> str | None:
        """The stage whose words a name has, or None; of several the one whose word comes last in the name."""
        best: tuple[int, int, str] | None = None
        for stage, words in self.names.items():
            for match in _pattern(tuple(words)).finditer(name) if words and stage in self.order else ():
                place = (match.start(), match.end() - match.start(), stage)
                best = place if best is None or place[:2] > best[:2] else best
        return best[2] if best else None


@lru_cache(maxsize=64)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Latin and Cyrillic words begin where a word begins; others stand anywhere."""
    parts = []
    for word in sorted(words, key=len, reverse=True):
        begins = r"(?<![^\W\d_])" if ord(word[0]) < 0x530 else ""
        parts.append(begins + re.escape(word))
    return re.compile("|".join(parts), re.IGNORECASE)


def is_line_work(look: NDArray[np.uint8]) -> bool:
    """Whether pixels (h, w, 4) on the canvas are thin, sparse and dark."""
    mask = look[..., 3] > 96
    share = float(mask.mean())
    if not 0.0003 < share < SPARSE:
        return False
    lightness = look[..., :3][mask].mean() / 255
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    filled = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    depth = ndimage.distance_transform_edt(np.pad(filled, 1))[1:-1, 1:-1][filled]
    return lightness < DARK and 2 * float(np.quantile(depth, 0.9)) <= max(2.5, THIN * look.shape[0])
