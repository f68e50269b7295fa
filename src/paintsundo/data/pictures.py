"""Any picture as a drawing process: sketch, lines, flat colours, details, and the picture itself region by
region.

The stages are worked out from the picture: a few outlines of its largest regions, traced contours (or its own
dark outlines, where it has them), few-colour regions, many-colour regions, the picture. Brush and order as
for vector art.
"""

from __future__ import annotations

import io
import random
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy import ndimage

from paintsundo.data import brush, segments, strokes, timeline
from paintsundo.data.process import Picture
from paintsundo.data.scene import draw_lines
from paintsundo.data.source import Canvas, Unusable
from paintsundo.data.staged import StagedProcess
from paintsundo.data.svg import SKETCH_COLOUR, SKETCH_KEPT, SKETCH_WIDTH
from paintsundo.data.svg_paths import Polyline
from paintsundo.data.svg_roles import INK_LEAST, INK_NEAR
from paintsundo.data.timeline import Draft

LINE_COLOUR = "#505050"
LINE_WIDTH = 1.4 / 256
BASE_COLOURS, DETAIL_COLOURS = 7, 24
BASE_LEAST, DETAIL_LEAST = 0.006, 0.0006  # smallest regions, shares of the canvas
SKETCH_LEAST = 0.03
INK_CONTRAST = 45  # how much darker than their surroundings ink lines are, in grey levels
INK_WIDTH = 9 / 256
MOST_PIXELS = 100_000_000
QUICK = 3  # sides of the canvas that a picture read quickly has at least
FLAT_LEAST = 0.75  # share of the coloured area that is flat in line art


