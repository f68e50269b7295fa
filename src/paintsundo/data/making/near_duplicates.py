"""Near duplicates among pictures, by perceptual hashes."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BITS = 64


def perceptual_hash(picture: NDArray[np.uint8]) -> int:
    """64 bits of the lowest frequencies of a picture (h, w, 3): pHash as imagehash computes it."""
    import imagehash

    bits = imagehash.phash(Image.fromarray(picture)).hash.ravel()
    return int("".join("1" if bit else "0" for bit in bits), 2)


class NearDuplicates:
    """Hashes kept so far. Two are near when at most `most` of their bits differ.

    Hashes that differ in at most `most` bits agree in one of `most` + 1 stretches: only those are compared.
    """

    def __init__(self, most: int) -> None:
        edges = [round(k * BITS / (most + 1)) for k in range(most + 2)]
        self._stretches = [(low, (1 << (high - low)) - 1) for low, high in pairwise(edges)]
        self._most = most
        self._kept: list[tuple[str, int]] = []
        self._places: list[defaultdict[int, list[int]]] = [defaultdict(list) for _ in self._stretches]

    def add(self, name: str, value: int) -> tuple[str, int] | None:
        """Keep a hash, unless one is near: then (name of the first such, bits that differ)."""
        keys = [value >> low & mask for low, mask in self._stretches]
        found = {place for places, key in zip(self._places, keys, strict=True) for place in places.get(key, ())}
        for place in sorted(found):
            bits = (self._kept[place][1] ^ value).bit_count()
            if bits <= self._most:
                return self._kept[place][0], bits
        for places, key in zip(self._places, keys, strict=True):
            places[key].append(len(self._kept))
        self._kept.append((name, value))
        return None
