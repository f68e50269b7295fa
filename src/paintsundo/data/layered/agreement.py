"""Whether our picture of a document is the one that its own program put into the file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paintsundo.data.layered.colours import to_srgb
from paintsundo.data.layered.compositing import in_bytes
from paintsundo.data.layered.document import Merged, as_float

LEVELS = 2  # of 255: what counts as equal
SHARE = 0.995  # of the pixels


@dataclass(frozen=True)
class Agreement:
    """How far two pictures (H, W, 3) agree.

    Attributes:
        share: of pixels no channel of which differs by more than two levels.
        largest: difference of any channel, in levels.
    """

    share: float
    largest: int

    @property
    def holds(self) -> bool:
        return self.share >= SHARE


def agreement(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> Agreement:
    """Of two pictures of equal size."""
    if ours.shape != theirs.shape:
        return Agreement(0.0, 255)
    apart = np.abs(ours.astype(np.int16) - theirs).max(axis=2)
    return Agreement(float((apart <= LEVELS).mean()), int(apart.max(initial=0)))


def merged_pictures(merged: Merged, profile: bytes | None) -> list[NDArray[np.uint8]]:
    """A file's flattened picture on white paper, (H, W, 3) in sRGB, in each way that it may be meant.

    `profile`: of the document, where the picture has no own.
    """
    values = as_float(merged.values)
    alpha = np.clip(values[..., 3:], 0, 1)
    found = [values[..., :3] * alpha + 1 - alpha]
    if merged.maybe_on_white:
        found.append(values[..., :3])
    return [to_srgb(in_bytes(np.clip(picture, 0, 1)), merged.profile or profile) for picture in found]
