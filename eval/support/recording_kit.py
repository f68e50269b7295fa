"""Screen recordings of known drawing processes: the film as a file, and what is true at each of its frames.

Everything is drawn by lot from a seed and the name of a difficulty (`recording_levels.LEVELS`): equal arguments give
equal frames, though encoders may write them a little differently. The truth is kept apart from the film and is never
written next to it.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.recording_encoding import encode
from support.recording_levels import LEVELS
from support.recording_looks import Box, Look, make_look
from support.recording_people import Lens
from support.recording_scene import Scene
from support.recording_script import home, write
from support.recording_subjects import Shown

Picture = NDArray[np.uint8]  # (H, W, 3)


@dataclass(frozen=True)
class Truth:
    """What is true of a recording of F frames.

    `home` (4, 2): x, y of the canvas's top left, top right, bottom right, bottom left corner in the home view, in
    pixels of the frame. `corners` (F, 4, 2): the same in every frame, whatever of it is in view. `works` (F,): share of
    the process shown. `times` (F,) in seconds. `cards` (F,): opacity of a title card or other cut, 1 = nothing of the
    canvas is seen. `hidden` (F,): share of the canvas's pixels in view under cursors, palettes, hands. `drawn` (F,):
    whether a stroke is being made.
    """

    process: Shown
    path: Path
    difficulty: str
    seed: int
    size: tuple[int, int]  # height, width of the frame
    home: NDArray[np.float64]
    viewport: Box  # where the window shows the canvas, in pixels of the frame
    times: NDArray[np.float64]
    works: NDArray[np.float64]
    corners: NDArray[np.float64]
    cards: NDArray[np.float64]
    hidden: NDArray[np.float64]
    drawn: NDArray[np.bool_]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """left, top, width, height of the canvas in the home view; around it where it is not straight."""
        (left, top), (right, bottom) = self.home.min(axis=0), self.home.max(axis=0)
        return float(left), float(top), float(right - left), float(bottom - top)

    def frame_at(self, time: float) -> int:
        """The frame shown at a time in seconds."""
        return int(np.clip(np.searchsorted(self.times, time + 1e-6, side="right") - 1, 0, len(self.times) - 1))

    def state_at(self, time: float) -> Picture:
        """The true canvas at a time, at the process's own size."""
        return self.process.state(float(self.works[self.frame_at(time)]))

    def at_home(self) -> NDArray[np.bool_]:
        """(F,) whether the canvas is seen in the home view and not under a card."""
        return (np.abs(self.corners - self.home).max(axis=(1, 2)) < 0.5) & (self.cards == 0)


@dataclass
class Recording:
    """A recording before its frames are drawn, which can be done once."""

    scene: Scene
    size: tuple[int, int]  # height, width of the frame
    screen: Box  # inside it
    rate: int
    crf: int
    container: str
    times: NDArray[np.float64]
    hidden: list[float] = field(default_factory=list)

    def frames(self) -> Iterator[Picture]:
        """(H, W, 3) in order; `hidden` is filled on the way."""
        left, top, width, height = self.screen
        for picture, hidden in self.scene.frames(self.rate):
            self.hidden.append(hidden)
            if picture.shape[:2] == self.size:
                yield picture
            else:
                frame = np.zeros((*self.size, 3), np.uint8)
                frame[top : top + height, left : left + width] = picture
                yield frame

    def truth(self, path: Path, difficulty: str, seed: int) -> Truth:
        """To be called when all frames have been drawn."""
        scene, rows = self.scene, self.scene.script.rows
        corners = np.stack([scene.corners(home(scene.process)), *(scene.corners(row.view) for row in rows)])
        if scene.lens is not None:
            corners = scene.lens.points(corners)
        corners = corners + np.array(self.screen[:2])
        left, top, width, height = scene.look.viewport
        return Truth(
            scene.process,
            path,
            difficulty,
            seed,
            self.size,
            corners[0],
            (left + self.screen[0], top + self.screen[1], width, height),
            self.times,
            np.array([row.work for row in rows]),
            corners[1:],
            np.array([row.opacity if row.card >= 0 else 0.0 for row in rows]),
            np.array(self.hidden),
            np.array([row.busy for row in rows]),
            {"rate": self.rate, "crf": self.crf, "container": self.container, "screen": self.screen},
        )


def prepare(process: Shown, seed: int, difficulty: str = "plain", **changes: Any) -> Recording:
    """Draw all lots of a recording; see `render`."""
    level = replace(LEVELS[difficulty], **changes)
    random = np.random.default_rng([seed, zlib.crc32(difficulty.encode()), 2])
    width, height = level.sizes[random.integers(len(level.sizes))]
    rate = int(random.choice(level.rates))
    seconds = float(random.uniform(*level.seconds))
    screen = _letterbox(random, width, height) if random.random() < level.letterbox else (0, 0, width, height)
    name = str(random.choice(level.looks))
    look = make_look(random, name, screen[2], screen[3])
    lens = Lens(random, (screen[3], screen[2]), level.tilt) if name == "camera" else None
    box = _canvas_box(process, look)
    room = look.viewport[2] * process.size[1] / box[2], look.viewport[3] * process.size[0] / box[3]
    script = write(process, level, random, rate, room, seconds)
    scene = Scene(process, look, box, script, random, level, bool(random.random() < 0.6), lens)
    scene.cards = [scene.card(kind, (screen[3], screen[2])) for kind in script.cards]
    crf = int(random.integers(level.crf[0], level.crf[1] + 1))
    container = str(random.choice(level.containers))
    times = _times(random, len(script.rows), rate, level.irregular and container != "mov")
    return Recording(scene, (height, width), screen, rate, crf, container, times)


def render(process: Shown, path: str | Path, seed: int, difficulty: str = "plain", **changes: Any) -> Truth:
    """Record a process: writes the film to PATH with the suffix of its container, and returns the truth.

    `changes` replace fields of the level (`seconds=(5, 6)`, `crf=(18, 18)` …). Raises KeyError for an unknown level.
    """
    recording = prepare(process, seed, difficulty, **changes)
    path = Path(path).with_suffix(f".{recording.container}")
    sound = recording.scene.random.random() < recording.scene.level.sound
    encode(path, recording.frames(), recording.times, recording.size, recording.crf, sound)
    return recording.truth(path, difficulty, seed)


def _canvas_box(process: Shown, look: Look) -> Box:
    """The canvas as large as the viewport allows, in its middle, on whole pixels."""
    height, width = process.size
    left, top, wide, high = look.viewport
    scale = min(wide / width, high / height) * (1 - 2 * look.margin)
    across, down = round(scale * width), round(scale * height)
    return left + (wide - across) // 2, top + (high - down) // 2, across, down


def _letterbox(random: np.random.Generator, width: int, height: int) -> Box:
    """A screen of another aspect ratio inside the frame, on even pixels."""
    aspect = float(random.choice([4 / 3, 16 / 9, 16 / 10, 1.0]))
    wide, high = (width, round(width / aspect)) if width / height < aspect else (round(height * aspect), height)
    wide, high = wide // 2 * 2, high // 2 * 2
    return (width - wide) // 2, (height - high) // 2, wide, high


def _times(random: np.random.Generator, count: int, rate: int, irregular: bool) -> NDArray[np.float64]:
    """Seconds of each frame in whole milliseconds, or at a constant rate."""
    if not irregular:
        return np.arange(count) / rate
    steps = random.uniform(0.5, 1.5, count) / rate
    return np.asarray(np.round(np.concatenate([[0.0], np.cumsum(np.maximum(steps, 0.004))[:-1]]), 3))
