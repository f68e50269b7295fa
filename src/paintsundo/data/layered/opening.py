"""Opening a layered file: its format, its dialect, and whether we show what its program showed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from paintsundo.data.layered import krita, openraster, photoshop
from paintsundo.data.layered.agreement import Agreement, agreement, merged_pictures
from paintsundo.data.layered.colours import to_srgb
from paintsundo.data.layered.compositing import Flattening, in_bytes, over_white
from paintsundo.data.layered.document import Document
from paintsundo.data.layered.limits import Limits
from paintsundo.data.source import Unusable

READERS: dict[str, Callable[[BinaryIO, Limits], Document | list[Document]]] = {
    ".ora": openraster.read,
    ".kra": krita.read,
    ".psd": photoshop.read,
    ".psb": photoshop.read,
}
SUFFIXES = frozenset(READERS)


@dataclass(frozen=True)
class Opened:
    """A document with its finished picture.

    Attributes:
        document: the layers, in the dialect that fits best.
        picture: (H, W, 3) on white, sRGB: the program's own flattened picture where the file has one, otherwise ours.
        ours: our picture, likewise.
        agreement: of our picture with the program's; None: the file has none.
    """

    document: Document
    picture: NDArray[np.uint8]
    ours: NDArray[np.uint8]
    agreement: Agreement | None


def documents(stream: BinaryIO, name: str, limits: Limits) -> list[Document]:
    """The document in each dialect that its format has. Raises Unusable."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in READERS:
        raise Unusable(f"no layered file: {suffix or 'no suffix'}")
    try:
        found = READERS[suffix](stream, limits)
    except RecursionError as error:
        raise Unusable("groups nested too deep") from error
    return found if isinstance(found, list) else [found]


def opened(stream: BinaryIO, name: str, limits: Limits) -> Opened:
    """A layered file with its finished picture.

    Dialects are tried until one gives the flattened picture in the file. Raises Unusable for what cannot be read, but
    not for a picture that differs: `Opened.agreement` says so.
    """
    best: Opened | None = None
    for document in documents(stream, name, limits):
        ours = flattened(document)
        if document.merged is None:
            return Opened(document, ours, ours, None)
        merged = document.merged()
        for theirs in merged_pictures(merged, document.profile):
            found = agreement(ours, theirs)
            if best is None or best.agreement is None or found.share > best.agreement.share:
                best = Opened(document, theirs, ours, found)
        if best is not None and best.agreement is not None and best.agreement.holds:
            break
    assert best is not None
    return best


def flattened(document: Document) -> NDArray[np.uint8]:
    """Our picture of a document on white, (H, W, 3) in sRGB. Raises Unusable."""
    picture = in_bytes(over_white(Flattening(document).canvas(), document.linear))
    return to_srgb(picture, document.profile)


def embedded(stream: BinaryIO, name: str, limits: Limits) -> NDArray[np.uint8] | None:
    """The program's flattened picture on white, (H, W, 3), or None; layers are not read. Raises Unusable."""
    document = documents(stream, name, limits)[0]
    return None if document.merged is None else merged_pictures(document.merged(), document.profile)[-1]
