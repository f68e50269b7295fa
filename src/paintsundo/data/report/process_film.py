"""A film of one process, with its operation step and its stages beneath."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from paintsundo.data.process import DrawingProcess, step_of_work
from paintsundo.data.report.bands import panel, stage_at, with_cursor
from paintsundo.data.report.change import state_works
from paintsundo.data.report.contact_sheet import thumbnail
from paintsundo.errors import UserError

PANEL = 110  # pixels
LEAST_WIDTH = 320
QUALITY = "18"  # constant rate factor of x264: no loss to be seen
HOLD = 1.0  # seconds for which the finished picture stays


def film_frames(process: DrawingProcess, frames: int = 150, side: int = 512) -> Iterator[NDArray[np.uint8]]:
    """Pictures uint8 (h, w, 3), sides even, from the blank canvas to the finished picture, at most so many.

    The longer side of the canvas becomes `side` pixels; beneath lies the panel of `bands.panel`.
    """
    works = state_works(process, frames)
    spans = process.spans()
    first = thumbnail(process.state(0), side)
    width = max(first.width, LEAST_WIDTH)
    width, height = width + width % 2, first.height + first.height % 2
    beneath = panel(process, works, width, PANEL)
    for number, work in enumerate(works.tolist()):
        frame = Image.new("RGB", (width, height + PANEL), "#e9ebee")
        frame.paste(thumbnail(process.state(work), side), ((width - first.width) // 2, 0))
        words = f"step {step_of_work(work)}  {stage_at(spans, work) if work else ''}"
        share = number / max(len(works) - 1, 1)
        frame.paste(with_cursor(beneath, share, words), (0, height))
        yield np.asarray(frame)


def write_film(process: DrawingProcess, path: Path, frames: int = 150, fps: float = 24, side: int = 512) -> int:
    """Write H.264 (yuv420p, mp4), the finished picture held for a second, and return the number of frames.

    Raises UserError where PyAV or its H.264 encoder is missing.
    """
    try:
        import av
    except ImportError:
        raise UserError("films are written with PyAV, which is not installed: pip install av") from None
    if "libx264" not in av.codecs_available:
        raise UserError("this build of PyAV has no H.264 encoder (libx264): pip install av gives one that has")
    count = 0
    with path.open("wb") as stream, av.open(stream, "w", format="mp4", options={"movflags": "faststart"}) as container:
        for name, value in (("title", process.source), ("copyright", process.licence), ("artist", process.author)):
            if value:
                container.metadata[name] = value
        video = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        video.pix_fmt = "yuv420p"
        video.options = {"crf": QUALITY}
        for picture in _held(film_frames(process, frames, side), round(HOLD * fps)):
            if count == 0:
                video.height, video.width = picture.shape[:2]
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            count += 1
        container.mux(video.encode())
    return count


def _held(pictures: Iterator[NDArray[np.uint8]], times: int) -> Iterator[NDArray[np.uint8]]:
    picture = None
    for picture in pictures:
        yield picture
    if picture is not None:
        yield from (picture for _ in range(times))
