"""Drawing processes to record, drawn by lot: vector art, the example pictures, and strokes of our own."""

import colorsys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.pictures import picture_process, read_picture
from paintsundo.data.svg import svg_process

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
Picture = NDArray[np.uint8]  # (H, W, 3)


class Shown(Protocol):
    """What a recording needs of a drawing process; every `DrawingProcess` has it."""

    @property
    def size(self) -> tuple[int, int]: ...

    def state(self, work: float) -> Picture: ...


class Cropped:
    """A part (top, left, height, width) of another process."""

    def __init__(self, process: Shown, box: tuple[int, int, int, int]):
        self.process, self.box = process, box

    @property
    def size(self) -> tuple[int, int]:
        return self.box[2:]

    def state(self, work: float) -> Picture:
        top, left, height, width = self.box
        return np.ascontiguousarray(self.process.state(work)[top : top + height, left : left + width])


def _values(random: np.random.Generator) -> tuple[int, int, int]:
    """Red, green, blue of a colour that is neither garish nor white."""
    values = colorsys.hsv_to_rgb(random.random(), random.uniform(0.05, 0.75), random.uniform(0.25, 0.95))
    return round(255 * values[0]), round(255 * values[1]), round(255 * values[2])


def _colour(random: np.random.Generator) -> str:
    return "#{:02x}{:02x}{:02x}".format(*_values(random))


class Strokes:
    """Brush strokes one after another, work = painted length times width; independent of the project's painters.

    Nothing is known of stages: a wash of broad strokes, then ever finer ones, in the colours of a small palette.
    """

    def __init__(self, random: np.random.Generator, size: tuple[int, int], count: int = 160):
        self._size = size
        height, width = size
        palette = np.array([_values(random) for _ in range(6)])
        self.lines: list[NDArray[np.int32]] = []
        self.pens: list[tuple[tuple[int, ...], int]] = []
        work = []
        for k in range(count):
            late = k / count
            broad = max(2, round(min(size) * (0.09 * (1 - late) ** 2 + 0.008) * random.uniform(0.6, 1.4)))
            angle, bend = random.uniform(0, 2 * np.pi), random.normal(0, 2.5)
            long = min(size) * random.uniform(0.1, 0.5)
            along = np.linspace(0, 1, 40)
            turned = angle + bend * along
            path = np.cumsum(np.stack([np.cos(turned), np.sin(turned)], 1), axis=0) * long / 40
            centre = random.uniform(0.12, 0.88, 2) * (width, height)
            self.lines.append(np.round(16 * (path - path.mean(axis=0) + centre)).astype(np.int32))
            colour = np.clip(palette[random.integers(6)] + random.normal(0, 14, 3), 0, 250).astype(int)
            self.pens.append((tuple(colour.tolist()), broad))
            work.append(long * broad**0.7)
        self.ends = np.cumsum(work) / np.sum(work)
        self._kept: tuple[int, Picture] = (0, np.full((height, width, 3), 255, np.uint8))

    @property
    def size(self) -> tuple[int, int]:
        return self._size

    def state(self, work: float) -> Picture:
        whole = int(np.searchsorted(self.ends, work, side="right"))
        if whole < self._kept[0]:
            self._kept = (0, np.full((*self._size, 3), 255, np.uint8))
        at, canvas = self._kept
        canvas = canvas.copy()
        for k in range(at, whole):
            self._draw(canvas, k, 1.0)
        self._kept = (whole, canvas.copy())
        if whole < len(self.lines):
            begin = self.ends[whole - 1] if whole else 0.0
            self._draw(canvas, whole, (work - begin) / (self.ends[whole] - begin))
        return canvas

    def _draw(self, canvas: Picture, k: int, share: float) -> None:
        points = self.lines[k][: round(share * len(self.lines[k]))]
        if len(points):
            colour, broad = self.pens[k]
            cv2.polylines(canvas, [points[:, None]], False, colour, broad, cv2.LINE_AA, shift=4)


def vector_art(random: np.random.Generator) -> bytes:
    """A small SVG: a background, outlined shapes with flat colours and a gradient, a few lines on top."""
    ink = random.choice(["#000000", "#30201c", "#1b2840"])
    parts = [f'<rect width="100" height="100" fill="{_colour(random)}"/>'] if random.random() < 0.5 else []
    for _ in range(random.integers(6, 14)):
        x, y = random.uniform(15, 85, 2)
        a, b = random.uniform(5, 26, 2)
        paint = f'fill="{_colour(random)}" stroke="{ink}" stroke-width="{random.uniform(0.8, 2):.2f}"'
        if random.random() < 0.25:
            paint = f'fill="url(#g)" stroke="{ink}" stroke-width="1.2"'
        kind = random.integers(3)
        if kind == 0:
            parts.append(f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{a:.1f}" ry="{b:.1f}" {paint}/>')
        elif kind == 1:
            turn = random.uniform(-40, 40)
            box = f'x="{x - a:.1f}" y="{y - b:.1f}" width="{2 * a:.1f}" height="{2 * b:.1f}" rx="{a / 4:.1f}"'
            parts.append(f'<rect {box} transform="rotate({turn:.0f} {x:.1f} {y:.1f})" {paint}/>')
        else:
            angles = np.sort(random.uniform(0, 2 * np.pi, random.integers(3, 8)))
            points = " ".join(f"{x + a * np.cos(v):.1f},{y + a * np.sin(v):.1f}" for v in angles)
            parts.append(f'<polygon points="{points}" stroke-linejoin="round" {paint}/>')
    for _ in range(random.integers(2, 7)):
        x, y, u, v, p, q = random.uniform(10, 90, 6)
        parts.append(
            f'<path d="M{x:.1f} {y:.1f}Q{u:.1f} {v:.1f} {p:.1f} {q:.1f}" fill="none" stroke="{ink}"'
            f' stroke-width="{random.uniform(0.8, 1.8):.2f}" stroke-linecap="round"/>'
        )
    stops = f'<stop offset="0" stop-color="{_colour(random)}"/><stop offset="1" stop-color="{_colour(random)}"/>'
    gradient = f'<defs><linearGradient id="g" x1="0" y1="0" x2="1" y2="1">{stops}</linearGradient></defs>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{gradient}{"".join(parts)}</svg>'.encode()


def _svg(random: np.random.Generator, side: int) -> Shown:
    return svg_process(vector_art(random), side)


def _picture(random: np.random.Generator, side: int) -> Shown:
    files = sorted(path for path in EXAMPLES.iterdir() if path.suffix in (".png", ".jpg"))
    return picture_process(read_picture(files[random.integers(len(files))].read_bytes(), side))


KINDS: dict[str, Callable[[np.random.Generator, int], Shown]] = {"svg": _svg, "picture": _picture}
ASPECTS = (1.0, 1.0, 4 / 3, 3 / 4, 1.5, 16 / 9, 0.7)


def subject(seed: int, kind: str = "any", side: int = 480) -> Shown:
    """A process by lot, its longer side `side` pixels: kind svg, picture, strokes, or any of them.

    Aspect ratios (width over height) are drawn from `ASPECTS`; what the project draws square is cropped.
    """
    random = np.random.default_rng([seed, 1])
    if kind == "any":
        kind = str(random.choice(["svg", "picture", "strokes"]))
    aspect = float(random.choice(ASPECTS))
    height, width = (round(side / aspect), side) if aspect >= 1 else (side, round(side * aspect))
    if kind == "strokes":
        return Strokes(random, (height, width))
    whole = KINDS[kind](random, side)
    return Cropped(whole, ((side - height) // 2, (side - width) // 2, height, width))
