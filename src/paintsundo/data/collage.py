"""One drawing of several finished processes: each drawn at its own place and size, on paper or a background.

The processes may come from any source. Each is placed as a layer: transparent where its paper is, multiplied onto what
lies behind while it is lines only, and opaque within its silhouette from its main painting stage on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from paintsundo.data import brush
from paintsundo.data.frame_stages import as_stages
from paintsundo.data.frames import FrameProcess
from paintsundo.data.moves import Mask, Move, Order, before, blank_like, join, moves_of, ranked, settle, staged
from paintsundo.data.process import DrawingProcess, Picture
from paintsundo.data.staged import StagedProcess
from paintsundo.data.timeline import changed

ORDERS = ("elements", "stages")
# Names of stages in the order in which a whole picture is worked on; others stay where their own process has them.
PHASES = {
    **dict.fromkeys(("construction", "sketch"), 0),
    **dict.fromkeys(("line", "lines", "ink"), 1),
    "background": 2,
    **dict.fromkeys(("flats", "base", "blocks", "block-in"), 3),
    "details": 4,
    **dict.fromkeys(("shading", "shadows"), 5),
    **dict.fromkeys(("light", "lights", "effects"), 6),
}
WITH_BACKGROUND = 0.7
BACKGROUND_LAST = 0.25  # share of the backgrounds painted around what is there, when elements follow each other
MOST_STAGES = 16  # of one element, where it is a row of states
FULL = 0.98  # share of its own canvas from which on an element covers all of it, corners included
BACKGROUND_COST = 0.15  # work of a pixel of background, in pixels of the elements: the brush is broad
WORK_RULE = (
    "collage: an element's work counts as its visible area in pixels and is divided over its stages as in its own "
    f"process; a pixel of the background counts {BACKGROUND_COST:g}; all of it is then scaled to 1"
)

Box = tuple[int, int, int, int]  # top, left, height, width in pixels


@dataclass(eq=False)
class _Element:
    """A process at its place: canvases (h, w, 3) after its moves, their orders, its silhouette (h, w), 0 ... 1."""

    box: Box
    names: list[str]
    canvases: list[Picture]
    orders: list[Order]
    works: list[float]
    silhouette: NDArray[np.float32]
    fill: int  # number of the first move after which the silhouette is opaque
    done: int = 0  # moves done so far
    phases: list[int] = field(default_factory=list)

    @property
    def window(self) -> tuple[slice, slice]:
        top, left, height, width = self.box
        return slice(top, top + height), slice(left, left + width)

    def paste(self, canvas: Picture) -> None:
        """Lay what is done over a canvas (H, W, 3), in place."""
        if self.done == 0:
            return
        picture = self.canvases[self.done - 1].astype(np.float32)
        behind = canvas[self.window].astype(np.float32)
        mixed = behind * picture / 255
        if self.done > self.fill:
            alpha = self.silhouette[..., None]
            mixed = alpha * picture + (1 - alpha) * mixed
        canvas[self.window] = np.rint(mixed).astype(np.uint8)


def collage(
    processes: Sequence[DrawingProcess], canvas: tuple[int, int], seed: int, order: str = "stages"
) -> StagedProcess:
    """Several processes as one, on a canvas of (height, width) pixels. Equal arguments give equal results.

    `order`: "elements", one is finished before the next is begun; "stages", all are sketched, then all inked, and so
    on. Subject, tags, source, licence, author and hash are those of all elements; `extra["collage"]` says where each
    lies. Raises ValueError for no processes, an impossible canvas or order.
    """
    if not processes or min(canvas) < 8 * len(processes) ** 0.5 or order not in ORDERS:
        raise ValueError(f"no collage of {len(processes)} processes on {canvas} pixels by {order!r}")
    random = np.random.default_rng(seed)
    cells = _cells(canvas, len(processes), random)
    elements = [_placed(_as_staged(process), cell, random) for process, cell in zip(processes, cells, strict=True)]
    paper = np.full((*canvas, 3), 255, np.uint8)
    ground = _background(canvas, random) if random.random() < WITH_BACKGROUND else paper
    last = order == "elements" and random.random() < BACKGROUND_LAST
    moves = _drawn(elements, paper, ground, order, last)
    record = _record(processes)
    record["extra"]["collage"] = {
        "order": order,
        "background": bool((ground != 255).any()),
        "boxes": [list(element.box) for element in elements],
    }
    return staged(join(settle(moves)), **record)


def _as_staged(process: DrawingProcess) -> StagedProcess:
    if isinstance(process, FrameProcess):
        return as_stages(process, MOST_STAGES)
    if not isinstance(process, StagedProcess):
        raise ValueError(f"a {type(process).__name__} cannot be placed")
    return process


def _cells(canvas: tuple[int, int], count: int, random: np.random.Generator) -> list[Box]:
    """As many cells as elements: the canvas divided again and again across its longer side, at uneven places."""
    cells: list[tuple[Box, int]] = [((0, 0, *canvas), count)]
    found: list[Box] = []
    while cells:
        (top, left, height, width), number = cells.pop(0)
        if number == 1:
            found.append((top, left, height, width))
            continue
        first = number // 2 + int(number % 2 and random.random() < 0.5)
        share = np.clip(first / number + random.normal(0, 0.06), 0.25, 0.75)
        if height > width * random.uniform(0.8, 1.2):
            at = round(height * share)
            parts: list[Box] = [(top, left, at, width), (top + at, left, height - at, width)]
        else:
            at = round(width * share)
            parts = [(top, left, height, at), (top, left + at, height, width - at)]
        cells += list(zip(parts, (first, number - first), strict=True))
    random.shuffle(found)
    return found


def _placed(process: StagedProcess, cell: Box, random: np.random.Generator) -> _Element:
    """A process scaled into a cell, cut to what it draws."""
    moves = moves_of(process)
    inside = _silhouette(process.finished)
    marks = inside.copy()
    for move in moves:
        marks |= changed(blank_like(move.after), move.after)
    rows, columns = np.flatnonzero(marks.any(axis=1)), np.flatnonzero(marks.any(axis=0))
    cut = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    own = marks[cut].shape
    top, left, height, width = cell
    scale = random.uniform(0.75, 1.0) * min(height / own[0], width / own[1])
    size = (max(1, round(own[1] * scale)), max(1, round(own[0] * scale)))  # width first, as cv2 has it
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    areas = [changed(before(moves, k), move.after).sum() for k, move in enumerate(moves)]
    phases: list[int] = []
    for move in moves:
        phases.append(max([PHASES.get(move.name, 0), *phases[-1:]]))
    return _Element(
        (
            top + int(random.integers(0, height - size[1], endpoint=True)),
            left + int(random.integers(0, width - size[0], endpoint=True)),
            size[1],
            size[0],
        ),
        [move.name for move in moves],
        [np.asarray(cv2.resize(move.after[cut], size, interpolation=how), np.uint8) for move in moves],
        [
            np.asarray(cv2.resize(move.order[cut], size, interpolation=cv2.INTER_NEAREST_EXACT), np.float32)
            for move in moves
        ],
        [move.work for move in moves],
        np.asarray(cv2.resize(inside[cut].astype(np.float32), size, interpolation=how), np.float32),
        int(np.argmax(areas)),
        phases=phases,
    )


def _silhouette(finished: Picture) -> Mask:
    """What is not paper reached from the border: (H, W)."""
    white = np.pad((finished == 255).all(axis=2), 1, constant_values=True)
    outside = ndimage.label(white)[0]
    inside = (outside != outside[0, 0])[1:-1, 1:-1]
    return np.ones_like(inside) if inside.mean() > FULL else inside


def _background(canvas: tuple[int, int], random: np.random.Generator) -> Picture:
    """One light colour, or a gradient between two: (H, W, 3)."""
    hues = (random.uniform(0, 180) + random.normal(0, 15, 2)) % 180  # halves of degrees, as cv2 has them
    hls = [(hue, random.uniform(150, 235), random.uniform(40, 200)) for hue in hues]
    colours = np.asarray(cv2.cvtColor(np.array([hls], np.uint8), cv2.COLOR_HLS2RGB), np.float64)
    first, second = colours[0, 0], colours[0, int(random.random() < 0.5)]
    ys, xs = np.indices(canvas)
    angle = random.uniform(0, 2 * np.pi)
    along = xs * np.cos(angle) + ys * np.sin(angle)
    share = ((along - along.min()) / max(float(np.ptp(along)), 1.0))[..., None]
    return np.rint(first + share * (second - first)).astype(np.uint8)


def _drawn(elements: list[_Element], paper: Picture, ground: Picture, order: str, ground_last: bool) -> list[Move]:
    """The moves of all elements, and of the background, on one canvas."""
    turns = [
        (element.phases[k], number, k) for number, element in enumerate(elements) for k in range(len(element.works))
    ]
    if (ground != 255).any():
        turns.append((PHASES["background"], -1, 0))
    if order == "stages":
        turns.sort()
    else:
        turns.sort(key=lambda turn: (turn[1] if turn[1] >= 0 or not ground_last else len(elements), turn[2]))
    shown, moves = paper, list[Move]()
    nothing = np.full(paper.shape[:2], np.nan, np.float32)
    visible = [float(element.silhouette.sum()) for element in elements]
    for _, number, k in turns:
        keys = nothing.copy()
        if number < 0:
            shown, name = ground, "background"
            work = BACKGROUND_COST * nothing.size
        else:
            element = elements[number]
            element.done = k + 1
            keys[element.window] = element.orders[k]
            name, work = element.names[k], element.works[k] * visible[number]
        canvas = shown.copy()
        for element in elements:
            element.paste(canvas)
        if number < 0:
            last = moves[-1].after if moves else paper
            height, width, _ = canvas.shape
            keys = ranked(brush.sweep(height, width, brush.BROAD * height), changed(last, canvas))
        moves.append(Move(name, canvas, keys, work))
    return moves


def _record(processes: Sequence[DrawingProcess]) -> dict[str, Any]:
    """What all elements say of their origin, as keyword arguments of a process."""
    hashes = "".join(process.hash for process in processes)
    stems = [stem for process in processes for stem in process.extra.get("stems", ())]
    rules = dict.fromkeys(process.work_rule for process in processes)
    return {
        "subject": "+".join(process.subject for process in processes),
        "source": "+".join(process.source for process in processes),
        "tags": tuple(dict.fromkeys(tag for process in processes for tag in process.tags)),
        "licence": _joined(process.licence for process in processes),
        "author": _joined(process.author for process in processes),
        "hash": hashlib.sha256(hashes.encode()).hexdigest(),
        "work_rule": "; ".join([*rules, WORK_RULE]),
        "extra": {"stems": stems} if stems else {},
    }


def _joined(texts: Any) -> str:
    parts = [part for text in texts for part in text.split("; ")]
    return "; ".join(dict.fromkeys(filter(None, parts)))
