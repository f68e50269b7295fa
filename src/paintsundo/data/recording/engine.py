"""A recording as a process: survey, canvas, views, extraction, cleaning, work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.frames import FrameProcess, FrameWriter
from paintsundo.data.process import Picture
from paintsundo.data.recording import border, canvas, similarity, video, views, work
from paintsundo.data.recording.camera import CameraExtractor
from paintsundo.data.recording.canvas import Corners, Home
from paintsundo.data.recording.extraction import Extractor
from paintsundo.data.recording.plateaus import Rules
from paintsundo.data.recording.spool import Spool
from paintsundo.data.recording.timeline import Timeline
from paintsundo.data.recording.views import View
from paintsundo.data.source import Canvas, Unusable

SURVEY_SIDE = 480  # longer side of the small frames, pixels
NOISY = 3.0  # levels between neighbouring small frames: a camera
TREMBLING = 0.25  # share of the samples with a view of their own: a camera
LEAST_SAMPLES = 8
LEAST_CHANGE = 0.0004  # of the canvas, for a state of its own
DOUBT = 30.0  # mean square in levels, 33 dB, of what may be wrong in a state
LEAST_WORK = 0.01  # of the canvas: less is no drawing
FIRST_DRAWN = 0.02  # of the canvas already drawn at the beginning, with which it counts as not blank


@dataclass(frozen=True)
class Settings:
    """How recordings are read; see `configs/source/recording.yaml`."""

    box: tuple[float, float, float, float] | None = None
    begin: float = 0.0
    end: float | None = None
    samples: int = 1000
    states: int = 1000
    threshold: float = 10.0
    settle: int = 3
    occlusion: float = 0.5
    follow: bool = True
    unfinished: str = "prepend"
    quality: int | None = None


def process_of(path: Path, canvas_: Canvas, settings: Settings, record: Mapping[str, Any]) -> FrameProcess:
    """The drawing process a video file shows. Raises Unusable with the reason.

    Args:
        path: the file.
        canvas_: size and shape of the states.
        settings: how to read it.
        record: what is known of the file, as of `record_of`.
    """
    with _one_thread():
        recording = video.probe(path)
        numbers = _chosen(recording, settings)
        with _survey(recording, numbers) as frames:
            numbers = numbers[: len(frames)]  # a file may break off
            noise = _noise(frames)
            home = _home(frames, recording, settings, noise)
            seen, window = views.track(frames, home) if settings.follow else _still(frames, home)
        return _extracted(recording, numbers, home, seen, window, noise, canvas_, settings, record)


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV on one thread and with one seed: the same file gives the same bytes everywhere."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    cv2.setRNGSeed(0)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _chosen(recording: video.Recording, settings: Settings) -> NDArray[np.intp]:
    numbers = recording.chosen(settings.samples)
    end = np.inf if settings.end is None else settings.end
    if settings.begin > 0 or np.isfinite(end):
        within = np.flatnonzero((recording.times >= settings.begin) & (recording.times <= end))
        part = video.Recording(
            recording.path,
            recording.size,
            recording.times[within],
            recording.stamps[within],
            np.flatnonzero(np.isin(within, recording.keys)),
        )
        numbers = within[part.chosen(settings.samples)] if len(within) else within
    if len(numbers) < LEAST_SAMPLES:
        raise Unusable(f"too short: {len(numbers)} frames")
    return numbers


def _survey(recording: video.Recording, numbers: NDArray[np.intp]) -> Spool:
    """All samples small. Frames lost to damage repeat the one before, so that numbers agree."""
    frames: Spool | None = None
    place = 0
    for number, picture in video.read(recording, numbers.tolist(), SURVEY_SIDE):
        if frames is None:
            frames = Spool(picture.shape)
        while numbers[place] <= number:  # lost ones and this one
            frames.append(picture)
            place += 1
            if place == len(numbers):
                break
    if frames is None or len(frames) < LEAST_SAMPLES:
        raise Unusable("too few frames can be decoded")
    return frames


def _noise(frames: Spool) -> float:
    """What changes everywhere from one sample to the next, in levels: the 60th percentile, median over samples."""
    pairs = np.unique(np.linspace(1, len(frames) - 1, 24).astype(int))
    values = [np.percentile(cv2.absdiff(frames[int(k)], frames[int(k) - 1]).max(axis=2), 60) for k in pairs]
    return float(np.median(values))


def _home(frames: Spool, recording: video.Recording, settings: Settings, noise: float) -> Home:
    if settings.box is None:
        return canvas.find(frames, round(noise))
    scale = frames.shape[1] / recording.size[1]
    left, top, width, height = settings.box
    corners = canvas.rectangle(left, top, left + width, top + height)
    if (corners < 0).any() or (corners.max(axis=0) > (recording.size[1], recording.size[0])).any():
        raise Unusable(f"the canvas given lies outside the frame of {recording.size[1]} x {recording.size[0]} pixels")
    return canvas.given(frames, corners * scale)


def _still(frames: Spool, home: Home) -> tuple[list[View], NDArray[np.uint8]]:
    shape = frames.shape[:2]
    seen = [View(similarity.identity(), 1.0, number >= home.start) for number in range(len(frames))]
    return seen, home.mask((shape[0], shape[1]))


def _scaled(matrix: similarity.Matrix, scale: float) -> similarity.Matrix:
    """A view of the small frames for frames `scale` times as large; pixels' middles are at whole numbers."""
    up = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2], [0, 0, 1]])
    return np.asarray((up @ np.vstack([matrix, [0, 0, 1]]) @ np.linalg.inv(up))[:2])


