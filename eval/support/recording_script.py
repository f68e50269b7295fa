"""What happens in a recording and when: drawing, pauses, views, undoing, cuts; drawn by lot, frame by frame."""

from dataclasses import dataclass, field, replace

import numpy as np

from support.recording_levels import Count, Level
from support.recording_subjects import Shown

NO_CARD = -1


@dataclass(frozen=True)
class View:
    """How the canvas is looked at: `zoom` 1 shows it whole; (x, y) of its pixels in the middle of the viewport."""

    zoom: float
    x: float
    y: float
    angle: float = 0.0  # degrees
    flipped: bool = False

    def towards(self, other: "View", share: float) -> "View":
        """Between two views, 0 … 1; zoom geometrically. Flips happen at once."""
        mix = lambda a, b: a + (b - a) * share  # noqa: E731
        zoom = self.zoom * (other.zoom / self.zoom) ** share
        return View(zoom, mix(self.x, other.x), mix(self.y, other.y), mix(self.angle, other.angle), other.flipped)


@dataclass(frozen=True)
class Row:
    """One frame: work shown, view, the card over it (number, opacity), whether a hand is drawing."""

    work: float
    view: View
    card: int = NO_CARD
    opacity: float = 0.0
    busy: bool = False


@dataclass(frozen=True)
class Popup:
    """Something over the canvas in frames begin … end - 1: kind palette, dialog or menu; `at`: its place, 0 … 1."""

    kind: str
    begin: int
    end: int
    at: tuple[float, float]
    size: tuple[float, float]  # shares of the viewport
    drift: tuple[float, float] = (0.0, 0.0)  # shares of the viewport that it is dragged in its time
    dims: bool = False  # the whole screen is darkened


@dataclass
class Script:
    rows: list[Row] = field(default_factory=list)
    popups: list[Popup] = field(default_factory=list)
    cards: list[str] = field(default_factory=list)  # title, finished, black, face: what each shows


def home(process: Shown) -> View:
    """The whole canvas, upright."""
    height, width = process.size
    return View(1.0, width / 2, height / 2)


def _count(random: np.random.Generator, ends: Count) -> int:
    return int(random.integers(ends[0], ends[1] + 1))


def _changed_box(process: Shown, begin: float, end: float) -> tuple[float, float, float, float] | None:
    """left, top, right, bottom of what is drawn between two shares of the work."""
    before = process.state(begin)
    touched = np.zeros(process.size, bool)
    for work in np.linspace(begin, end, 5)[1:]:
        touched |= (process.state(float(work)) != before).any(axis=2)
    if not touched.any():
        return None
    ys, xs = np.flatnonzero(touched.any(axis=1)), np.flatnonzero(touched.any(axis=0))
    return float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)


def _fitted(
    process: Shown,
    wanted: View,
    box: tuple[float, float, float, float] | None,
    room: tuple[float, float],
    random: np.random.Generator,
) -> View:
    """`wanted`, zoomed and moved so that the box stays in view; `room`: the viewport in canvas pixels at zoom 1."""
    if box is None or (wanted.zoom == 1 and wanted.angle == 0):
        return replace(home(process), flipped=wanted.flipped)
    left, top, right, bottom = box
    turn = np.radians(wanted.angle)
    across, down = (right - left) * 1.1 + 8, (bottom - top) * 1.1 + 8
    wide = across * abs(np.cos(turn)) + down * abs(np.sin(turn))
    high = across * abs(np.sin(turn)) + down * abs(np.cos(turn))
    zoom = min(wanted.zoom, room[0] / wide, room[1] / high)
    spare = np.maximum(0, (room[0] / zoom - wide, room[1] / zoom - high)) * 0.3
    x, y = np.array([(left + right) / 2, (top + bottom) / 2]) + random.uniform(-0.5, 0.5, 2) * spare.min()
    if zoom < 1.15 and wanted.angle == 0:
        return replace(home(process), flipped=wanted.flipped)
    return replace(wanted, zoom=float(zoom), x=float(x), y=float(y))


