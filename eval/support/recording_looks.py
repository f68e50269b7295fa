"""What surrounds the canvas in a recording: desktop, window, tool columns, layer panels; or a desk and paper."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Box = tuple[int, int, int, int]  # left, top, width, height
WORDS = (
    "File",
    "Edit",
    "Image",
    "Layer",
    "Select",
    "View",
    "Filter",
    "Window",
    "Help",
    "Brush",
    "Size",
    "Flow",
    "Opacity",
    "Normal",
    "Sketch",
    "Lines",
    "Flats",
    "Ink",
)


@dataclass
class Look:
    """Everything that stands still.

    `picture` (H, W, 3): the frame without a canvas; `viewport`: where the canvas is seen, in `backdrop`'s colour;
    `thumbnails`: boxes that show the canvas small; `clock`: box of a line of text that changes.
    """

    picture: NDArray[np.uint8]
    viewport: Box
    backdrop: tuple[int, int, int]
    dark: bool
    thumbnails: list[Box] = field(default_factory=list)
    clock: Box | None = None
    border: int = 0  # width in pixels of a line around the canvas
    border_colour: tuple[int, int, int] = (0, 0, 0)
    shadow: int = 0  # its offset in pixels
    margin: float = 0.05  # least share of the viewport left free around the whole canvas


class _Theme:
    def __init__(self, random: np.random.Generator, dark: bool):
        base = random.integers(28, 75) if dark else random.integers(205, 246)
        tint = random.integers(-5, 6, 3)
        sign = 1 if dark else -1

        def grey(offset: int) -> tuple[int, int, int]:
            values = np.clip(base + sign * offset + tint, 0, 252)
            return int(values[0]), int(values[1]), int(values[2])

        self.panel, self.edge, self.field, self.button = grey(0), grey(22), grey(-12), grey(36)
        self.backdrop = grey(int(random.integers(-18, 30)))
        self.text = grey(150)
        accent = random.integers(40, 230, 3)
        self.accent = (int(accent[0]), int(accent[1]), int(accent[2]))


def text(draw: ImageDraw.ImageDraw, at: tuple[float, float], words: str, colour: tuple[int, ...], size: float) -> None:
    draw.text(at, words, fill=colour, font=ImageFont.load_default(max(7.0, size)))


def wallpaper(random: np.random.Generator, width: int, height: int) -> Image.Image:
    """A desktop's background: a gradient with a few soft blobs."""
    corners = random.integers(10, 240, (2, 2, 3)).astype(np.uint8)
    smooth = cv2.resize(corners, (width, height), interpolation=cv2.INTER_CUBIC)
    return Image.fromarray(smooth)


