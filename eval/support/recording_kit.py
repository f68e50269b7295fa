"""Screen recordings of known drawing processes: the film as a file, and what is true at each of its frames.

Everything is drawn by lot from a seed and the name of a difficulty (`recording_levels.LEVELS`): equal arguments
give equal frames. The truth is kept apart from the film and is never written next to it.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from support import recording_overlays as overlays
from support.recording_levels import LEVELS, Level
from support.recording_looks import Box, Look, make_look, text, wallpaper
from support.recording_script import Popup, Row, Script, View, home, write
from support.recording_subjects import Shown

Picture = NDArray[np.uint8]  # (H, W, 3)


@dataclass(frozen=True)
class Truth:
    """What is true of a recording of F frames.

    `box`: left, top, width, height of the whole canvas in the home view, in pixels of the frame. `corners` (F, 4, 2):
    x, y of the canvas's top left, top right, bottom right, bottom left corner in every frame, whatever of it is in
    view. `works` (F,): share of the process shown. `times` (F,) in seconds. `cards` (F,): opacity of a title card or
    other cut, 1 = nothing of the canvas is seen. `hidden` (F,): share of the canvas's pixels in view under cursors,
    palettes, hands. `drawn` (F,): whether a stroke is being made.
    """

    process: Shown
    path: Path
    difficulty: str
    seed: int
    size: tuple[int, int]  # height, width of the frame
    box: Box
    times: NDArray[np.float64]
    works: NDArray[np.float64]
    corners: NDArray[np.float64]
    cards: NDArray[np.float64]
    hidden: NDArray[np.float64]
    drawn: NDArray[np.bool_]
    settings: dict[str, Any] = field(default_factory=dict)

    def frame_at(self, time: float) -> int:
        """The frame shown at a time in seconds."""
        return int(np.clip(np.searchsorted(self.times, time + 1e-6, side="right") - 1, 0, len(self.times) - 1))

    def state_at(self, time: float) -> Picture:
        """The true canvas at a time, at the process's own size."""
        return self.process.state(float(self.works[self.frame_at(time)]))

    def at_home(self) -> NDArray[np.bool_]:
        """(F,) whether the canvas is seen whole, upright and not under a card."""
        left, top, width, height = self.box
        right, bottom = left + width, top + height
        plain = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        return (np.abs(self.corners - plain).max(axis=(1, 2)) < 1) & (self.cards == 0)


