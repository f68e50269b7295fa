"""The tagger of a process that draws, loaded when the first picture without tags comes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from paintsundo.data.making.settings import tagger_folder

if TYPE_CHECKING:
    from paintsundo.conditioning.tagger import Tagger


def tags_of(tagger: str, pictures: Sequence[NDArray[np.uint8]]) -> list[list[str]]:
    """The tags of pictures (h, w, 3) by a tagger named as in `tagger=`."""
    return _loaded(tagger).tags_of(pictures) if pictures else []


@lru_cache(1)
def _loaded(tagger: str) -> Tagger:
    from paintsundo.conditioning.tagger import Tagger  # imports what only few builds need

    return Tagger.from_pretrained(tagger_folder(tagger), threads=1)
