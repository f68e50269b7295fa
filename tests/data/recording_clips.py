"""Small screen recordings of a known drawing process, for the tests of recordings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

SCREEN = (360, 640)  # height, width
BOX = (181, 47, 320, 264)  # canvas on the screen: left, top, width, height
GREY = (92, 94, 98)
Picture = np.ndarray


def strokes(seed: int, count: int = 60, size: tuple[int, int] = (BOX[3], BOX[2])) -> list[Callable[[Picture], None]]:
    """Painting operations in place: thin dark lines first, then broad coloured ones, all over the canvas."""
    random = np.random.default_rng(seed)
    height, width = size
    made = []
    for number in range(count):
        broad = number >= count // 2
        colour = tuple(int(c) for c in (random.integers(40, 230, 3) if broad else random.integers(0, 70, 3)))
        thick = int(random.integers(12, 30)) if broad else int(random.integers(2, 4))
        angles = np.cumsum(random.normal(0, 0.5, 9)) + random.uniform(0, 6.3)
        steps = np.stack([np.cos(angles), np.sin(angles)], 1) * random.uniform(8, 22)
        start = random.uniform((0.1 * width, 0.1 * height), (0.9 * width, 0.9 * height))
        line = np.round(np.vstack([start, start + np.cumsum(steps, 0)])).astype(np.int32)

        def paint(
            canvas: Picture, share: float = 1.0, line: np.ndarray = line, c: tuple = colour, t: int = thick
        ) -> None:
            part = line[: max(2, round(share * len(line)))]
            cv2.polylines(canvas, [part[:, None]], False, c, t, cv2.LINE_AA)

        made.append(paint)
    return made


def states(seed: int, count: int, blank: int = 6) -> list[Picture]:
    """The known process: `count` pictures of the canvas, the first `blank` of them blank."""
    operations = strokes(seed)
    canvas = np.full((BOX[3], BOX[2], 3), 255, np.uint8)
    every = (count - blank) / len(operations)
    made = [canvas.copy() for _ in range(blank)]
    done = 0
    for number in range(1, count - blank + 1):
        reach = number / every
        while done + 1 <= reach + 1e-9 and done < len(operations):
            operations[done](canvas)
            done += 1
        shown = canvas.copy()
        if done < len(operations) and reach > done:
            operations[done](shown, reach - done)
        made.append(shown)
    return made


def desk(seed: int = 0) -> Picture:
    """The program's window: title bar, tool icons, panels, on grey."""
    random = np.random.default_rng(seed)
    screen = np.full((*SCREEN, 3), GREY, np.uint8)
    screen[:22] = (52, 54, 60)
    screen[22:, :44] = (70, 72, 76)
    screen[22:, 530:] = (74, 76, 80)
    for y in range(34, SCREEN[0] - 20, 26):
        cv2.circle(screen, (22, y), 8, tuple(int(c) for c in random.integers(110, 230, 3)), 2, cv2.LINE_AA)
        cv2.rectangle(screen, (544, y), (620, y + 12), tuple(int(c) for c in random.integers(100, 190, 3)), -1)
    cv2.putText(screen, "untitled* - paint", (60, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (220, 220, 220), 1, cv2.LINE_AA)
    return screen


def cursor(screen: Picture, x: float, y: float) -> None:
    """An arrow, dark with a light rim."""
    shape = np.array([(0, 0), (0, 15), (4, 12), (7, 18), (9, 17), (6, 11), (11, 11)]) + np.array((round(x), round(y)))
    cv2.fillPoly(screen, [shape.astype(np.int32)], (20, 20, 20))
    cv2.polylines(screen, [shape.astype(np.int32)], True, (240, 240, 240), 1, cv2.LINE_AA)


def palette(screen: Picture, x: int, y: int) -> None:
    """A pop-up of colour swatches."""
    cv2.rectangle(screen, (x, y), (x + 110, y + 80), (48, 48, 52), -1)
    for k in range(12):
        corner = (x + 8 + 25 * (k % 4), y + 8 + 24 * (k // 4))
        colour = tuple(int(c) for c in np.random.default_rng(k).integers(0, 255, 3))
        cv2.rectangle(screen, corner, (corner[0] + 20, corner[1] + 19), colour, -1)


def view(angle: float = 0, zoom: float = 1, shift: tuple[float, float] = (0, 0), flip: bool = False) -> np.ndarray:
    """How canvas pixels come onto the screen, (2, 3), about the middle of the canvas."""
    left, top, width, height = BOX
    turn = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), angle, zoom)
    turn[:, 2] += (left + shift[0], top + shift[1])
    mirror = np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]]) if flip else np.eye(3)
    return turn @ mirror


@dataclass
class Clip:
    """What the recording shows at each frame, all the same length."""

    truth: list[Picture]
    views: list[np.ndarray] = field(default_factory=list)
    over: list[Callable[[Picture], None] | None] = field(default_factory=list)  # painted over the screen
    whole: dict[int, Picture] = field(default_factory=dict)  # frames that show something else
    chrome: bool = True

    def frames(self):
        """The screens (H, W, 3)."""
        background = desk()
        x, y, width, height = BOX
        for number, state in enumerate(self.truth):
            if number in self.whole:
                yield self.whole[number]
                continue
            if not self.chrome:
                yield state
                continue
            screen = background.copy()
            matrix = self.views[number] if self.views else None
            if matrix is None:
                screen[y : y + height, x : x + width] = state
            else:
                sides = screen.shape[1::-1]
                shown = cv2.warpAffine(state, matrix, sides, flags=cv2.INTER_AREA, borderValue=(0, 0, 0))
                inside = cv2.warpAffine(np.full(state.shape[:2], 255, np.uint8), matrix, sides)
                inside[:22], inside[:, :44], inside[:, 530:] = 0, 0, 0
                screen = np.where(inside[..., None] > 127, shown, screen)
            if self.over and self.over[number]:
                self.over[number](screen)
            yield screen


def write(path: Path, frames, fps: int = 30, codec: str = "libx264", crf: int = 20, gop: int = 60) -> Path:
    """Frames as a video; the sides are cut to even numbers."""
    with av.open(str(path), "w") as out:
        stream = None
        for frame in frames:
            frame = np.ascontiguousarray(frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2])
            if stream is None:
                stream = out.add_stream(codec, Fraction(fps))
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.gop_size = gop
                stream.options = {"crf": str(crf), "preset": "veryfast"} if codec == "libx264" else {"crf": str(crf)}
                if codec != "libx264":
                    stream.bit_rate = 0
                stream.thread_count = 1
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        if stream is not None:
            out.mux(stream.encode())
    return path
