"""Pictures, films and contact sheets on disk, each labelled as synthetic and never half written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from paintsundo.pipelines.provenance import Provenance

_FILM_THREADS = 4  # the number of slices that x264 makes; its own choice depends on the machine
_SHEET_FRAMES = 30
_SHEET_COLUMNS = 6
_SHEET_WIDTH = 192  # pixels of one picture on the contact sheet


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """Give a temporary name beside `file` to write to; it becomes `file` only if the block ends well."""
    temporary = file.with_name(f".{file.stem}.part{file.suffix}")
    try:
        yield temporary
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write a text file, UTF-8, as a whole."""
    with whole(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_png(file: Path, picture: np.ndarray | Image.Image, provenance: Provenance) -> None:
    """Write a picture, lossless."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    with whole(file) as temporary:
        image.save(temporary, format="PNG", pnginfo=provenance.png())


def write_mp4(file: Path, frames: Sequence[Path], fps: float, provenance: Provenance) -> None:
    """Write H.264 at crf 1 in yuv420p, as published. Odd sides are extended by one pixel.

    Equal frames give equal bytes, on a machine with any number of cores.
    """
    import av

    with (
        whole(file) as temporary,
        temporary.open("wb") as stream,
        av.open(stream, "w", format="mp4") as container,
    ):
        container.metadata.update(provenance.container())
        video = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        video.pix_fmt = "yuv420p"
        # x264's macroblock tree (core 165) reads memory it never wrote, and its output then differs now and then.
        video.options = {"crf": "1", "x264-params": "mbtree=0"}
        video.thread_count = _FILM_THREADS
        for index, frame in enumerate(frames):
            pixels = _even(np.asarray(Image.open(frame).convert("RGB")))
            if index == 0:
                video.height, video.width = pixels.shape[:2]
            # Left to the encoder (PyAV 18), the conversion makes its output differ now and then.
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=video.pix_fmt, threads=1)
            container.mux(video.encode(picture))
        container.mux(video.encode())


def write_gif(file: Path, frames: Sequence[Path], fps: float, provenance: Provenance) -> None:
    """Write an animated GIF that starts again at its end."""
    _animate(file, frames, fps, format="GIF", comment=provenance.comment.encode(), optimize=False)


def write_webp(file: Path, frames: Sequence[Path], fps: float, provenance: Provenance) -> None:
    """Write an animated WebP that starts again at its end."""
    _animate(file, frames, fps, format="WEBP", quality=90, method=2, exif=provenance.exif(), xmp=provenance.xmp())


def write_sheet(file: Path, frames: Sequence[Path], fps: float, provenance: Provenance) -> None:
    """Write a contact sheet: up to 30 frames, evenly spaced in time, in rows of 6."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, _SHEET_FRAMES).round().astype(int))
    pictures = [Image.open(frames[index]).convert("RGB") for index in chosen]
    height = round(_SHEET_WIDTH * pictures[0].height / pictures[0].width)
    rows = -(-len(pictures) // _SHEET_COLUMNS)
    sheet = Image.new("RGB", (_SHEET_COLUMNS * _SHEET_WIDTH, rows * height), "white")
    for index, picture in enumerate(pictures):
        position = (index % _SHEET_COLUMNS * _SHEET_WIDTH, index // _SHEET_COLUMNS * height)
        sheet.paste(picture.resize((_SHEET_WIDTH, height), Image.Resampling.LANCZOS), position)
    write_png(file, sheet, provenance)


Writer = Callable[[Path, Sequence[Path], float, Provenance], None]

# Format → name of the file in the film's folder, and what writes it.
WRITERS: dict[str, tuple[str, Writer]] = {
    "mp4": ("film.mp4", write_mp4),
    "gif": ("film.gif", write_gif),
    "webp": ("film.webp", write_webp),
    "sheet": ("contact_sheet.png", write_sheet),
}


def _animate(file: Path, frames: Sequence[Path], fps: float, **options: Any) -> None:
    pictures = (Image.open(frame).convert("RGB") for frame in frames)
    first = next(pictures)
    with whole(file) as temporary:
        first.save(temporary, save_all=True, append_images=pictures, duration=round(1000 / fps), loop=0, **options)


def _even(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
