"""Pictures of several elements, with or without a background, drawn from single pieces of art."""

from __future__ import annotations

import random

from paintsundo.data.scene import Placed
from paintsundo.data.svg_document import Limits
from paintsundo.data.svg_reader import parse

BACKGROUND_SHARE = 0.6
LAYOUTS: dict[int, list[tuple[float, float, float, float]]] = {  # cells (x, y, width, height) in canvas sides
    1: [(0.0, 0.0, 1.0, 1.0)],
    2: [(0.0, 0.1, 0.55, 0.8), (0.45, 0.1, 0.55, 0.8)],
    3: [(0.0, 0.0, 0.5, 0.55), (0.5, 0.05, 0.5, 0.5), (0.15, 0.48, 0.7, 0.52)],
    4: [(0.0, 0.0, 0.5, 0.5), (0.5, 0.0, 0.5, 0.5), (0.0, 0.5, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5)],
}


def _colour(random_: random.Random, lightness: tuple[float, float]) -> str:
    hue, saturation = random_.randrange(360), random_.uniform(20, 75)
    return f"hsl({hue},{saturation:.0f}%,{random_.uniform(*lightness):.0f}%)"


def background(random_: random.Random) -> bytes:
    """A full-bleed background: one colour, a gradient, or sky over ground."""
    kind = random_.choice(["plain", "gradient", "horizon", "disc"])
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">'
    whole = '<rect x="-1" y="-1" width="102" height="102"'
    first, second = _colour(random_, (45, 90)), _colour(random_, (25, 80))
    if kind == "plain":
        body = f'{whole} fill="{first}"/>'
    elif kind == "gradient":
        x, y = random_.choice([(0, 1), (1, 1), (1, 0)])
        body = (
            f'<defs><linearGradient id="g" x1="0" y1="0" x2="{x}" y2="{y}">'
            f'<stop offset="0" stop-color="{first}"/><stop offset="1" stop-color="{second}"/>'
            f'</linearGradient></defs>{whole} fill="url(#g)"/>'
        )
    elif kind == "horizon":
        level, lift = random_.uniform(50, 80), random_.uniform(-15, 15)
        body = (
            f'{whole} fill="{first}"/><path fill="{second}" '
            f'd="M-1 {level:.1f}Q50 {level + lift:.1f} 101 {level:.1f}V101H-1Z"/>'
        )
    else:
        radius = random_.uniform(38, 48)
        body = f'{whole} fill="{first}"/><circle cx="50" cy="50" r="{radius:.1f}" fill="{second}"/>'
    return f"{head}{body}</svg>".encode()


def compose(elements: list[bytes], seed: int, limits: Limits | None = None) -> tuple[list[Placed], bool]:
    """Place 1 ... 4 pieces of art on a canvas, each in its own place and size; and whether a background lies
    behind.

    The same elements and seed give the same composition. Raises Unusable as `parse` does.
    """
    random_ = random.Random(seed)
    with_background = len(elements) == 1 or random_.random() < BACKGROUND_SHARE
    placed = [Placed(parse(background(random_), "b"))] if with_background else []
    cells = list(LAYOUTS[len(elements)])
    if len(elements) > 1 and random_.random() < 0.5:  # the mirrored layout
        cells = [(1 - x - width, y, width, height) for x, y, width, height in cells]
    for number, (data, (x, y, width, height)) in enumerate(zip(elements, cells, strict=True)):
        low, high = (0.6, 0.95) if len(elements) == 1 else (0.8, 1.05)
        side = random_.uniform(low, high) * min(width, height)
        left = x + random_.random() * (width - side)
        top = y + random_.random() * (height - side)
        box = (round(left, 3), round(top, 3), round(side, 3), round(side, 3))
        placed.append(Placed(parse(data, f"e{number}", limits), box))
    return placed, with_background