def icons(
    draw: ImageDraw.ImageDraw, random: np.random.Generator, theme: _Theme, box: Box, unit: int, columns: int = 1
) -> None:
    """Tool buttons in a grid, one of them chosen."""
    left, top, _, height = box
    rows = max(1, (height - unit) // (unit + 4))
    chosen = random.integers(rows * columns)
    for k in range(rows * columns):
        x, y = left + 3 + (k % columns) * (unit + 3), top + 4 + (k // columns) * (unit + 4)
        fill = theme.accent if k == chosen else theme.field
        draw.rounded_rectangle((x, y, x + unit, y + unit), 2, fill=fill)
        inner = (x + unit * 0.25, y + unit * 0.25, x + unit * 0.75, y + unit * 0.75)
        kind = random.integers(5)
        if kind == 0:
            draw.ellipse(inner, outline=theme.text)
        elif kind == 1:
            draw.line(inner, fill=theme.text, width=2)
        elif kind == 2:
            draw.rectangle(inner, outline=theme.text)
        elif kind == 3:
            draw.polygon([(inner[0], inner[3]), (inner[2], inner[3]), (inner[2], inner[1])], fill=theme.text)
        else:
            draw.arc(inner, 30, 300, fill=theme.text, width=2)


def colour_wheel(side: int) -> Image.Image:
    """Hue around, saturation outward, transparent outside."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    radius = np.hypot(x, y)
    hue = (np.arctan2(y, x) + np.pi) / (2 * np.pi) * 179
    hsv = np.stack([hue, np.clip(radius, 0, 1) * 255, np.full_like(hue, 235)], -1).astype(np.uint8)
    rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return Image.fromarray(np.dstack([rgb, ((radius <= 1) * 255).astype(np.uint8)]), "RGBA")


def layer_panel(
    draw: ImageDraw.ImageDraw, random: np.random.Generator, theme: _Theme, box: Box, unit: int
) -> list[Box]:
    """Rows of layers; returns the boxes of their thumbnails."""
    left, top, width, height = box
    draw.rectangle((left, top, left + width, top + height), fill=theme.field, outline=theme.edge)
    text(draw, (left + 4, top + 1), "Layers", theme.text, unit * 0.55)
    row = round(unit * 1.7)
    found = []
    for k in range(min(int(random.integers(2, 6)), (height - unit) // max(1, row))):
        y = top + unit + k * row
        draw.rectangle((left + 1, y, left + width - 1, y + row - 1), fill=theme.panel if k else theme.accent)
        found.append((left + 4, y + 2, row - 4, row - 4))
        text(draw, (left + row + 6, y + row * 0.25), f"{random.choice(WORDS)} {k + 1}", theme.text, unit * 0.55)
    return found


def _menu(draw: ImageDraw.ImageDraw, theme: _Theme, left: int, top: int, width: int, unit: int) -> None:
    x = left + 6.0
    for word in WORDS[:9]:
        text(draw, (x, top + unit * 0.18), word, theme.text, unit * 0.58)
        x += unit * (0.42 * len(word) + 0.8)
        if x > left + width * 0.8:
            break


def _title(draw: ImageDraw.ImageDraw, random: np.random.Generator, theme: _Theme, box: Box, mac: bool) -> None:
    left, top, width, height = box
    draw.rectangle((left, top, left + width, top + height), fill=theme.panel)
    r = height * 0.22
    for k in range(3):
        x = left + (k + 1) * height * 0.7 if mac else left + width - (k + 0.7) * height
        fill = ((240, 95, 90), (245, 190, 70), (95, 200, 90))[k] if mac else theme.text
        where = (x - r, top + height / 2 - r, x + r, top + height / 2 + r)
        (draw.ellipse if mac else draw.rectangle)(where, fill=fill if mac else None, outline=fill)
    name = (
        f"Untitled-{random.integers(1, 9)}.{random.choice(['kra', 'psd', 'clip', 'ora'])} @ {random.integers(25, 101)}%"
    )
    text(draw, (left + width * random.uniform(0.2, 0.4), top + height * 0.18), name, theme.text, height * 0.55)


def studio(random: np.random.Generator, width: int, height: int, windowed: bool = False) -> Look:
    """A drawing program with menus, tools and panels, filling the screen or as a window on a desktop."""
    dark = bool(random.random() < 0.65)
    theme = _Theme(random, dark)
    unit = max(11, round(min(width, height) * random.uniform(0.03, 0.042)))
    picture = wallpaper(random, width, height)
    draw = ImageDraw.Draw(picture)
    left = top = 0
    right, bottom = width, height
    if windowed:
        left, top = (round(v) for v in random.uniform(0.02, 0.07, 2) * (width, height))
        right, bottom = width - round(random.uniform(0.02, 0.07) * width), height - round(unit * 2.2)
        draw.rectangle((0, height - round(unit * 1.5), width, height), fill=_Theme(random, True).panel)
        for k in range(6):
            x = width * 0.3 + k * unit * 1.8
            fill = tuple(int(v) for v in random.integers(60, 240, 3))
            draw.rounded_rectangle((x, height - unit * 1.3, x + unit * 1.1, height - unit * 0.2), 3, fill=fill)
    draw.rectangle((left, top, right - 1, bottom - 1), fill=theme.panel, outline=theme.edge)
    if windowed or random.random() < 0.6:
        _title(draw, random, theme, (left, top, right - left - 1, round(unit * 1.2)), bool(random.random() < 0.4))
        top += round(unit * 1.2)
    _menu(draw, theme, left, top, right - left, unit)
    top += unit
    if random.random() < 0.6:  # tool options
        draw.rectangle((left, top, right - 1, top + round(unit * 1.3)), fill=theme.panel, outline=theme.edge)
        for k in range(4):
            x = left + unit + k * unit * 5.5
            draw.rectangle((x, top + unit * 0.3, x + unit * 3.5, top + unit), fill=theme.field, outline=theme.edge)
            text(draw, (x + 3, top + unit * 0.32), str(random.choice(WORDS)), theme.text, unit * 0.55)
        top += round(unit * 1.3) + 1
    clock = (left + 4, bottom - unit, unit * 9, unit)
    draw.rectangle((left, bottom - unit - 1, right - 1, bottom - 1), fill=theme.panel, outline=theme.edge)
    bottom -= unit + 1
    columns = int(random.integers(1, 3))
    tools = columns * (unit + 3) + 5
    icons(draw, random, theme, (left, top, tools, bottom - top), unit, columns)
    side = round(min(0.24 * (right - left), unit * random.uniform(7, 10)))
    found: list[Box] = []
    panel_left = right - side
    if right - left > 1.15 * (bottom - top) and random.random() < 0.9:
        y = top + 2
        if random.random() < 0.8 and bottom - top > side * 1.6:
            wheel = colour_wheel(side - 16)
            picture.paste(wheel, (panel_left + 8, y + 6), wheel)
            y += side - 2
        cut = y + round((bottom - y) * random.uniform(0.55, 1.0))
        found = layer_panel(draw, random, theme, (panel_left + 2, y, side - 4, cut - y - 3), unit)
        if bottom - cut > 2 * unit:
            draw.rectangle((panel_left + 2, cut, right - 3, bottom - 3), fill=theme.field, outline=theme.edge)
            for k in range((bottom - cut) // unit - 1):
                at = (panel_left + 6, cut + 2 + k * unit)
                text(draw, at, f"{random.choice(WORDS)} {random.integers(1, 99)}", theme.text, unit * 0.55)
        right = panel_left
    view = (left + tools, top, right - left - tools, bottom - top)
    draw.rectangle((view[0], view[1], view[0] + view[2] - 1, view[1] + view[3] - 1), fill=theme.backdrop)
    return _finish(random, picture, view, theme, found, clock)


def simple(random: np.random.Generator, width: int, height: int) -> Look:
    """A plain program: one bar of tools at the top or the left, the canvas below."""
    theme = _Theme(random, bool(random.random() < 0.4))
    unit = max(12, round(min(width, height) * random.uniform(0.035, 0.05)))
    picture = Image.new("RGB", (width, height), theme.backdrop)
    draw = ImageDraw.Draw(picture)
    if random.random() < 0.5:
        draw.rectangle((0, 0, width, unit * 2 + 2), fill=theme.panel, outline=theme.edge)
        icons(draw, random, theme, (4, 0, width, unit * 2), unit, max(4, (width // 2) // (unit + 3)))
        view = (0, unit * 2 + 3, width, height - unit * 2 - 3)
    else:
        draw.rectangle((0, 0, unit * 2 + 9, height), fill=theme.panel, outline=theme.edge)
        icons(draw, random, theme, (0, 0, unit * 2 + 9, height), unit, 2)
        view = (unit * 2 + 10, 0, width - unit * 2 - 10, height)
    return _finish(random, picture, view, theme, [], None)


def tablet(random: np.random.Generator, width: int, height: int) -> Look:
    """A tablet's program: a thin bar of a few icons, two sliders floating beside the canvas."""
    theme = _Theme(random, bool(random.random() < 0.75))
    unit = max(12, round(min(width, height) * 0.04))
    picture = Image.new("RGB", (width, height), theme.backdrop)
    draw = ImageDraw.Draw(picture)
    bar = round(unit * 1.6)
    draw.rectangle((0, 0, width, bar), fill=theme.panel)
    for k in range(9):
        x = unit + k * unit * 1.8 if k < 4 else width - (k - 3) * unit * 1.8
        draw.ellipse((x, unit * 0.4, x + unit * 0.8, unit * 1.2), outline=theme.text, width=2)
    for top in (0.25, 0.58):
        box = (unit * 0.3, height * top, unit * 1.1, height * (top + 0.26))
        draw.rounded_rectangle(box, unit * 0.4, fill=theme.field)
        y = height * (top + random.uniform(0.03, 0.2))
        draw.rounded_rectangle((unit * 0.2, y, unit * 1.2, y + unit * 0.7), 3, fill=theme.button)
    view = (round(unit * 1.5), bar + 1, width - round(unit * 1.5), height - bar - 1)
    return _finish(random, picture, view, theme, [], None)


def _finish(
    random: np.random.Generator,
    picture: Image.Image,
    view: Box,
    theme: _Theme,
    thumbnails: list[Box],
    clock: Box | None,
) -> Look:
    return Look(
        np.array(picture),
        view,
        theme.backdrop,
        sum(theme.panel) < 384,
        thumbnails,
        clock,
        border=int(random.integers(0, 3)),
        border_colour=theme.edge if random.random() < 0.5 else (0, 0, 0),
        shadow=int(random.choice([0, 0, 3, 6])),
        margin=float(random.choice([0.0, 0.02, 0.05, 0.1])),
    )


def camera(random: np.random.Generator, width: int, height: int) -> Look:
    """A desk seen from above: streaky wood or a plain mat; the canvas is a sheet of paper on it."""
    base = random.integers((70, 45, 25), (170, 130, 100)) if random.random() < 0.6 else random.integers(25, 120, 3)
    streaks = cv2.GaussianBlur(random.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 25, sigmaY=1.2)
    grain = cv2.GaussianBlur(random.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 2)
    relief = streaks / streaks.std() * random.uniform(3, 9) + grain / grain.std() * 2
    desk = np.clip(base + relief[..., None], 0, 255).astype(np.uint8)
    colour = tuple(int(v) for v in base)
    shadow = int(random.integers(2, 7))
    return Look(desk, (0, 0, width, height), (colour[0], colour[1], colour[2]), True, shadow=shadow, margin=0.08)


def make_look(random: np.random.Generator, name: str, width: int, height: int) -> Look:
    """One of studio, windowed, simple, tablet, camera at a size in pixels."""
    if name == "windowed":
        return studio(random, width, height, windowed=True)
    return {"studio": studio, "simple": simple, "tablet": tablet, "camera": camera}[name](random, width, height)
