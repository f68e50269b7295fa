"""Films as infer.py writes them: FOLDER/<name>/frames/00000.png …, keyframes/00.png …"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from paintsundo.conditioning.images import crop_to
from paintsundo.conditioning.picture_file import open_picture
from paintsundo.errors import UserError
from paintsundo.metrics import keyframe_positions
from paintsundo.metrics.films import Film


@dataclass(frozen=True)
class FilmFiles:
    """One film on disk. Only frames are needed, keyframes may be missing."""

    name: str
    frames: list[Path]
    keyframes: list[Path]

    def read(self) -> Film:
        """uint8 (N,H,W,3), blank → finished. UserError where a frame is damaged or of another size."""
        pictures = [np.asarray(open_picture(path)) for path in self.frames]
        for path, picture in zip(self.frames, pictures, strict=True):
            if picture.shape != pictures[0].shape:
                raise UserError(f"{path}: {_size(picture)}, other frames of this film are {_size(pictures[0])}")
        return np.stack(pictures)

    def finished(self, height: int, width: int) -> NDArray[np.uint8] | None:
        """The picture the film was made from: keyframe 0, cropped to the film's size as the pipeline does."""
        if not self.keyframes:
            return None
        return crop_to(np.asarray(open_picture(self.keyframes[0])), width, height)

    def positions(self, keyframes: int | None = None) -> list[int] | None:
        """Frame numbers of the keyframes, whose number is counted unless given; None where they do not
        fit."""
        count = keyframes if keyframes is not None else len(self.keyframes)
        return keyframe_positions(len(self.frames), count)


def find_films(folder: Path) -> list[FilmFiles]:
    """All films directly in a folder, sorted by name, or the one film that the folder itself is.

    Raises UserError: no such folder, no film in it, or a film of fewer than two frames.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    homes = sorted(p for p in folder.iterdir() if p.is_dir())
    if (folder / "frames").is_dir():
        homes = [folder]
    films = [_film(home) for home in homes if any((home / "frames").glob("*.png"))]
    if not films:
        raise UserError(f"{folder}: no films in it; expected NAME/frames/00000.png …")
    for film in films:
        if len(film.frames) < 2:
            raise UserError(f"{film.frames[0].parent}: a film needs at least two frames")
    return films


def _film(home: Path) -> FilmFiles:
    frames, keyframes = (sorted((home / part).glob("*.png"), key=_number) for part in ("frames", "keyframes"))
    return FilmFiles(home.resolve().name, frames, keyframes)


def _number(path: Path) -> tuple[int, str]:
    return (int(path.stem) if path.stem.isdecimal() else -1, path.name)


def _size(picture: NDArray[np.uint8]) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
