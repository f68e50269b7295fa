"""How well a drawing process extracted from a recording agrees with the truth.

True steps. Work is counted by the rule that recordings are extracted by, but on the true process instead of the film:
in the order of the process, at all works that the film shows, the area is added up whose Lab distance from when it
last counted exceeds 10, at the extracted size. True step of a state = 999 (1 - area until then / all area). What is
undone and done again does not count twice.

Matching. An extracted state belongs to the frame shown at the time that the process names for it (`extra["times"]`): no
content is looked at. Where a process names no times, states are matched by their operation step.

Measures, each over the extracted states of one recording, blank ones included:
  iou        intersection over union of the found canvas and the true one, in the home view
  psnr       mean PSNR in dB (each at most 50) between a state and the true canvas of the frame it belongs to
  good       share of the states with at least 30 dB so
  psnr_step  mean PSNR between `state_at_step(s)` and the last true canvas whose true step is at least s, s = 0, 10 …
             999: errors of content and of steps together
  psnr_best  mean PSNR to whichever true canvas fits best: errors of content alone
  psnr_colour as `psnr`, after one gain and offset for each colour channel of the whole film (cameras)
  step_error mean |operation step - true step of the frame it belongs to|, of 1000
  step_best  as before, with the true step of the best-fitting canvas (of those within 0.2 dB the nearest in step)
  covered    share of the different true canvases with an extracted state within 10 steps
  ceiling    psnr of the film's own pixels under the true canvas box, where nothing hides them: the codec's losses
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.frames import FrameProcess
from support.recording_kit import Truth

CHANGED = 10.0  # Lab distance
MOST_PSNR = 50.0
GOOD_PSNR = 30.0
NEAR_STEPS = 10.0
BEST_WITHIN = 0.2  # dB
JUMP = 20.0  # seconds of film
Picture = NDArray[np.uint8]  # (H, W, 3)


@dataclass
class TrueStates:
    """The different canvases of a film in the process's order: `states` (N, H, W, 3) and their `steps` (N,).

    `of_frame` (F,): which of them each frame shows.
    """

    states: NDArray[np.uint8]
    steps: NDArray[np.float64]
    of_frame: NDArray[np.int64]


def lab(picture: Picture) -> NDArray[np.float32]:
    """CIE Lab, L 0 … 100, of an sRGB picture."""
    return cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """To (height, width)."""
    if picture.shape[:2] == size:
        return picture
    smaller = size[0] < picture.shape[0]
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def true_states(truth: Truth, size: tuple[int, int]) -> TrueStates:
    """The true canvases of a film at a size (height, width), with their steps. What only cards show does not count."""
    shown = truth.cards < 1
    works = np.unique(truth.works[shown])
    states: list[Picture] = []
    areas: list[float] = []
    number_of: dict[float, int] = {}
    area, counted = 0.0, np.empty(0)
    for work in works:
        state = resized(truth.process.state(float(work)), size)
        if not states:
            counted = lab(state)
        if not states or (state != states[-1]).any():
            now = lab(state)
            changed = np.linalg.norm(now - counted, axis=2) > CHANGED
            counted[changed] = now[changed]
            area += float(changed.sum())
            states.append(state)
            areas.append(area)
        number_of[float(work)] = len(states) - 1
    seen = np.maximum.accumulate(np.where(shown, np.arange(len(shown)), 0))  # under a card, what was seen before
    of_frame = np.array([number_of.get(float(truth.works[k]), 0) for k in seen])
    return TrueStates(np.stack(states), 999 * (1 - np.array(areas) / max(1.0, area)), of_frame)


def psnr(one: Picture, other: Picture) -> float:
    """dB, at most `MOST_PSNR`."""
    error = float(np.mean((one.astype(np.float32) - other.astype(np.float32)) ** 2))
    return min(MOST_PSNR, 10 * np.log10(255**2 / max(error, 1e-9)))


def iou(found: Any, truth: Truth) -> float:
    """`found`: left, top, width, height, or four corners x, y, in pixels of the frame. 0 where nothing was found."""
    if found is None:
        return 0.0
    values = np.array(found, np.float32)

    def corners(box: Any) -> NDArray[np.float32]:
        left, top, width, height = box
        right, bottom = left + width, top + height
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)

    one = corners(values) if values.shape == (4,) else values.reshape(4, 2)
    one, other = cv2.convexHull(one)[:, 0], truth.home.astype(np.float32)
    shared, _ = cv2.intersectConvexConvex(one, other)
    return float(shared / (cv2.contourArea(one) + cv2.contourArea(other) - shared))


def ceiling(truth: Truth, true: TrueStates) -> float | None:
    """Mean PSNR of about 40 of the film's own frames under the true box; None where the canvas is never free."""
    free = np.flatnonzero(truth.at_home() & (truth.hidden < 0.003))
    if len(free) == 0:
        return None
    wanted = np.unique(free[np.linspace(0, len(free) - 1, 40).astype(int)])
    height, width = size = true.states.shape[1:3]
    sides = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    scale = max(1.0, min(truth.box[2] / width, truth.box[3] / height))
    large = (round(width * scale), round(height * scale))
    sides = sides * np.float32([large[0] / width, large[1] / height]) - np.float32(0.5)
    matrix = cv2.getPerspectiveTransform((truth.home - 0.5).astype(np.float32), sides)
    found = []
    for number, frame in _at(truth, wanted):
        part = cv2.warpPerspective(frame, matrix, large)
        found.append(psnr(resized(part, size), true.states[true.of_frame[number]]))
    return float(np.mean(found))


