"""What comes between the viewer and the canvas: cursors, palettes, dialogs and a drawing hand."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from support.recording_looks import WORDS, _Theme, colour_wheel, icons, text, wallpaper

Picture = NDArray[np.uint8]  # (H, W, 3)
CURSORS = ("arrow", "black arrow", "circle", "cross", "pen", "halo")
ARROW = np.array([[0, 0], [0, 16], [3.6, 12.4], [6.2, 18.2], [8.8, 17], [6.2, 11.4], [11.2, 11.4]])


def paste(frame: Picture, sprite: NDArray[np.uint8], left: int, top: int) -> int:
    """Lay an RGBA picture over a frame, in place, cut at its edges; returns how many pixels it hides."""
    height, width = frame.shape[:2]
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(width, left + sprite.shape[1]), min(height, top + sprite.shape[0])
    if x0 >= x1 or y0 >= y1:
        return 0
    part = sprite[y0 - top : y1 - top, x0 - left : x1 - left]
    alpha = part[..., 3:].astype(np.uint16)
    under = frame[y0:y1, x0:x1].astype(np.uint16)
    frame[y0:y1, x0:x1] = ((part[..., :3] * alpha + under * (255 - alpha) + 127) // 255).astype(np.uint8)
    return int((alpha > 0).sum())


def cursor(kind: str, size: float, colour: tuple[int, int, int]) -> tuple[NDArray[np.uint8], int, int]:
    """(RGBA sprite, x, y of its hot spot). `size`: height of an arrow, diameter of a circle, in pixels."""
    side = int(2 * np.ceil(size) + 7)
    middle = side // 2
    sprite = np.zeros((side, side, 4), np.uint8)
    if kind in ("arrow", "black arrow", "halo"):
        points = np.round(16 * (ARROW * size / 18 + middle)).astype(np.int32)
        inside, line = ((255,) * 3, (0,) * 3) if kind != "black arrow" else ((0,) * 3, (255,) * 3)
        if kind == "halo":
            cv2.circle(sprite, (middle, middle), round(size * 0.8), (255, 225, 40, 110), -1, cv2.LINE_AA)
        cv2.fillPoly(sprite, [points], (*inside, 255), cv2.LINE_AA, shift=4)
        cv2.polylines(sprite, [points], True, (*line, 255), 1, cv2.LINE_AA, shift=4)
    elif kind == "circle":
        cv2.circle(sprite, (middle, middle), max(2, round(size / 2) + 1), (255, 255, 255, 200), 1, cv2.LINE_AA)
        cv2.circle(sprite, (middle, middle), max(2, round(size / 2)), (*colour, 255), 1, cv2.LINE_AA)
    elif kind == "cross":
        half = round(size / 2)
        for line, broad in ((255, 3), (0, 1)):
            for dx, dy in ((half, 0), (0, half)):
                ends = (middle - dx, middle - dy), (middle + dx, middle + dy)
                cv2.line(sprite, *ends, (line, line, line, 255), broad)
    elif kind == "pen":
        tip = np.array([middle, middle])
        back = tip + np.round(np.array([0.75, -0.75]) * size).astype(int)
        for shade, broad in (((20, 20, 20), max(4, size / 4)), (colour, max(2, size / 4 - 2))):
            cv2.line(sprite, tuple(tip.tolist()), tuple(back.tolist()), (*shade, 255), round(broad), cv2.LINE_AA)
    return sprite, middle, middle


def palette(random: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """A floating palette (RGBA): colours, sliders, tools, or a small reference picture."""
    theme = _Theme(random, bool(random.random() < 0.6))
    image = Image.new("RGBA", (width, height), (*theme.panel, 255))
    draw = ImageDraw.Draw(image)
    unit = max(9, round(min(width, height) * 0.13))
    draw.rectangle((0, 0, width - 1, height - 1), outline=theme.edge)
    draw.rectangle((0, 0, width - 1, unit), fill=theme.field)
    text(draw, (4, 0), str(random.choice(WORDS)), theme.text, unit * 0.7)
    kind = random.integers(4)
    if kind == 0:
        wheel = colour_wheel(min(width, height - unit) - 10)
        image.paste(wheel, (5, unit + 4), wheel)
    elif kind == 1:
        for k in range((height - unit) // (2 * unit)):
            y = unit * 2 + k * 2 * unit
            draw.line((8, y, width - 8, y), fill=theme.text, width=2)
            x = 8 + random.uniform(0, 1) * (width - 16)
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=theme.accent)
            text(draw, (8, y + 3), str(random.choice(WORDS)), theme.text, unit * 0.6)
    elif kind == 2:
        icons(draw, random, theme, (2, unit, width, height - unit), unit, max(1, (width - 6) // (unit + 3)))
    else:
        image.paste(wallpaper(random, width - 8, height - unit - 8), (4, unit + 4))
    return np.asarray(image)


def dialog(random: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """A dialog (RGBA): title, a few lines or sliders, two buttons, a soft shadow."""
    theme = _Theme(random, bool(random.random() < 0.5))
    pad = 8
    image = Image.new("RGBA", (width + 2 * pad, height + 2 * pad), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((pad, pad, pad + width, pad + height), fill=(0, 0, 0, 130))
    image = image.filter(ImageFilter.GaussianBlur(pad / 2))
    draw = ImageDraw.Draw(image)
    unit = max(10, round(height * 0.12))
    draw.rectangle((pad, pad, pad + width - 4, pad + height - 4), fill=(*theme.panel, 255), outline=theme.edge)
    draw.rectangle((pad, pad, pad + width - 4, pad + unit), fill=(*theme.field, 255))
    text(draw, (pad + 5, pad + 1), f"{random.choice(WORDS)} {random.choice(WORDS)}", theme.text, unit * 0.65)
    for k in range(int(random.integers(2, 5))):
        y = pad + unit * (1.6 + 1.3 * k)
        text(draw, (pad + 8, y), " ".join(random.choice(WORDS, 3)), theme.text, unit * 0.6)
        draw.rectangle((pad + width * 0.55, y, pad + width * 0.9, y + unit * 0.8), fill=theme.field, outline=theme.edge)
    for k in range(2):
        x = pad + width * (0.5 + 0.24 * k)
        box = (x, pad + height - unit * 1.6, x + width * 0.2, pad + height - unit * 0.6)
        draw.rectangle(box, fill=(*(theme.accent if k else theme.button), 255))
        text(draw, (x + 6, box[1] + 1), ("Cancel", "OK")[k], theme.text, unit * 0.6)
    return np.asarray(image)


def menu(random: np.random.Generator, width: int, rows: int) -> NDArray[np.uint8]:
    """A context menu (RGBA) of text lines."""
    theme = _Theme(random, bool(random.random() < 0.5))
    unit = 14
    image = Image.new("RGBA", (width, rows * unit + 4), (*theme.panel, 255))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width - 1, rows * unit + 3), outline=theme.edge)
    chosen = random.integers(rows)
    draw.rectangle((2, 2 + chosen * unit, width - 3, 1 + (chosen + 1) * unit), fill=theme.accent)
    for k in range(rows):
        text(draw, (8, 2 + k * unit), f"{random.choice(WORDS)} {random.choice(WORDS)}", theme.text, 9)
    return np.asarray(image)


@dataclass
class Hand:
    """A hand with a pen seen from above: RGBA sprite, where the pen's tip is in it, and its shadow's."""

    sprite: NDArray[np.uint8]
    tip: tuple[int, int]


def hand(random: np.random.Generator, height: int) -> Hand:
    """A hand as large as hands are next to a sheet filling a frame of this height; the arm comes from below right."""
    scale = height / 360 * random.uniform(0.85, 1.15)
    side = round(900 * scale)
    skin = np.array([90, 55, 40]) + random.uniform(0, 1) * np.array([150, 140, 130]) + random.integers(-8, 9, 3)
    sleeve = random.integers(20, 220, 3)
    layers = []
    for shadow in (True, False):
        canvas = np.zeros((side, side, 4), np.uint8)

        def at(x: float, y: float, shift: float = 6.0 * shadow) -> tuple[int, int]:
            return round((30 + x + shift) * scale), round((30 + y + shift) * scale)

        def fill(colour: NDArray[np.int64], shade: float, dark: bool = shadow) -> tuple[int, ...]:
            if dark:
                return (0, 0, 0, 90)
            return (*(int(v) for v in np.clip(colour * shade, 0, 255)), 255)

        broad = lambda width: max(1, round(width * scale))  # noqa: E731
        cv2.line(canvas, at(150, 165), at(640, 720), fill(skin, 0.95), broad(74), cv2.LINE_AA)
        cv2.line(canvas, at(300, 335), at(640, 720), fill(sleeve, 1.0), broad(98), cv2.LINE_AA)
        cv2.ellipse(canvas, at(112, 122), (broad(74), broad(50)), 40, 0, 360, fill(skin, 1.0), -1, cv2.LINE_AA)
        cv2.line(canvas, at(0, 0), at(118, 58), fill(np.array([40, 40, 45]), 1.0), broad(8), cv2.LINE_AA)
        cv2.line(canvas, at(118, 58), at(190, 92), fill(np.array([60, 60, 70]), 1.0), broad(10), cv2.LINE_AA)
        for x, y, u, v in ((92, 82, 36, 22), (100, 112, 52, 40), (70, 130, 30, 34)):
            cv2.line(canvas, at(x, y), at(u, v), fill(skin, 1.04 - 0.02 * y / 80), broad(25), cv2.LINE_AA)
        cv2.line(canvas, at(40, 36), at(28, 28), fill(skin, 1.12), broad(9), cv2.LINE_AA)  # a nail
        layers.append(cv2.GaussianBlur(canvas, (0, 0), 5 * scale) if shadow else cv2.GaussianBlur(canvas, (0, 0), 0.8))
    under, over = (layer.astype(np.float32) for layer in layers)
    a, b = over[..., 3:] / 255, under[..., 3:] / 255
    alpha = a + b * (1 - a)
    colour = over[..., :3] * a / np.maximum(alpha, 1e-3)
    sprite = np.concatenate([np.clip(colour, 0, 255), alpha * 255], -1).round().astype(np.uint8)
    return Hand(sprite, (round(30 * scale), round(30 * scale)))