def write(
    process: Shown, level: Level, random: np.random.Generator, rate: int, room: tuple[float, float], seconds: float
) -> Script:
    """The script of a recording of about this length. `room`: the viewport in canvas pixels at zoom 1.

    Drawing comes in chunks of the work, of different lengths and speeds; between chunks lies all else. While the view
    is zoomed or turned, it is such that what is drawn in it can be seen.
    """
    chunks = max(6, round(seconds * random.uniform(1.2, 2.2)))
    weights = random.uniform(0.4, 1.6, chunks)
    ends = np.minimum(np.cumsum(weights) / weights.sum(), 1.0)
    ends[-1] = 1.0
    begins = np.concatenate([[0.0], ends[:-1]])
    lengths = np.maximum(2, np.round(seconds * rate * random.uniform(0.5, 1.5, chunks) / chunks)).astype(int)

    def some(ends_: Count) -> set[int]:
        inner = np.arange(1, chunks - 1)
        return {int(k) for k in random.choice(inner, min(len(inner), _count(random, ends_)), replace=False)}

    wanted = [home(process)] * chunks
    for events, change in (
        (level.zooms, lambda: {"zoom": float(random.uniform(1.4, 4.0))}),
        (level.rotations, lambda: {"angle": float(random.uniform(10, 80) * random.choice([-1, 1]))}),
        (level.flips, lambda: {"flipped": True}),
    ):
        for first in some(events):
            values = change()
            for k in range(first, min(chunks - 1, first + int(random.integers(1, 5)))):
                wanted[k] = replace(wanted[k], **values)  # type: ignore[arg-type]
    pauses, undos, dialogs, cuts = (some(e) for e in (level.pauses, level.undos, level.dialogs, level.cuts))

    script = Script()
    rows = script.rows
    view = home(process)
    length = lambda low, high: max(1, round(random.uniform(low, high) * rate))  # noqa: E731

    def hold(work: float, count: int) -> None:
        rows.extend([Row(work, view)] * count)

    def card(kind: str, work: float, count: int) -> None:
        number = len(script.cards)
        script.cards.append(kind)
        fade = int(random.choice([0, 0, length(0.2, 0.6)]))
        rows.extend(Row(work, view, number, (k + 1) / (fade + 1)) for k in range(fade if work > 0 else 0))
        rows.extend([Row(work, view, number, 1.0)] * count)
        rows.extend(Row(work, view, number, 1 - (k + 1) / (fade + 1)) for k in range(fade if work < 1 else 0))

    if random.random() < level.intro:
        card(str(random.choice(["title", "finished"])), 0.0, length(0.8, 2.0))
    hold(0.0, length(0.3, 1.0))
    for k in range(chunks):
        begin, end = float(begins[k]), float(ends[k])
        turned = _fitted(process, wanted[k], _changed_box(process, begin, end), room, random)
        if turned != view:
            steps = 0 if random.random() < 0.4 or turned.flipped != view.flipped else length(0.2, 0.8)
            rows.extend(Row(begin, view.towards(turned, (n + 1) / (steps + 1))) for n in range(steps))
            view = turned
            hold(begin, length(0.05, 0.4))
        if k in pauses:
            hold(begin, length(0.8, 3.0))
        if k in dialogs:
            opened = len(rows)
            hold(begin, length(0.8, 2.0))
            kind = str(random.choice(["dialog", "dialog", "menu"]))
            at = (float(random.uniform(0.1, 0.6)), float(random.uniform(0.1, 0.6)))
            size = (float(random.uniform(0.25, 0.5)), float(random.uniform(0.25, 0.5)))
            script.popups.append(
                Popup(kind, opened, len(rows), at, size, dims=kind == "dialog" and bool(random.random() < 0.2))
            )
        if k in cuts:
            card(str(random.choice(["title", "black", "face"])), begin, length(0.5, 1.5))
            begin += (end - begin) * float(random.uniform(0.2, 0.8))
        count = int(lengths[k])
        rows.extend(Row(min(end, begin + (end - begin) * (n + 1) / count), view, busy=True) for n in range(count))
        if k in undos:
            for _ in range(int(random.integers(1, 4))):
                back = end - (end - begin) * float(random.uniform(0.2, 1.0))
                hold(back, length(0.1, 0.5))
                hold(end, length(0.1, 0.4))
    hold(1.0, length(0.5, 1.5))
    if random.random() < level.outro:
        card(str(random.choice(["title", "finished", "black"])), 1.0, length(0.8, 2.0))
    for _ in range(_count(random, level.palettes)):
        opened = int(random.uniform(0.05, 0.8) * len(rows))
        at = (float(random.uniform(0, 0.75)), float(random.uniform(0, 0.75)))
        size = (float(random.uniform(0.14, 0.3)), float(random.uniform(0.2, 0.4)))
        drift = tuple(random.uniform(-0.15, 0.15, 2) * (random.random() < 0.3))
        closed = min(len(rows), opened + length(0.8, 3.5))
        script.popups.append(Popup("palette", opened, closed, at, size, (float(drift[0]), float(drift[1]))))
    return script