def _at(truth: Truth, numbers: NDArray[np.int64]) -> Iterator[tuple[int, Picture]]:
    """Frames of the film by their ascending numbers in the truth; long ways are jumped."""
    with av.open(str(truth.path)) as film:
        stream = film.streams.video[0]
        coming, now = film.decode(stream), 0.0
        for number in numbers:
            time = float(truth.times[number])
            if time > now + JUMP:
                film.seek(int(time / stream.time_base), stream=stream)
                coming = film.decode(stream)
            for frame in coming:
                now = float(frame.time)
                if now > time - 1e-3:
                    yield int(number), frame.to_ndarray(format="rgb24")
                    break


def _best(state: Picture, true: TrueStates, small: NDArray[np.float32], step: float) -> tuple[float, float]:
    """(PSNR, true step) of the true canvas that fits a state best; `small` (N, h, w, 3): the true ones, reduced."""
    shape = small.shape[1:3]
    rough = ((small - resized(state, (shape[0], shape[1])).astype(np.float32)) ** 2).mean(axis=(1, 2, 3))
    near = np.argsort(rough)[:24]
    values = np.array([psnr(state, true.states[k]) for k in near])
    alike = near[values >= values.max() - BEST_WITHIN]
    return float(values.max()), float(true.steps[alike[np.argmin(np.abs(true.steps[alike] - step))]])


def score(truth: Truth, process: FrameProcess) -> dict[str, Any]:
    """All measures of one extracted process; see the top of this file."""
    size = process.size
    true = true_states(truth, size)
    works = np.asarray(process.works)
    steps = 999 * (1 - works)
    times = process.extra.get("times")
    if times is not None and len(times) == len(works):
        matched = true.of_frame[[truth.frame_at(float(time)) for time in times]]
    else:
        matched = np.abs(true.steps[None] - steps[:, None]).argmin(axis=1)
    reduced = (max(1, size[0] // 6), max(1, size[1] // 6))
    small = np.stack([resized(state, reduced) for state in true.states]).astype(np.float32)
    by_time, best, best_steps = [], [], []
    sums = np.zeros((5, 3))
    for k in range(len(works)):
        state = process.frame(k)
        there = true.states[matched[k]]
        by_time.append(psnr(state, there))
        value, step = _best(state, true, small, float(steps[k]))
        best.append(max(value, by_time[-1]))
        best_steps.append(step)
        x, y = (resized(picture, reduced).reshape(-1, 3).astype(np.float64) for picture in (state, there))
        sums += [x.sum(0), y.sum(0), (x * x).sum(0), (x * y).sum(0), np.full(3, len(x))]
    grid = np.append(np.arange(0, 999, 10), 999)
    last = [int(np.flatnonzero(true.steps >= step - 0.5)[-1]) for step in grid]  # works hold from state to state
    by_step = [psnr(process.state_at_step(int(s)), true.states[k]) for s, k in zip(grid, last, strict=True)]
    gaps = np.abs(true.steps[:, None] - true.steps[matched][None]).min(axis=1)
    return {
        "iou": iou(process.extra.get("corners", process.extra.get("canvas")), truth),
        "psnr": float(np.mean(by_time)),
        "good": float(np.mean(np.array(by_time) >= GOOD_PSNR)),
        "psnr_step": float(np.mean(by_step)),
        "psnr_best": float(np.mean(best)),
        "psnr_colour": _fitted(process, true, matched, sums),
        "step_error": float(np.abs(steps - true.steps[matched]).mean()),
        "step_best": float(np.abs(steps - best_steps).mean()),
        "covered": float((gaps <= NEAR_STEPS).mean()),
        "ceiling": ceiling(truth, true),
        "states": len(works),
        "true_states": len(true.states),
        "timed": times is not None and len(times) == len(works),
    }


def _fitted(process: FrameProcess, true: TrueStates, matched: NDArray[np.int64], sums: NDArray[np.float64]) -> float:
    """Mean PSNR after the gain and offset of each channel that fit best; about 60 states."""
    x, y, xx, xy, n = sums
    gain = (n * xy - x * y) / np.maximum(n * xx - x * x, 1e-9)
    offset = (y - gain * x) / n
    values = []
    for k in np.unique(np.linspace(0, len(process) - 1, 60).astype(int)):
        moved = np.clip(process.frame(int(k)) * gain + offset, 0, 255)
        values.append(psnr(moved.astype(np.uint8), true.states[matched[k]]))
    return float(np.mean(values))