def opened(data: bytes, least: int | None = None) -> Image.Image:
    """Image bytes as RGB: the first frame, upright, 16 bits reduced to 8, transparency over white.

    `least`: JPEG pictures may be read smaller, down to about so many pixels a side, which takes a fraction of the time.
    Raises Unusable for what is no picture, and unread for one of more than `MOST_PIXELS`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata and large sizes
            picture: Image.Image = Image.open(io.BytesIO(data))
            if picture.width * picture.height > MOST_PIXELS:
                raise Unusable(
                    f"{picture.width} × {picture.height} pixels are more than {MOST_PIXELS // 10**6} million"
                )
            if least is not None:
                picture.draft(None, (least, least))
            picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I"):
            deep = np.clip(np.asarray(picture).astype(np.float64) / 257, 0, 255)
            picture = Image.fromarray(deep.round().astype(np.uint8))
        elif picture.mode == "F":
            values = np.nan_to_num(np.asarray(picture), posinf=0, neginf=0)
            scale = 255 if values.max() <= 1 else 1
            picture = Image.fromarray(np.clip(values * scale, 0, 255).round().astype(np.uint8))
        if not picture.has_transparency_data and picture.mode not in ("RGBA", "LA", "PA", "P"):
            return picture.convert("RGB")
        picture = picture.convert("RGBA")
    except Unusable:
        raise
    except Exception as error:  # readers of formats raise anything at all for broken files
        raise Unusable(f"unreadable picture: {error or type(error).__name__}") from error
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def usable(data: bytes, least: int | None = None) -> Image.Image:
    """Image bytes as RGB, as `opened`. Raises Unusable for what is too small or too narrow to be drawn, too."""
    plain = opened(data, least)
    if min(plain.size) < 32 or max(plain.size) > 8 * min(plain.size):
        raise Unusable("too small or too narrow")
    return plain


def read_canvas(data: bytes, canvas: Canvas, crop: int = 0, quick: bool = False) -> Picture:
    """Image bytes as a picture of the canvas's size (H, W, 3).

    Square canvases: see `read_picture`. With the source's proportions crop 0 is the whole picture, others smaller parts
    of the same proportions, always the same for the same bytes and number. `quick`: large JPEG pictures are read
    at a fraction of their size, which may be a level or two beside reading them whole. Raises Unusable.
    """
    least = QUICK * canvas.size if quick else None
    if canvas.shape == "square":
        return read_picture(data, canvas.size, crop, least)
    plain = usable(data, least)
    height, width = canvas.dimensions(*plain.size)
    random_ = random.Random(crop)
    part = 1.0 if crop == 0 else random_.uniform(0.6, 1.0)
    across, down = plain.width * part, plain.height * part
    left, top = (plain.width - across) * random_.random(), (plain.height - down) * random_.random()
    box = (left, top, left + across, top + down)
    return np.asarray(plain.resize((width, height), Image.Resampling.LANCZOS, box))


def read_picture(data: bytes, size: int, crop: int = 0, least: int | None = None) -> Picture:
    """Image bytes as a square picture (size, size, 3).

    Crop 0 is the central square; others are smaller squares, always the same for the same bytes and number.
    Pictures with a white border are completed to a square rather than cut. Raises Unusable when the bytes
    are no picture. `least`: see `opened`.
    """
    plain = usable(data, least)
    values = np.asarray(plain)
    border = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
    if (border.min(axis=1) >= 240).mean() > 0.7:
        side = round(max(plain.size) * 1.06)
        square = Image.new("RGB", (side, side), "white")
        square.paste(plain, ((side - plain.width) // 2, (side - plain.height) // 2))
        plain = square
    random_ = random.Random(crop)
    side = min(plain.size) if crop == 0 else round(min(plain.size) * random_.uniform(0.6, 1.0))
    across, down = (0.5, 0.5) if crop == 0 else (random_.random(), random_.random())
    left, top = round((plain.width - side) * across), round((plain.height - side) * down)
    cut = plain.crop((left, top, left + side, top + side))
    return np.asarray(cut.resize((size, size), Image.Resampling.LANCZOS))


def without(picture: Picture, mask: NDArray[np.bool_]) -> Picture:
    """A picture whose pixels under a mask (H, W) are taken from the nearest outside."""
    if mask.all() or not mask.any():
        return picture
    near = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
    return np.asarray(picture[tuple(near)])


def ink_of(picture: Picture) -> tuple[Picture, NDArray[np.bool_]] | None:
    """The dark outlines of a picture on white (H, W, 3) and where they are (H, W); None if it is not line
    art.

    Lines are what a grey closing removes (black top-hat). They are ink if they follow the borders between
    colours and what they enclose is flat, as in inked drawings and unlike photographs.
    """
    height = brush.side(*picture.shape[:2])
    grey = np.asarray(Image.fromarray(picture).convert("L")).astype(np.float32)
    side = 2 * round(INK_WIDTH * height / 2) + 1
    around = ndimage.grey_closing(grey, (side, side))
    mask = (around - grey > INK_CONTRAST) & (grey < 130)
    if mask.mean() < 0.008:
        return None
    slope = ndimage.gaussian_gradient_magnitude(grey, 1.0)
    distance = ndimage.distance_transform_edt(~mask)
    borders = slope > 8
    inner = (distance > 4) & (picture.min(axis=2) < segments.PAPER)
    if not borders.any() or (distance[borders] <= 1.5 * INK_NEAR * height).mean() < INK_LEAST:
        return None
    if inner.any() and (slope[inner] < 4).mean() < FLAT_LEAST:
        return None
    darkest = ndimage.grey_erosion(grey, (5, 5))
    amount = np.clip((around - grey) / np.maximum(around - darkest, 1), 0, 1) * (distance < 1.5)
    lines = np.round(255 - amount * (255 - darkest)).astype(np.uint8)
    return np.repeat(lines[..., None], 3, axis=2), mask


def outlines(parts: NDArray[np.int32], least: float, sigma: float) -> list[Polyline]:
    """Smoothed contours of regions of at least this share of the canvas, in drawing order, none drawn twice.

    Contours end at the edge of the canvas instead of following it.
    """
    height, width = parts.shape
    side = brush.side(height, width)
    area = np.bincount(parts.ravel())
    chosen = np.where(area[parts] >= least * parts.size, parts, 0)
    loops = [loop for _, loop in strokes.contours(chosen) if len(loop) >= 0.08 * side]
    lines = [line for loop in loops for line in strokes.within(loop, height, width) if len(line) >= 0.06 * side]
    lines = [strokes.canonical(strokes.smooth(strokes.resample(line), sigma)) for line in lines]
    order = strokes.stroke_order(lines, [0] * len(lines), side)
    apart = [0.016 * side] * len(lines)
    return strokes.without_repeats([lines[k] for k in order], apart, max(8, round(0.035 * side)))


def picture_process(picture: Picture, **record: Any) -> StagedProcess:
    """How a picture (H, W, 3) may have been painted. Raises Unusable for an all but blank one."""
    size, side = picture.shape[:2], brush.side(*picture.shape[:2])
    white = np.full_like(picture, 255)
    if (picture.min(axis=2) < segments.PAPER).mean() < 0.01:
        raise Unusable("all but blank")
    unit = side / 256
    ink = ink_of(picture)
    clean = picture
    if ink is not None:  # colours are judged without the lines
        clean = without(picture, ndimage.binary_dilation(ink[1], iterations=max(1, round(unit))))
    simple = segments.smoothed(clean, 3 * unit, 3)
    base = segments.regions(simple, BASE_COLOURS, BASE_LEAST, 4 * unit, 2 * round(2 * unit) + 1)
    detail = segments.regions(segments.smoothed(clean, 2 * unit, 1), DETAIL_COLOURS, DETAIL_LEAST, 0.0)

    drafts = []
    canvas = white
    sketch = outlines(base, SKETCH_LEAST, 6 * unit)
    if sketch:
        canvas = draw_lines(sketch, size, SKETCH_COLOUR, SKETCH_WIDTH * side)
        drafts.append(Draft("sketch", canvas, strokes.line_order(sketch, timeline.changed(white, canvas))))
    lines = outlines(base, BASE_LEAST, 1.5 * unit)
    over = None
    if ink is not None:
        drawn, over = ink
        marks = timeline.changed(white, drawn)
        far = ndimage.distance_transform_edt(~marks) > SKETCH_KEPT * side
        drafts.append(Draft("ink", np.where(far[..., None], canvas, drawn), strokes.line_order(lines, marks)))
    elif lines:
        canvas = draw_lines(lines, size, LINE_COLOUR, LINE_WIDTH * side)
        drafts.append(Draft("line", canvas, strokes.line_order(lines, timeline.changed(white, canvas))))
    for name, parts in (("flats", base), ("details", detail)):
        flat = segments.flat_picture(clean, parts)
        if over is not None:
            flat = np.where(over[..., None], picture, flat)
        drafts.append(Draft(name, flat, *brush.painting(parts)))
    drafts.append(Draft("shading", picture, *brush.painting(base)))
    weights: Mapping[str, float] = record.pop("weights", timeline.PICTURE_WEIGHTS)
    return timeline.assemble(drafts, weights, **record)