def _used(seen: Sequence[View], home: Home, camera: bool) -> list[int]:
    """Samples that show the canvas at rest: not those in the middle of a zoom, except where it never rests."""
    shown = [k for k, view in enumerate(seen) if view.shown]
    if camera:
        return shown
    kept = []
    for place, k in enumerate(shown):
        before = seen[shown[place - 1]].matrix if place else seen[k].matrix
        after = seen[shown[place + 1]].matrix if place + 1 < len(shown) else seen[k].matrix
        moving = similarity.moved(seen[k].matrix, before, home.corners) > 0.01
        going = similarity.moved(seen[k].matrix, after, home.corners) > 0.01
        if not (moving and going):
            kept.append(k)
    return kept


def _trembling(seen: Sequence[View], home: Home) -> bool:
    """Whether the view keeps changing a little, about one place, as of a camera held in the hand."""
    shown = [view.matrix for view in seen if view.shown]
    changes = [
        similarity.moved(one, other, home.corners) > 0.01 for one, other in zip(shown[1:], shown[:-1], strict=True)
    ]
    kinds = [similarity.kind(matrix) for matrix in shown]
    near = [abs(k["zoom"] - 1) < 0.1 and abs(k["degrees"]) < 6 and not k["mirrored"] for k in kinds]
    return len(changes) > 0 and float(np.mean(changes)) > TREMBLING and float(np.mean(near)) > 0.9


def _extracted(
    recording: video.Recording,
    numbers: NDArray[np.intp],
    home: Home,
    seen: list[View],
    window: NDArray[np.uint8],
    noise: float,
    canvas_: Canvas,
    settings: Settings,
    record: Mapping[str, Any],
) -> FrameProcess:
    camera = noise >= NOISY or _trembling(seen, home)
    used = _used(seen, home, camera)
    if len(used) < LEAST_SAMPLES:
        raise Unusable("the canvas is hardly ever seen")
    scale = recording.size[1] / window.shape[1]
    wide = None if camera else cv2.resize(window, recording.size[::-1], interpolation=cv2.INTER_NEAREST)
    place = {int(numbers[k]): k for k in used}
    extractor: Extractor | None = None
    timeline: Timeline | None = None
    times: list[float] = []
    corners = home.corners * scale
    for number, frame in video.read(recording, sorted(place)):
        view = seen[place[number]]
        if extractor is None or timeline is None:
            corners = _refined(frame, home, scale, camera)
            size = canvas_.dimensions(*_lengths(corners))
            if camera:
                extractor = CameraExtractor(corners, size, home.blank)
            else:
                extractor = Extractor(corners, size, home.straight)
            first, _ = extractor.see(frame, _scaled(view.matrix, scale), wide)
            timeline = Timeline(size, len(used), _blank(first) if home.blank else first)
            timeline.append(first, np.ones(size, bool))
        else:
            timeline.append(*extractor.see(frame, _scaled(view.matrix, scale), wide))
        times.append(float(recording.times[number]))
    if timeline is None or len(timeline) < LEAST_SAMPLES:
        raise Unusable("too few frames can be decoded")
    try:
        pictures = timeline.clean(_rules(settings, len(timeline)))
        extra = {
            "canvas": _box(_middle(corners, seen, scale) if camera else corners),
            "corners": np.round(corners, 2).tolist(),
            "frame": list(recording.size),
            "fps": round(recording.fps, 3),
            "duration": round(recording.duration, 3),
            "samples": len(timeline),
            "masked": round(timeline.masked, 4),
            "views": _kinds(seen, numbers, recording, home),
            "kind": "camera" if camera else "screen",
        }
        return _written(timeline, pictures, times, home, settings, record, extra, seen)
    finally:
        timeline.close()


def _refined(frame: Picture, home: Home, scale: float, camera: bool) -> Corners:
    corners = home.corners * scale
    if home.exact:
        return np.asarray(np.round(corners))
    if home.whole:
        height, width = frame.shape[:2]
        return canvas.rectangle(0, 0, width, height)
    if not home.blank:
        return np.asarray(np.round(corners)) if home.straight else corners
    return border.refine(frame, corners, 2 * scale + 1, home.straight and not camera)


def _blank(first: Picture) -> Picture:
    """A canvas of the one colour of the paper."""
    return np.broadcast_to(np.median(first.reshape(-1, 3), axis=0).astype(np.uint8), first.shape).copy()