@dataclass
class _Scene:
    """Everything needed to draw any frame, in drawing order."""

    process: Shown
    look: Look
    box: Box  # of the canvas in the home view, on the screen
    script: Script
    random: np.random.Generator
    level: Level
    smooth: bool  # how zoomed pixels are shown
    cards: list[Picture] = field(default_factory=list)
    sprites: dict[int, NDArray[np.uint8]] = field(default_factory=dict)

    def matrix(self, view: View) -> NDArray[np.float64]:
        """(2, 3): canvas coordinates (pixel edges at whole numbers) -> screen coordinates."""
        height, width = self.process.size
        left, top, wide, high = self.box
        scale = np.diag([wide / width, high / height]) * view.zoom
        turn = np.radians(view.angle)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        linear = np.diag([-1.0 if view.flipped else 1.0, 1.0]) @ rotation @ scale
        middle = np.array([left + wide / 2, top + high / 2])
        return np.column_stack([linear, middle - linear @ (view.x, view.y)])

    def corners(self, view: View) -> NDArray[np.float64]:
        height, width = self.process.size
        matrix = self.matrix(view)
        return np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ matrix[:, :2].T + matrix[:, 2]

    def lay(self, frame: Picture, state: Picture, view: View) -> None:
        """Draw the canvas with its border and shadow into the viewport of a frame, in place."""
        left, top, width, height = self.look.viewport
        part = frame[top : top + height, left : left + width]
        corners = self.corners(view) - (left, top)
        points = np.round(corners * 16).astype(np.int32)
        if self.look.shadow:
            for spread in range(self.look.shadow, 0, -1):
                dark = tuple(int(v * (0.55 + 0.4 * spread / self.look.shadow)) for v in self.look.backdrop)
                cv2.fillPoly(part, [points + 16 * spread], dark, cv2.LINE_AA, shift=4)
        if self.look.border:
            broad = 2 * self.look.border
            cv2.polylines(part, [points], True, self.look.border_colour, broad, cv2.LINE_AA, shift=4)
        if view == home(self.process):
            x, y, wide, high = self.box[0] - left, self.box[1] - top, *self.box[2:]
            shown = cv2.resize(state, (wide, high), interpolation=cv2.INTER_AREA)
            part[y : y + high, x : x + wide] = shown
            return
        matrix = self.matrix(view)
        matrix[:, 2] -= (left, top)
        matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5  # whole numbers are pixels' middles to OpenCV
        scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
        if scale < 0.9:  # the screen shows fewer pixels than the canvas has: average first
            small = (max(1, round(state.shape[1] * scale)), max(1, round(state.shape[0] * scale)))
            ratio = np.array([state.shape[1] / small[0], state.shape[0] / small[1]])
            state = cv2.resize(state, small, interpolation=cv2.INTER_AREA)
            matrix[:, 2] += matrix[:, :2] @ (0.5 * ratio - 0.5)
            matrix[:, :2] *= ratio
        how = cv2.INTER_LINEAR if self.smooth or scale < 2 else cv2.INTER_NEAREST
        warped = cv2.warpAffine(state, matrix, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE)
        inside = np.zeros((height, width), np.uint8)
        cv2.fillPoly(inside, [points - 8], 255, cv2.LINE_AA, shift=4)
        if view.angle == 0:
            cv2.copyTo(warped, inside, part)
        else:
            share = inside[..., None].astype(np.uint16)
            part[:] = ((warped * share + part * (255 - share) + 127) // 255).astype(np.uint8)

    def chrome(self, frame: Picture, state: Picture, number: int, rate: float) -> None:
        """What changes in the window besides the canvas."""
        for left, top, width, height in self.look.thumbnails:
            frame[top : top + height, left : left + width] = cv2.resize(
                state, (width, height), interpolation=cv2.INTER_AREA
            )
        if self.look.clock is not None:
            left, top, width, height = self.look.clock
            seconds = number / rate
            image = Image.fromarray(frame[top : top + height, left : left + width])
            colour = (210,) * 3 if self.look.dark else (40,) * 3
            words = f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}  {self.box[2]} x {self.box[3]}"
            text(ImageDraw.Draw(image), (1, 1), words, colour, height * 0.6)
            frame[top : top + height, left : left + width] = np.asarray(image)

    def popup(self, frame: Picture, popup: Popup, number: int) -> None:
        left, top, width, height = self.look.viewport
        if popup.dims:
            np.multiply(frame, 0.55, out=frame, casting="unsafe")
        key = id(popup)
        if key not in self.sprites:
            wide, high = max(60, round(popup.size[0] * width)), max(60, round(popup.size[1] * height))
            made = {
                "palette": lambda: overlays.palette(self.random, wide, high),
                "dialog": lambda: overlays.dialog(self.random, wide, high),
                "menu": lambda: overlays.menu(self.random, max(90, wide // 2), int(self.random.integers(4, 10))),
            }
            self.sprites[key] = made[popup.kind]()
        share = (number - popup.begin) / max(1, popup.end - popup.begin)
        x = left + round((popup.at[0] + popup.drift[0] * share) * width)
        y = top + round((popup.at[1] + popup.drift[1] * share) * height)
        overlays.paste(frame, self.sprites[key], x, y)

    def card(self, kind: str, shape: tuple[int, int]) -> Picture:
        """A whole screen that hides everything."""
        height, width = shape
        if kind == "black":
            return np.zeros((height, width, 3), np.uint8)
        image = wallpaper(self.random, width, height)
        if kind == "finished":
            finished = self.process.state(1.0)
            scale = min(width / finished.shape[1], height / finished.shape[0]) * self.random.uniform(0.7, 1.0)
            size = round(finished.shape[1] * scale), round(finished.shape[0] * scale)
            shown = Image.fromarray(finished).resize(size, Image.Resampling.LANCZOS)
            image.paste(shown, ((width - size[0]) // 2, (height - size[1]) // 2))
        elif kind == "title":
            words = str(self.random.choice(["Speedpaint", "How I draw", "Some hours later", "Thanks for watching!"]))
            text(ImageDraw.Draw(image), (width * 0.2, height * 0.42), words, (250, 250, 250), height * 0.1)
        else:  # a person at the camera
            draw = ImageDraw.Draw(image)
            x, y, r = width * self.random.uniform(0.4, 0.6), height * 0.45, height * 0.2
            draw.ellipse((x - 2 * r, y + r, x + 2 * r, y + 5 * r), fill=(60, 70, 110))
            draw.ellipse((x - r, y - 1.3 * r, x + r, y + 1.3 * r), fill=(214, 170, 140))
        return np.array(image)


class _Pointer:
    """Where the cursor is: at the place being drawn, else wandering between places by lot."""

    def __init__(self, scene: _Scene, size: tuple[int, int]):
        self.random = scene.random
        height, width = size
        self.size = size
        self.at = self.random.uniform(0.2, 0.8, 2) * (width, height)
        self.target = self.at
        self.resting = 0
        kinds = overlays.CURSORS
        self.kind = str(self.random.choice(kinds[:-1]))
        self.idle_kind = self.kind if self.random.random() < 0.5 else "arrow"
        colour = tuple(int(v) for v in self.random.integers(0, 90, 3))
        small = height / 360
        length = self.random.uniform(8, 40) if self.kind == "circle" else self.random.uniform(14, 22)
        self.sprites = {
            True: overlays.cursor(self.kind, length * small, (colour[0], colour[1], colour[2])),
            False: overlays.cursor(self.idle_kind, 17 * small, (0, 0, 0)),
        }

    def step(self, place: NDArray[np.float64] | None, idles: bool) -> None:
        if place is not None:
            self.at = place + self.random.normal(0, 0.7, 2)
            self.target = self.at
        elif idles:
            self.resting -= 1
            if self.resting < 0 and np.hypot(*(self.target - self.at)) < 2:
                self.resting = int(self.random.integers(5, 60))
                self.target = self.random.uniform(0.03, 0.97, 2) * self.size[::-1]
            if self.resting < 40:
                self.at = self.at + 0.16 * (self.target - self.at)

    def draw(self, frame: Picture, busy: bool) -> int:
        sprite, x, y = self.sprites[busy]
        return overlays.paste(frame, sprite, round(self.at[0]) - x, round(self.at[1]) - y)


class _Lens:
    """A camera's faults: vignette, brightness that drifts, a tint, noise."""

    def __init__(self, random: np.random.Generator, size: tuple[int, int]):
        height, width = size
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        dark = 1 - random.uniform(0.05, 0.22) * (x * x + y * y) / 2
        tint = random.uniform(0.95, 1.0, 3) * random.uniform(0.88, 0.99)
        self.gain = (dark[..., None] * tint).astype(np.float32)
        self.drift = random.uniform(0.01, 0.05), random.uniform(4, 12), random.uniform(0, 6)
        self.noise = (random.normal(0, random.uniform(1.5, 4), (height + 64, width + 64, 3))).astype(np.float32)
        self.random = random

    def __call__(self, frame: Picture, seconds: float) -> Picture:
        depth, period, phase = self.drift
        bright = 1 + depth * np.sin(2 * np.pi * seconds / period + phase)
        y, x = self.random.integers(0, 64, 2)
        noise = self.noise[y : y + frame.shape[0], x : x + frame.shape[1]]
        return np.clip(frame * (self.gain * np.float32(bright)) + noise + 0.5, 0, 255).astype(np.uint8)


def _canvas_box(process: Shown, look: Look) -> Box:
    """The canvas as large as the viewport allows, in its middle, on whole pixels."""
    height, width = process.size
    left, top, wide, high = look.viewport
    scale = min(wide / width, high / height) * (1 - 2 * look.margin)
    across, down = round(scale * width), round(scale * height)
    return left + (wide - across) // 2, top + (high - down) // 2, across, down


def _place(before: Picture, after: Picture, at: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """x, y on the canvas of a pixel that changes, the nearest to a place."""
    ys, xs = np.nonzero((before[::2, ::2] != after[::2, ::2]).any(axis=2))
    if len(ys) == 0:
        return None
    points = 2.0 * np.stack([xs, ys], 1)
    return np.asarray(points[np.argmin(((points - at) ** 2).sum(axis=1))] + 0.5)


def render(process: Shown, path: str | Path, seed: int, difficulty: str = "plain", **changes: Any) -> Truth:
    """Record a process: writes the film to PATH with the suffix of its container, and returns the truth.

    `changes` replace fields of the level (`seconds=(5, 6)`, `crf=(18, 18)` …). Raises KeyError for an unknown level.
    """
    level = LEVELS[difficulty]
    level = Level(**{**level.__dict__, **changes})
    random = np.random.default_rng([seed, zlib.crc32(difficulty.encode()), 2])
    width, height = level.sizes[random.integers(len(level.sizes))]
    rate = int(random.choice(level.rates))
    seconds = float(random.uniform(*level.seconds))
    screen = (0, 0, width, height)
    if random.random() < level.letterbox:
        screen = _letterbox(random, width, height)
    look = make_look(random, str(random.choice(level.looks)), screen[2], screen[3])
    box = _canvas_box(process, look)
    room = look.viewport[2] * process.size[1] / box[2], look.viewport[3] * process.size[0] / box[3]
    script = write(process, level, random, rate, room, seconds)
    scene = _Scene(process, look, box, script, random, level, bool(random.random() < 0.6))
    scene.cards = [scene.card(kind, (screen[3], screen[2])) for kind in script.cards]
    crf = int(random.integers(level.crf[0], level.crf[1] + 1))
    container = str(random.choice(level.containers))
    path = Path(path).with_suffix(f".{container}")
    times = _times(random, len(script.rows), rate, level.irregular and container != "mov")
    hidden: list[float] = []
    frames = _frames(scene, rate, (height, width), screen, hidden)
    encode(path, frames, times, (height, width), crf)
    offset = np.array(screen[:2])
    return Truth(
        process,
        path,
        difficulty,
        seed,
        (height, width),
        (box[0] + screen[0], box[1] + screen[1], box[2], box[3]),
        times,
        np.array([row.work for row in script.rows]),
        np.stack([scene.corners(row.view) for row in script.rows]) + offset,
        np.array([row.opacity if row.card >= 0 else 0.0 for row in script.rows]),
        np.array(hidden),
        np.array([row.busy for row in script.rows]),
        {"rate": rate, "crf": crf, "container": container, "screen": screen},
    )


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


def _frames(scene: _Scene, rate: int, size: tuple[int, int], screen: Box, hidden: list[float]) -> Iterator[Picture]:
    random, look, script = scene.random, scene.look, scene.script
    taken_by_camera = look.backdrop is not None and scene.level.looks == ("camera",)
    pointer = _Pointer(scene, (screen[3], screen[2])) if scene.level.cursor and not taken_by_camera else None
    hand = overlays.hand(random, screen[3]) if taken_by_camera else None
    lens = _Lens(random, (screen[3], screen[2])) if taken_by_camera else None
    rest = np.array([screen[2] * random.uniform(0.9, 1.05), screen[3] * random.uniform(0.9, 1.05)])
    at_hand = rest
    seen_in_panel = scene.process.state(0.0)
    before = scene.process.state(script.rows[0].work)
    drawn_at = np.array(scene.process.size[::-1]) / 2.0
    for number, row in enumerate(script.rows):
        state = scene.process.state(row.work)
        frame = look.picture.copy()
        if number % max(4, rate // 2) == 0:
            seen_in_panel = state
        scene.lay(frame, state, row.view)
        scene.chrome(frame, seen_in_panel, number, rate)
        clean = frame.copy()
        for popup in script.popups:
            if popup.begin <= number < popup.end:
                scene.popup(frame, popup, number)
        place = _place(before, state, drawn_at) if row.busy else None
        on_screen = None
        if place is not None:
            drawn_at = place
            matrix = scene.matrix(row.view)
            on_screen = matrix[:, :2] @ place + matrix[:, 2]
        if pointer is not None:
            pointer.step(on_screen, scene.level.idle > 0)
            pointer.draw(frame, row.busy)
        if hand is not None:
            goal = rest if on_screen is None else on_screen
            at_hand = at_hand + (0.8 if on_screen is not None else 0.12) * (goal - at_hand)
            x, y = np.round(at_hand).astype(int) - hand.tip
            overlays.paste(frame, hand.sprite, int(x), int(y))
        hidden.append(_hidden(scene, clean, frame, row))
        if lens is not None:
            frame = lens(frame, number / rate)
        if row.card >= 0:
            frame = cv2.addWeighted(scene.cards[row.card], row.opacity, frame, 1 - row.opacity, 0)
        before = state
        yield _framed(frame, screen, size)


def _hidden(scene: _Scene, clean: Picture, frame: Picture, row: Row) -> float:
    left, top, width, height = scene.look.viewport
    inside = np.zeros(clean.shape[:2], np.uint8)
    cv2.fillConvexPoly(inside, np.round(scene.corners(row.view)).astype(np.int32), 1)
    inside = inside[top : top + height, left : left + width].astype(bool)
    part = (slice(top, top + height), slice(left, left + width))
    return float((clean[part] != frame[part]).any(axis=2)[inside].mean()) if inside.any() else 1.0


def _framed(picture: Picture, screen: Box, size: tuple[int, int]) -> Picture:
    if picture.shape[:2] == size:
        return picture
    frame = np.zeros((*size, 3), np.uint8)
    left, top, width, height = screen
    frame[top : top + height, left : left + width] = picture
    return frame


def encode(path: Path, frames: Iterator[Picture], times: NDArray[np.float64], size: tuple[int, int], crf: int) -> None:
    """Write RGB frames (H, W, 3) at times in seconds as H.264, or VP9 for .webm, in 4:2:0 and limited range.

    Colours are BT.709 and said to be where the picture is 720 pixels high or more, else BT.601, as players assume.
    """
    webm = path.suffix == ".webm"
    steps = np.diff(times)
    rate = round(1 / float(np.median(steps))) if len(steps) else 25
    with av.open(str(path), "w") as container:
        container.flags |= 0x400  # bit-exact: no random identifiers
        options = {"crf": str(crf), "preset": "veryfast"}
        if webm:  # its scale reaches to 63
            options = {"crf": str(crf + 12), "b": "0", "deadline": "realtime", "cpu-used": "8", "row-mt": "1"}
        stream = container.add_stream("libvpx-vp9" if webm else "libx264", rate=rate, options=options)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        ticks = Fraction(1, 90000)
        stream.codec_context.time_base = ticks
        high = size[0] >= 720
        stream.codec_context.colorspace = 1 if high else 6  # BT.709, SMPTE 170M
        stream.codec_context.color_primaries = 1 if high else 6
        stream.codec_context.color_trc = 1 if high else 6
        stream.codec_context.color_range = 1
        for frame, time in zip(frames, times, strict=True):
            coded = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
                format="yuv420p",
                dst_colorspace="ITU709" if high else "ITU601",
                dst_color_range="MPEG",
            )
            coded.pts, coded.time_base = round(float(time) * 90000), ticks
            container.mux(stream.encode(coded))
        container.mux(stream.encode())
