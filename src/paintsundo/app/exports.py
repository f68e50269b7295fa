"""What can be downloaded of a run: films, frames, and keyframes as layers.

Films and pictures are those that `infer.py` writes for the same settings, to the byte.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from paintsundo.app.openraster import Layer, write_openraster
from paintsundo.app.state import KeyframeState
from paintsundo.errors import UserError
from paintsundo.pipelines.provenance import Provenance
from paintsundo.pipelines.writers import WRITERS, whole


@dataclass(frozen=True)
class Material:
    """The finished parts of a run.

    Attributes:
        keyframes: PNG files, finished … blank.
        names: what each keyframe is, for people (`keyframe_name`).
        frames: PNG files, blank … finished; empty before the film is made.
        fps: frames per second.
        provenance: by what they were made.
        beside: other files that go into the zip: prompt, record.
        film: the finished `film.mp4`, if there is one.
    """

    keyframes: Sequence[Path]
    names: Sequence[str]
    frames: Sequence[Path]
    fps: float
    provenance: Provenance
    beside: Sequence[Path] = field(default_factory=tuple)
    film: Path | None = None

    def key(self) -> str:
        """Changes with everything that an export shows."""
        files = [*self.keyframes, *self.frames, *self.beside]
        states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        told = [states, list(self.names), self.fps, self.provenance.comment]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def keyframe_name(keyframe: KeyframeState, index: int) -> str:
    """What the layer of a keyframe is called: its operation step, and that it is synthetic unless a person gave it."""
    if keyframe.origin == "picture":
        return "finished picture"
    if keyframe.origin == "blank":
        return "blank canvas"
    if keyframe.origin == "upload":
        return f"keyframe {index} (uploaded)"
    return f"operation step {keyframe.operation_step} (synthetic)"


def export(material: Material, kind: str, folder: Path) -> Path:
    """A file of one kind, made when first asked for.

    Args:
        kind: a key of `KINDS`.
        folder: where exports are kept; those of an earlier state of the run are removed from it.

    Raises:
        UserError: no such kind, or the run has not come that far.
    """
    if kind not in KINDS:
        raise UserError(f"there is no download of kind {kind!r}: choose from {', '.join(KINDS)}")
    if kind != "ora" and not material.frames:
        raise UserError("the film is not finished yet")
    if kind == "mp4" and material.film is not None and material.film.is_file():
        return material.film
    name, write = KINDS[kind]
    current = folder / material.key()
    file = current / name
    if not file.is_file():
        for stale in folder.glob("*"):
            if stale != current:
                shutil.rmtree(stale, ignore_errors=True)
        current.mkdir(parents=True, exist_ok=True)
        write(file, material)
    return file


def _film(kind: str) -> tuple[str, Callable[[Path, Material], None]]:
    name, write = WRITERS[kind]
    return name, lambda file, material: write(file, material.frames, material.fps, material.provenance)


def _zip(file: Path, material: Material) -> None:
    with whole(file) as temporary, zipfile.ZipFile(temporary, "w") as archive:  # stored: PNG is compressed already
        for picture in material.frames:
            _add(archive, f"frames/{picture.name}", picture)
        for picture in material.keyframes:
            _add(archive, f"keyframes/{picture.name}", picture)
        for other in material.beside:
            _add(archive, other.name, other)


def _add(archive: zipfile.ZipFile, name: str, file: Path) -> None:
    archive.writestr(zipfile.ZipInfo(name), file.read_bytes())


def _layers(file: Path, material: Material) -> None:
    layers = [Layer(name, picture) for name, picture in zip(material.names, material.keyframes, strict=True)]
    write_openraster(file, layers, material.provenance)


# Kind → name of the file, and what writes it.
KINDS: dict[str, tuple[str, Callable[[Path, Material], None]]] = {
    **{kind: _film(kind) for kind in WRITERS},
    "zip": ("film.zip", _zip),
    "ora": ("keyframes.ora", _layers),
}
