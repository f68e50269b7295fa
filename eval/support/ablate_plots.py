"""Pictures of a comparison page: intervals, curves over an axis, matrices, figures against time, strips of films."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
from PIL import Image, ImageDraw

from support.ablate_grid import Table
from support.ablate_statistics import Found, row_interval, seed_spread
from support.quality_summary import TITLES

mpl.use("Agg")
import matplotlib.pyplot as plt

MOST_MEASURES = 4
MOST_STRIPS = 14
SAVED: dict[str, Any] = {"dpi": 100, "bbox_inches": "tight"}


def draw(kind: str, table: Table, rows: Sequence[Found], path: Path) -> bool:
    """Draw one plot of a table; False where there is nothing to draw."""
    rows = [row for row in rows if row.records]
    measures = [m for m in table.measures if any(row.values(m) for row in rows)][:MOST_MEASURES]
    if not rows or not measures:
        return False
    figure = _KINDS[kind](table, rows, measures)
    if figure is None:
        return False
    figure.savefig(path, **SAVED)
    plt.close(figure)
    return True


def _dots(table: Table, rows: Sequence[Found], measures: Sequence[str]) -> Any:
    """A panel a measure: every row's mean and interval, single seeds as small dots, the truth as a line."""
    height = 0.9 + 0.26 * len(rows)
    figure, axes = plt.subplots(
        1, len(measures), figsize=(2.2 + 2.5 * len(measures), height), squeeze=False, sharey=True
    )
    places = np.arange(len(rows))[::-1]
    for axis, measure in zip(axes[0], measures, strict=True):
        spread = seed_spread(rows, measure)
        for place, row in zip(places, rows, strict=True):
            found = row_interval(row, measure, spread)
            if found is None:
                continue
            axis.plot([found.low, found.high], [place, place], "C0-", lw=1.5)
            axis.plot(found.mean, place, "C0o", ms=5)
            for seed, values in row.values(measure).items():
                if seed is not None:
                    axis.plot(np.mean(list(values.values())), place, "k.", ms=3, alpha=0.6)
        truth = row_interval(rows[0], measure, spread, "truth")
        if truth is not None:
            axis.axvline(truth.mean, color="C2", ls="--", lw=1, label="true process")
            axis.legend(fontsize=6, loc="best")
        axis.set_title(_title(measure), fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(axis="x", alpha=0.3)
    axes[0, 0].set_yticks(places, [row.row.path.replace("_", " ") for row in rows], fontsize=7)
    return figure


def _lines(table: Table, rows: Sequence[Found], measures: Sequence[str]) -> Any:
    """A panel a measure: over the last axis whose labels are numbers, a line for each value of the others."""
    axis_name = next((a for a in reversed(table.axes) if all(map(_is_number, table.axes[a]))), None)
    if axis_name is None:
        return None
    figure, axes = plt.subplots(1, len(measures), figsize=(4.2 * len(measures), 3.4), squeeze=False)
    for axis, measure in zip(axes[0], measures, strict=True):
        spread = seed_spread(rows, measure)
        lines: dict[str, list[tuple[float, Any]]] = {}
        for row in rows:
            found = row_interval(row, measure, spread)
            if found is not None:
                name = " ".join(label for a, label in row.row.labels.items() if a != axis_name) or table.title
                lines.setdefault(name.replace("_", " "), []).append((float(row.row.labels[axis_name]), found))
        for number, (name, points) in enumerate(lines.items()):
            colour, x = f"C{number % 10}", [point for point, _ in points]
            axis.plot(x, [f.mean for _, f in points], marker="o", ms=3, color=colour, label=name)
            if len(lines) <= 3:
                axis.fill_between(x, [f.low for _, f in points], [f.high for _, f in points], color=colour, alpha=0.12)
        if max(map(float, table.axes[axis_name])) >= 20:
            axis.set_xscale("log")
            axis.set_xticks([float(v) for v in table.axes[axis_name]], table.axes[axis_name], fontsize=7)
            axis.minorticks_off()
        axis.set_xlabel(axis_name.replace("_", " "), fontsize=8)
        axis.set_title(_title(measure), fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    axes[0, -1].legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _matrix(table: Table, rows: Sequence[Found], measures: Sequence[str]) -> Any:
    """A panel a measure: the first two axes against each other."""
    if len(table.axes) != 2:
        return None
    (down, across), (lines, columns) = list(table.axes), [list(v) for v in table.axes.values()]
    size = (1.4 + (1.2 + 0.75 * len(columns)) * len(measures), 1.2 + 0.45 * len(lines))
    figure, axes = plt.subplots(1, len(measures), figsize=size, squeeze=False, sharey=True)
    for axis, measure in zip(axes[0], measures, strict=True):
        spread = seed_spread(rows, measure)
        values = np.full((len(lines), len(columns)), np.nan)
        for row in rows:
            found = row_interval(row, measure, spread)
            if found is not None:
                values[lines.index(row.row.labels[down]), columns.index(row.row.labels[across])] = found.mean
        better, digits = TITLES[measure][1:3]
        axis.imshow(values, cmap="viridis" if better >= 0 else "viridis_r", aspect="auto")
        middle = np.nanmean(values) if np.isfinite(values).any() else 0.0
        for (y, x), value in np.ndenumerate(values):
            if np.isfinite(value):
                light = (value > middle) == (better >= 0)
                axis.text(
                    x, y, f"{value:.{digits}f}", ha="center", va="center", fontsize=7, color="k" if light else "w"
                )
        axis.set_xticks(range(len(columns)), columns, fontsize=7, rotation=30, ha="right")
        axis.set_xlabel(across.replace("_", " "), fontsize=8)
        axis.set_title(_title(measure), fontsize=8)
    axes[0, 0].set_yticks(range(len(lines)), lines, fontsize=7)
    axes[0, 0].set_ylabel(down.replace("_", " "), fontsize=8)
    return figure


def _frontier(table: Table, rows: Sequence[Found], measures: Sequence[str]) -> Any:
    """A panel a measure, against seconds a film."""
    measures = [measure for measure in measures if measure != "seconds"]
    timed = [row for row in rows if row.values("seconds")]
    if not timed or not measures:
        return None
    figure, axes = plt.subplots(1, len(measures), figsize=(4 * len(measures), 3.4), squeeze=False)
    last = list(table.axes)[-1]
    for axis, measure in zip(axes[0], measures, strict=True):
        spread, seconds = seed_spread(rows, measure), seed_spread(rows, "seconds")
        lines: dict[str, list[tuple[float, Any, str]]] = {}
        for row in timed:
            found, time = row_interval(row, measure, spread), row_interval(row, "seconds", seconds)
            if found is not None and time is not None:
                name = " ".join(label for a, label in row.row.labels.items() if a != last)
                lines.setdefault(name.replace("_", " "), []).append((time.mean, found, row.row.labels[last]))
        for number, (name, points) in enumerate(lines.items()):
            x, y = [time for time, _, _ in points], [found.mean for _, found, _ in points]
            bars = [[f.mean - f.low for _, f, _ in points], [f.high - f.mean for _, f, _ in points]]
            style = {"fmt": "o-" if name else "o", "ms": 3, "lw": 1, "elinewidth": 0.4, "color": f"C{number % 10}"}
            axis.errorbar(x, y, yerr=bars, label=name, **style)
            for time, found, label in points:
                place = {"xytext": (3, 3), "textcoords": "offset points"}
                axis.annotate(label.replace("_", " "), (time, found.mean), fontsize=5, **place)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
        axis.set_xlabel("seconds a film", fontsize=8)
        axis.set_title(_title(measure), fontsize=8)
        axis.tick_params(labelsize=6, which="both")
        axis.grid(alpha=0.3)
    if len(table.axes) > 1:
        axes[0, -1].legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _steps(table: Table, rows: Sequence[Found], measures: Sequence[str]) -> Any:
    """A panel a row: the operation step that generated states show against the one asked for."""
    shown = [row for row in rows if any(record["read_steps"] for record in row.records.values())]
    if not shown:
        return None
    columns = min(5, len(shown))
    lines = -(-len(shown) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(2.3 * columns, 2.3 * lines), squeeze=False, sharey=True)
    for axis in axes.flat[len(shown) :]:
        axis.axis("off")
    for axis, row in zip(axes.flat, shown, strict=False):
        for record in row.records.values():
            for found in record["read_steps"].values():
                axis.plot(found["asked"], found["read"], "k.", ms=3, alpha=0.25)
        axis.plot([0, 999], [0, 999], "C2--", lw=0.8)
        axis.set(xlim=(0, 999), ylim=(0, 999))
        axis.set_title(row.row.path.replace("_", " "), fontsize=8)
        axis.tick_params(labelsize=6)
    figure.supxlabel("operation step asked for", fontsize=8)
    figure.supylabel("step that the state shows", fontsize=8)
    return figure


_KINDS = {"dots": _dots, "lines": _lines, "matrix": _matrix, "frontier": _frontier, "steps": _steps}


def strip_sheet(output: Path, table: Table, rows: Sequence[Found], path: Path) -> bool:
    """A sheet of one process: a row's film in each line, the true process last; False where no strips are kept."""
    chosen = [row for row in rows if row.records and any(fnmatchcase(row.row.path, p) for p in table.strips)]
    files = {row.row.path: sorted((output / "strips").glob(f"{row.row.cells[0].name}.*.webp")) for row in chosen}
    kept = [(name, found[0]) for name, found in files.items() if found]
    if not kept:
        return False
    if len(kept) > MOST_STRIPS:
        kept = [kept[i] for i in np.unique(np.linspace(0, len(kept) - 1, MOST_STRIPS).round().astype(int))]
    strips = []
    for name, file in kept:
        with Image.open(file) as picture:
            whole = picture.convert("RGB")
        strips.append((name.replace("_", " "), whole.crop((0, 0, whole.width, whole.height // 2))))
    strips.append(("true process", whole.crop((0, whole.height // 2, whole.width, whole.height))))
    label, gap = 13, 2
    page = Image.new("RGB", (max(s.width for _, s in strips), sum(s.height + label + gap for _, s in strips)), "white")
    pen, top = ImageDraw.Draw(page), 0
    for name, strip in strips:
        pen.text((3, top + 1), name, fill="black")
        page.paste(strip, (0, top + label))
        top += strip.height + label + gap
    page.save(path, quality=88)
    return True


def _title(measure: str) -> str:
    title, better, _ = TITLES[measure]
    return f"{title} {'↓·↑'[better + 1]}".rstrip(" ·")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
