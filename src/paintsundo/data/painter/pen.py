"""Lines on paper: strokes with pressure, drawn smooth, and when the pen passes where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from paintsundo.data import strokes
from paintsundo.data.painter.field import Floats
from paintsundo.data.process import Picture
from paintsundo.data.svg_paths import Polyline

SHIFT = 4  # bits of a pixel's fraction in OpenCV's drawing


@dataclass(frozen=True)
class Stroke:
    """A line (N, 2: x, y in pixels) drawn `width` pixels wide and `dark` (0 ... 1); `taper`: pixels over which it
    thins out at its ends, 0 for none."""

    points: Polyline
    width: float
    dark: float = 1.0
    taper: float = 0.0


def cover(lines: Sequence[Stroke], height: int, width: int) -> Floats:
    """How much of each pixel (H, W), 0 ... 1, the strokes cover; where they cross, the darker counts."""
    fine = 4 if max(height, width) <= 640 else 3 if max(height, width) <= 1200 else 2
    mask = np.zeros((height * fine, width * fine), np.uint8)
    for line in sorted(lines, key=lambda stroke: stroke.dark):
        points = strokes.resample(line.points, 2.0) if len(line.points) > 2 else line.points
        places = np.round(points * fine * (1 << SHIFT)).astype(np.int32)
        value = int(np.clip(round(line.dark * 255), 1, 255))
        full = line.width * fine
        if line.taper <= 0 or strokes.is_closed(points):
            cv2.polylines(mask, [places], False, value, max(1, round(full)), cv2.LINE_8, SHIFT)
            continue
        along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
        from_end = np.minimum(along, along[-1] - along)
        widths = full * np.clip(0.35 + 0.65 * from_end / line.taper, 0.35, 1)
        rounded = np.maximum(1, np.round((widths[1:] + widths[:-1]) / 2)).astype(int).tolist()
        ends = [tuple(place) for place in places.tolist()]
        for one, other, thick in zip(ends[:-1], ends[1:], rounded, strict=True):
            cv2.line(mask, one, other, value, thick, cv2.LINE_8, SHIFT)
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def drawn(canvas: Picture, covered: Floats, colour: Sequence[float] | NDArray[np.uint8]) -> Picture:
    """A canvas (H, W, 3) with a colour, or one for each pixel (H, W, 3), laid over it as far as `covered` (H, W)
    says."""
    part = covered[..., None]
    mixed = canvas * (1 - part) + np.asarray(colour, np.float32) * part
    return np.asarray(np.round(mixed).astype(np.uint8))


def drawing_order(lines: Sequence[Stroke], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Order keys (H, W) of the pixels of a mask: the length drawn when the pen passes nearest; NaN elsewhere."""
    return strokes.line_order([line.points for line in lines], mask)


def wobbled(points: Polyline, amplitude: float, length: float, rng: np.random.Generator) -> Polyline:
    """A line of points one pixel apart as a quick hand draws it: off by `amplitude` pixels (standard deviation), in
    waves of about `length` pixels."""
    if len(points) < 4 or amplitude <= 0:
        return points
    noise = rng.normal(size=(len(points) + int(6 * length), 2))
    waves = ndimage.gaussian_filter1d(noise, length, axis=0)[int(3 * length) :][: len(points)]
    return points + waves * (amplitude * np.sqrt(2 * np.sqrt(np.pi) * length))


def broken(points: Polyline, length: float, overlap: float, rng: np.random.Generator) -> list[Polyline]:
    """A line of points one pixel apart in searching strokes of about `length` pixels that overlap by `overlap`."""
    pieces, start = [], 0
    while start < len(points) - 1:
        end = start + round(length * rng.uniform(0.7, 1.3))
        if len(points) - end < 0.4 * length:
            end = len(points)
        pieces.append(points[start:end])
        if end >= len(points):
            break
        start = max(start + 1, end - round(overlap))
    return [piece for piece in pieces if len(piece) > 1]
