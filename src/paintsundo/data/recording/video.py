"""Reading of video files: what a file holds, and chosen frames of it, one at a time (PyAV)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.source import Unusable

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm"  # no playlist formats: those open other files
LARGEST = 8192  # pixels a side
SMALLEST = 64
MOST_FRAMES = 20_000_000  # more than three days at 60 a second


@dataclass(frozen=True)
class Recording:
    """A readable video file.

    Attributes:
        path: the file.
        size: (height, width) of a frame as shown: upright, pixels square.
        times: seconds of each frame (N,), ascending.
        stamps: the same in the file's own unit (N,).
        keys: numbers of the frames that can be decoded alone.
    """

    path: Path
    size: tuple[int, int]
    times: NDArray[np.float64]
    stamps: NDArray[np.int64]
    keys: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.times)

    @property
    def duration(self) -> float:
        """Seconds from the first to the last frame."""
        return float(self.times[-1] - self.times[0])

    @property
    def fps(self) -> float:
        """Frames a second, on average."""
        return (len(self) - 1) / self.duration if self.duration > 0 else 0.0

    def chosen(self, most: int) -> NDArray[np.intp]:
        """Numbers of at most so many frames, evenly spread over the frames of the file.

        Of long recordings only frames that can be decoded alone are taken, where there are enough of them: that is
        some hundred times faster. Screen recorders write no frames while nothing moves, so that frames are a better
        measure of time than seconds.
        """
        pool = np.arange(len(self))
        if len(self) > 8 * most and len(self.keys) >= most / 4:
            pool = self.keys
        if len(pool) <= most:
            return pool
        return pool[np.round(np.linspace(0, len(pool) - 1, most)).astype(np.intp)]


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The file and its first video stream. Raises Unusable."""
    import av

    if path.stat().st_size == 0:
        raise Unusable("the file is empty")
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{os.path.abspath(path)}", options=options, metadata_errors="ignore")
    except (av.FFmpegError, ValueError, OSError) as error:
        raise Unusable(f"not a readable video: {_reason(error)}") from error
    with container:
        streams = [stream for stream in container.streams.video if not _is_cover(stream)]
        if not streams:
            raise Unusable("the file holds no moving pictures" + (", only sound" if container.streams.audio else ""))
        stream = streams[0]
        if stream.codec_context is None:
            raise Unusable("its codec is not known")
        width, height = stream.codec_context.width, stream.codec_context.height
        if not (SMALLEST <= width <= LARGEST and SMALLEST <= height <= LARGEST):
            raise Unusable(f"frames of {width} x {height} pixels; sides may be {SMALLEST} to {LARGEST}")
        yield container, stream


def _is_cover(stream: Any) -> bool:
    return bool(getattr(stream.disposition, "name", None) and "attached_pic" in str(stream.disposition))


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)


def probe(path: Path) -> Recording:
    """Look over a file without decoding more than one frame of it. Raises Unusable with the reason."""
    import av

    stamps: list[int] = []
    keys: list[int] = []
    with _opened(path) as (container, stream):
        base = stream.time_base
        try:
            for packet in container.demux(stream):
                stamp = packet.pts if packet.pts is not None else packet.dts
                if stamp is None or packet.size == 0 or packet.is_discard:
                    continue
                stamps.append(stamp)
                if packet.is_keyframe:
                    keys.append(stamp)
                if len(stamps) > MOST_FRAMES:
                    raise Unusable(f"more than {MOST_FRAMES} frames")
        except av.FFmpegError as error:
            if not stamps:
                raise Unusable(f"not a readable video: {_reason(error)}") from error
    if len(stamps) < 2 or base is None:
        raise Unusable("fewer than two frames")
    ordered = np.unique(np.array(stamps, np.int64))
    found = Recording(
        path,
        (1, 1),
        (ordered - ordered[0]) * float(base),
        ordered,
        np.searchsorted(ordered, np.unique(np.array(keys, np.int64))),
    )
    first = next(read(found, range(min(len(found), 8))), None)
    if first is None:
        raise Unusable("no frame can be decoded")
    return Recording(path, first[1].shape[:2], found.times, found.stamps, found.keys)  # type: ignore[arg-type]


def read(recording: Recording, numbers: Sequence[int], longest: int | None = None) -> Iterator[tuple[int, Picture]]:
    """Frames (number, uint8 (H, W, 3)) of these ascending numbers, as shown; damaged ones are left out.

    Args:
        recording: of `probe`.
        numbers: which frames.
        longest: scale them down so that their longer side has at most so many pixels.
    """
    wanted = np.asarray(numbers, np.intp)
    if not len(wanted):
        return
    only_keys = bool(np.isin(wanted, recording.keys).all()) and len(wanted) > 1
    with _opened(recording.path) as (container, stream):
        context = stream.codec_context
        context.thread_count = min(4, os.cpu_count() or 1)
        stream.thread_type = "AUTO"
        if only_keys:
            context.skip_frame = "NONKEY"
        place, shape = 0, recording.size if recording.size != (1, 1) else None
        for frame in _decoded(container, stream, recording, wanted):
            stamp = frame.pts if frame.pts is not None else frame.dts
            if stamp is None:
                continue
            while place < len(wanted) and recording.stamps[wanted[place]] < stamp:
                place += 1  # lost to damage
            if place == len(wanted):
                return
            if recording.stamps[wanted[place]] == stamp:
                picture = _shown(frame, longest)
                if shape is None:
                    shape = picture.shape[:2]
                if abs(picture.shape[1] * shape[0] / (picture.shape[0] * shape[1]) - 1) < 0.02:
                    yield int(wanted[place]), _fitted(picture, shape, longest)
                place += 1


def _decoded(container: Any, stream: Any, recording: Recording, wanted: NDArray[np.intp]) -> Iterator[Any]:
    """Frames in order, at least the wanted ones; stretches without wanted frames are jumped over."""
    import av

    owners = np.searchsorted(recording.keys, wanted, side="right") - 1  # the frame alone each one builds on
    groups = np.unique(owners[owners >= 0])
    jump = len(groups) and len(recording.keys) > 4 * len(groups)
    starts = [int(recording.stamps[recording.keys[group]]) for group in groups] if jump else [None]
    ends = [int(recording.stamps[wanted[owners == group].max()]) for group in groups] if jump else [None]
    for start, end in zip(starts, ends, strict=True):
        try:
            if start is not None:
                container.seek(start, stream=stream)
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except (av.error.InvalidDataError, av.error.ExternalError):
                    continue
                for frame in frames:
                    if start is None or (frame.pts is not None and frame.pts >= start):
                        yield frame
                if end is not None and any(frame.pts is not None and frame.pts >= end for frame in frames):
                    break
        except av.FFmpegError:
            if start is None:
                return


def _shown(frame: Any, longest: int | None) -> Picture:
    """A decoded frame as RGB, upright."""
    width, height = frame.width, frame.height
    aspect = frame.sample_aspect_ratio if hasattr(frame, "sample_aspect_ratio") else None
    wide = width * float(aspect) if aspect and 0.2 < aspect < 5 else width
    scale = min(1.0, longest / max(wide, height)) if longest else 1.0
    width, height = max(1, round(wide * scale)), max(1, round(height * scale))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def _fitted(picture: Picture, shape: tuple[int, ...], longest: int | None) -> Picture:
    """A picture at the size of the recording's others, for files whose resolution changes."""
    import cv2

    scale = min(1.0, longest / max(shape[:2])) if longest else 1.0
    height, width = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))
