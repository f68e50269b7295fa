"""Null baselines: films made without any model. A measure is worth what it says beside these.

All return uint8 (N,H,W,3), blank → finished. Those of two pictures take the first and last frame of the film
they are compared with; those of keyframes take its keyframes in the order of time.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.metrics.films import Film, as_float
from paintsundo.metrics.stage_order import gradient

Picture = NDArray[np.uint8]


def _blend(first: Picture, last: Picture, part: float) -> Picture:
    mixed = first.astype(np.float32) * (1 - part) + last.astype(np.float32) * part
    return np.round(mixed).astype(np.uint8)


def _reveal(first: Picture, last: Picture, order: NDArray[np.float64], frames: int) -> Film:
    """Film in which pixel p turns from first to last at normalised time order[p] (h,w) ∈ (0,1]."""
    times = np.linspace(0.0, 1.0, frames)
    return np.stack([np.where((order <= t)[..., None], last, first) for t in times])


def cross_fade(first: Picture, last: Picture, frames: int) -> Film:
    """One picture blended linearly into the other: perfect progress, no drawing."""
    return np.stack([_blend(first, last, t) for t in np.linspace(0.0, 1.0, frames)])


def faded_keyframes(keyframes: Sequence[Picture], positions: Sequence[int]) -> Film:
    """Keyframes at frame numbers `positions` (first is 0), faded linearly into each other."""
    parts = [
        cross_fade(a, b, end - start + 1)[:-1]
        for a, b, start, end in zip(keyframes[:-1], keyframes[1:], positions[:-1], positions[1:], strict=True)
    ]
    return np.concatenate([*parts, keyframes[-1][None]])


def nearest_keyframe_hold(keyframes: Sequence[Picture], positions: Sequence[int]) -> Film:
    """Every frame the keyframe nearest in time: abrupt, but the whole difference jumps at once."""
    numbers = np.arange(positions[-1] + 1)
    nearest = np.abs(numbers[:, None] - np.asarray(positions)[None]).argmin(axis=1)
    return np.stack([keyframes[k] for k in nearest])


def random_tiles(first: Picture, last: Picture, frames: int, tiles: int = 16, seed: int = 0) -> Film:
    """Square tiles (`tiles` along the longer side) uncovered in random order: local and abrupt, without any
    stages."""
    height, width = last.shape[:2]
    side = max(1, -(-max(height, width) // tiles))
    rows, columns = -(-height // side), -(-width // side)
    order = np.random.default_rng(seed).permutation(rows * columns).reshape(rows, columns) + 1.0
    full = (order / order.size).repeat(side, axis=0).repeat(side, axis=1)[:height, :width]
    return _reveal(first, last, full, frames)


def wipe(first: Picture, last: Picture, frames: int) -> Film:
    """Uncovered row by row from the top: local and abrupt, without any stages."""
    height, width = last.shape[:2]
    return _reveal(first, last, np.repeat((np.arange(height) + 1.0)[:, None] / height, width, axis=1), frames)


def blur_to_sharp(first: Picture, last: Picture, frames: int) -> Film:
    """The first frame, then the finished picture from very blurred to sharp: coarse to fine, nowhere
    local."""
    widest = max(last.shape[:2]) / 4
    sigmas = widest * (1 - np.linspace(0.0, 1.0, frames - 1)) ** 2
    return np.stack([first, *(_blurred(last, sigma) for sigma in sigmas)])


def _blurred(picture: Picture, sigma: float) -> Picture:
    if sigma <= 0.1:
        return picture
    # A wide blur leaves nothing that a small copy would not hold.
    height, width = picture.shape[:2]
    factor = max(1.0, sigma / 3)
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    small = cv2.GaussianBlur(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), (0, 0), sigma / factor)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def edges_then_colour(first: Picture, last: Picture, frames: int) -> Film:
    """Heuristic painter: dark edges of the picture along the canvas in the first half, then colour area by
    area."""
    pixels = as_float(last)
    strength = gradient(cv2.GaussianBlur(pixels, (0, 0), 1.0))
    line = strength > max(0.04, float(np.quantile(strength, 0.9)) / 2)
    drawing = np.where(line[..., None], (last // 3).astype(np.uint8), first)
    height, width = last.shape[:2]
    across = np.add.outer(np.arange(height) + 1.0, np.arange(width) + 1.0)
    across /= across.max()
    half = max(2, frames // 2)
    inked = _reveal(first, drawing, across, half)
    # Areas in the order of their quantised colour, inside a colour along the diagonal: paint after paint.
    levels = (last // 64).astype(np.int64) @ np.array([16, 4, 1])
    order = np.unique(levels * 1.0 + across * 0.999, return_inverse=True)[1].reshape(height, width) + 1.0
    return np.concatenate([inked, _reveal(inked[-1], last, order / order.max(), frames - half + 1)[1:]])


def stroke_rendering(first: Picture, last: Picture, frames: int, seed: int = 0) -> Film:
    """Classic painterly rendering after Hertzmann (1998), with straight strokes: brushes from large to small,
    along the edge tangent, where the canvas is still wrong; the finest brush uncovers the picture itself. No
    stages."""
    rng = np.random.default_rng(seed)
    canvas, strokes = first.copy(), []
    longest = max(last.shape[:2])
    for radius in [r for r in (longest // 16, longest // 32, longest // 64) if r >= 2]:
        reference = cv2.GaussianBlur(last, (0, 0), radius / 2)
        grey = cv2.cvtColor(reference, cv2.COLOR_RGB2GRAY).astype(np.float32)
        angle = np.arctan2(cv2.Sobel(grey, cv2.CV_32F, 0, 1), cv2.Sobel(grey, cv2.CV_32F, 1, 0)) + np.pi / 2
        wrong = np.abs(reference.astype(np.int16) - canvas).max(axis=-1) > 24
        points = [
            (y, x)
            for y in range(radius // 2, last.shape[0], radius)
            for x in range(radius // 2, last.shape[1], radius)
            if wrong[y, x]
        ]
        for index in rng.permutation(len(points)):
            y, x = points[index]
            dx, dy = 2 * radius * np.cos(angle[y, x]), 2 * radius * np.sin(angle[y, x])
            ends = (round(x - dx), round(y - dy)), (round(x + dx), round(y + dy))
            strokes.append((ends, tuple(int(c) for c in reference[y, x]), 2 * radius))
            cv2.line(canvas, *ends, strokes[-1][1], 2 * radius, cv2.LINE_AA)
    coarse = max(2, round(frames * 0.7))
    film, canvas, done = [first], first.copy(), 0
    for frame in range(1, coarse):
        until = round(len(strokes) * frame / (coarse - 1))
        for ends, colour, width in strokes[done:until]:
            cv2.line(canvas, *ends, colour, width, cv2.LINE_AA)
        done = until
        film.append(canvas.copy())
    return np.concatenate([np.stack(film), random_tiles(canvas, last, frames - coarse + 1, 32, seed)[1:]])


TWO_PICTURES: dict[str, Callable[[Picture, Picture, int], Film]] = {
    "cross_fade": cross_fade,
    "random_tiles": random_tiles,
    "wipe": wipe,
    "blur_to_sharp": blur_to_sharp,
    "edges_then_colour": edges_then_colour,
    "stroke_rendering": stroke_rendering,
}
KEYFRAMES: dict[str, Callable[[Sequence[Picture], Sequence[int]], Film]] = {
    "faded_keyframes": faded_keyframes,
    "nearest_keyframe_hold": nearest_keyframe_hold,
}


def null_baselines(film: Film, positions: Sequence[int] | None = None) -> dict[str, Film]:
    """Every null baseline of a film's own first and last frame and of its own keyframes, at its own length.

    positions: frame numbers of the keyframes, first and last frame included; None leaves the keyframe
    baselines out.
    """
    made = {name: make(film[0], film[-1], len(film)) for name, make in TWO_PICTURES.items()}
    if positions is not None:
        keyframes = [film[p] for p in positions]
        made |= {name: make(keyframes, positions) for name, make in KEYFRAMES.items()}
    return made
