"""Drawing the frames of a recording: the canvas in its view, the window around it, and what lies over both."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from support import recording_overlays as overlays
from support.recording_levels import Level
from support.recording_looks import Box, Look, text, wallpaper
from support.recording_people import Facecam, Lens
from support.recording_script import Popup, Script, View, home
from support.recording_subjects import Shown

Picture = NDArray[np.uint8]  # (H, W, 3)


@dataclass
class Scene:
    """Everything needed to draw the frames, in order; each call of `frames` uses up the lots of `random`."""

    process: Shown
    look: Look
    box: Box  # of the canvas in the home view, on the screen
    script: Script
    random: np.random.Generator
    level: Level
    smooth: bool  # how zoomed pixels are shown
    lens: Lens | None = None
    cards: list[Picture] = field(default_factory=list)
    sprites: dict[int, NDArray[np.uint8]] = field(default_factory=dict)

    def matrix(self, view: View) -> NDArray[np.float64]:
        """(2, 3): canvas coordinates (pixel edges at whole numbers) -> screen coordinates, before any lens."""
        height, width = self.process.size
        left, top, wide, high = self.box
        scale = np.diag([wide / width, high / height]) * view.zoom
        turn = np.radians(view.angle)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        linear = np.diag([-1.0 if view.flipped else 1.0, 1.0]) @ rotation @ scale
        middle = np.array([left + wide / 2, top + high / 2])
        return np.column_stack([linear, middle - linear @ (view.x, view.y)])

    def corners(self, view: View) -> NDArray[np.float64]:
        """(4, 2): the canvas's corners on the screen, before any lens."""
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
        """What changes in the window besides the canvas, in place."""
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
        """Draw a palette, dialog or menu, in place."""
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
        """A whole screen that hides everything: title, finished, black or face."""
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

    def hidden(self, clean: Picture, frame: Picture, view: View) -> float:
        """The share of the canvas's pixels in view that differ between a frame without overlays and one with them."""
        left, top, width, height = self.look.viewport
        inside = np.zeros(clean.shape[:2], np.uint8)
        cv2.fillConvexPoly(inside, np.round(self.corners(view)).astype(np.int32), 1)
        part = (slice(top, top + height), slice(left, left + width))
        seen = inside[part].astype(bool)
        return float((clean[part] != frame[part]).any(axis=2)[seen].mean()) if seen.any() else 1.0

    def frames(self, rate: int) -> Iterator[tuple[Picture, float]]:
        """Each frame of the script (H, W, 3), and the share of the canvas in view that is hidden."""
        shape = self.look.picture.shape[:2]
        filmed = self.lens is not None
        pointer = Pointer(self, shape) if self.level.cursor and not filmed else None
        hand = overlays.hand(self.random, shape[0]) if filmed else None
        facecam = Facecam(self.random, shape) if self.random.random() < self.level.facecam else None
        rest = np.array([shape[1] * self.random.uniform(0.9, 1.05), shape[0] * self.random.uniform(0.9, 1.05)])
        at_hand = rest
        in_panel = self.process.state(0.0)
        before = self.process.state(self.script.rows[0].work)
        drawn_at = np.array(self.process.size[::-1]) / 2.0
        for number, row in enumerate(self.script.rows):
            state = before if number and row.work == self.script.rows[number - 1].work else self.process.state(row.work)
            frame = self.look.picture.copy()
            if number % max(4, rate // 2) == 0:
                in_panel = state
            self.lay(frame, state, row.view)
            self.chrome(frame, in_panel, number, rate)
            clean = frame.copy()
            for popup in self.script.popups:
                if popup.begin <= number < popup.end:
                    self.popup(frame, popup, number)
            place = _place(before, state, drawn_at) if row.busy else None
            on_screen = None
            if place is not None:
                drawn_at = place
                matrix = self.matrix(row.view)
                on_screen = matrix[:, :2] @ place + matrix[:, 2]
            if facecam is not None:
                facecam.draw(frame, number / rate)
            if pointer is not None:
                pointer.step(on_screen, self.level.idle > 0)
                pointer.draw(frame, row.busy)
            if hand is not None:
                goal = rest if on_screen is None else on_screen
                at_hand = at_hand + (0.8 if on_screen is not None else 0.12) * (goal - at_hand)
                x, y = np.round(at_hand).astype(int) - hand.tip
                overlays.paste(frame, hand.sprite, int(x), int(y))
            hidden = self.hidden(clean, frame, row.view)
            if self.lens is not None:
                frame = self.lens(frame, number / rate)
            if row.card >= 0:
                frame = cv2.addWeighted(self.cards[row.card], row.opacity, frame, 1 - row.opacity, 0)
            before = state
            yield frame, hidden


class Pointer:
    """Where the cursor is: at the place being drawn, else wandering between places by lot."""

    def __init__(self, scene: Scene, size: tuple[int, int]):
        self.random = scene.random
        height, width = size
        self.size = size
        self.at = self.random.uniform(0.2, 0.8, 2) * (width, height)
        self.target = self.at
        self.resting = 0
        self.kind = str(self.random.choice(overlays.CURSORS))
        self.idle_kind = self.kind if self.random.random() < 0.5 else "arrow"
        colour = tuple(int(v) for v in self.random.integers(0, 90, 3))
        small = height / 360
        length = self.random.uniform(8, 40) if self.kind == "circle" else self.random.uniform(14, 22)
        self.sprites = {
            True: overlays.cursor(self.kind, length * small, (colour[0], colour[1], colour[2])),
            False: overlays.cursor(self.idle_kind, 17 * small, (0, 0, 0)),
        }

    def step(self, place: NDArray[np.float64] | None, idles: bool) -> None:
        """One frame on; `place`: x, y on the screen of what is being drawn."""
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

    def draw(self, frame: Picture, busy: bool) -> None:
        """In place."""
        sprite, x, y = self.sprites[busy]
        overlays.paste(frame, sprite, round(self.at[0]) - x, round(self.at[1]) - y)


def _place(before: Picture, after: Picture, at: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """x, y on the canvas of a pixel that changes, the nearest to a place."""
    ys, xs = np.nonzero((before[::2, ::2] != after[::2, ::2]).any(axis=2))
    if len(ys) == 0:
        return None
    points = 2.0 * np.stack([xs, ys], 1)
    return np.asarray(points[np.argmin(((points - at) ** 2).sum(axis=1))] + 0.5)