def _lengths(corners: Corners) -> tuple[float, float]:
    """Width and height of a four-sided canvas: means of opposite sides."""
    sides = np.hypot(*(np.roll(corners, -1, axis=0) - corners).T)
    return float(sides[0] + sides[2]) / 2, float(sides[1] + sides[3]) / 2


def _box(corners: Corners) -> list[float]:
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    return [round(float(value), 2) for value in (left, top, right - left, bottom - top)]


def _middle(corners: Corners, seen: Sequence[View], scale: float) -> Corners:
    """The canvas' usual place under a trembling camera."""
    all_ = [
        (corners - 0.5) @ matrix[:, :2].T + matrix[:, 2] + 0.5
        for matrix in (_scaled(view.matrix, scale) for view in seen if view.shown)
    ]
    return np.asarray(np.median(all_, axis=0))


def _rules(settings: Settings, samples: int) -> Rules:
    return Rules(
        threshold=settings.threshold,
        settle=settings.settle,
        short=max(8, round(0.02 * samples)),
        brief=round(0.015 * samples),
        long=max(10, round(settings.occlusion * samples)),
    )


def _kinds(
    seen: Sequence[View], numbers: NDArray[np.intp], recording: video.Recording, home: Home
) -> list[dict[str, Any]]:
    """Where the view changes and to what; the first 200."""
    found: list[dict[str, Any]] = []
    before: View | None = None
    for view, number in zip(seen, numbers, strict=False):
        if not view.shown:
            if before is not None and before.shown:
                found.append({"time": round(float(recording.times[number]), 2), "shown": False})
        elif before is None or not before.shown or similarity.moved(view.matrix, before.matrix, home.corners) > 0.5:
            is_ = {name: round(value, 3) for name, value in similarity.kind(view.matrix).items()}
            is_["mirrored"] = bool(is_["mirrored"])
            found.append({"time": round(float(recording.times[number]), 2), **is_})
        before = view
    return found[:200]


def _written(
    timeline: Timeline,
    pictures: Iterator[Picture],
    times: Sequence[float],
    home: Home,
    settings: Settings,
    record: Mapping[str, Any],
    extra: dict[str, Any],
    seen: Sequence[View],
) -> FrameProcess:
    """The states worth keeping, with their work."""
    area = timeline.size[0] * timeline.size[1]
    blank, drawn = _blank(timeline.first), 0.0
    if not home.blank:
        drawn = float(canvas.different(timeline.first, blank, 30).mean())
        if drawn > FIRST_DRAWN and settings.unfinished == "refuse":
            raise Unusable(f"begins with something drawn: {drawn:.0%} of the canvas")
    counted = work.ChangedArea(blank, settings.threshold)
    least = max(4.0, LEAST_CHANGE * area)
    kept: list[tuple[int, float]] = [(0, times[0])]  # work and time of each state
    with Spool(blank.shape) as states:
        states.append(blank)
        last = None
        trusted = _trusted(timeline.doubt)
        for picture, time, sure in zip(pictures, times, trusted, strict=True):
            last = picture, time
            counted.add(picture)
            if sure and counted.total - kept[-1][0] >= least:
                states.append(picture)
                kept.append((counted.total, time))
        if last is not None and counted.total > kept[-1][0]:
            states.append(last[0])
            kept.append((counted.total, last[1]))
        if counted.total < LEAST_WORK * area:
            raise Unusable("nothing is drawn: the canvas stays the same")
        writer = FrameWriter(timeline.size, settings.quality)
        chosen = [int(k) for k in work.spread(np.array([done for done, _ in kept]), settings.states)]
        shown = [kept[k][1] for k in chosen if writer.add(states[k], kept[k][0])]
    flags = _flags(timeline, home, seen, extra, drawn > FIRST_DRAWN)
    own = {
        **record,
        "work_rule": work.rule(settings.threshold),
        "extra": {**record.get("extra", {}), **extra, "times": [round(time, 3) for time in shown], "flags": flags},
    }
    return writer.finish(**own)


def _trusted(doubt: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Samples of which little was drawn unseen, say beneath a panel; of hardly any such recording the best quarter."""
    return np.asarray(doubt <= max(DOUBT, float(np.quantile(doubt, 0.25))))


def _flags(timeline: Timeline, home: Home, seen: Sequence[View], extra: Mapping[str, Any], drawn: bool) -> list[str]:
    """What to know of the quality, in words of one kind."""
    flags = []
    if drawn:
        flags.append("begins drawn")
    if not home.blank:
        flags.append("canvas guessed")
    if timeline.masked > 0.15:
        flags.append("much covered")
    hidden = sum(not view.shown for view in seen[home.start :])
    if hidden > 0.1 * len(seen):
        flags.append("long cuts")
    if extra["kind"] == "camera":
        flags.append("camera")
    _, _, width, height = extra["canvas"]
    if width * height < timeline.size[0] * timeline.size[1]:
        flags.append("enlarged")
    return flags
