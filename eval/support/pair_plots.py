"""Pictures of measurements on true processes: what changes when beside the truth, and stages over time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from paintsundo.metrics.change import change_masks
from paintsundo.metrics.films import Film

SIDE = 96
AGREE, OURS_ALONE, TRUE_ALONE = (40, 140, 60), (210, 60, 50), (60, 90, 200)


def write_change_maps(path: Path, film: Film, true_film: Film, intervals: int = 10) -> None:
    """Ten equal spans of time, two rows: the film at the end of each, and what changed in it: green in both, red in the
    film alone, blue in the truth alone."""
    ours, true = change_masks(film, intervals), change_masks(true_film, intervals)
    maps = np.full((*ours.shape, 3), 255, np.uint8)
    for mask, colour in ((ours & true, AGREE), (ours & ~true, OURS_ALONE), (true & ~ours, TRUE_ALONE)):
        maps[mask] = colour
    ends = film[np.round(np.linspace(0, len(film) - 1, intervals + 1)).astype(int)[1:]]
    scale = SIDE / max(film.shape[1:3])  # masks may be of another size, and so of a slightly other shape
    size = max(1, round(film.shape[2] * scale)), max(1, round(film.shape[1] * scale))
    rows = [np.concatenate([_cell(picture, size) for picture in row], axis=1) for row in (ends, maps)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(path)


def _cell(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.pad(small, ((1, 1), (1, 1), (0, 0)), constant_values=128)


def plot_curves(processes: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Over normalised time, films beside the truth and null baselines: progress, edges, flat colour, shading; and the
    steps read off generated states. Lines are medians, 80 % of the films lie in the shade."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 5, figsize=(17, 3.6))
    times = np.linspace(0, 1, 101)
    rows = (("film", "black", "-"), ("truth", "C0", "--"), ("cross_fade", "C1", ":"), ("edges_then_colour", "C2", ":"))
    places = {
        "progress": ("progress", "curve"),
        "edges": ("stages", "curves", "edges"),
        "flat colour": ("stages", "curves", "colour"),
        "shading": ("stages", "curves", "shading"),
    }
    for axis, (title, place) in zip(axes, places.items(), strict=False):
        for row, colour, line in rows:
            curves = [_curve(figures, row, place) for figures in processes.values()]
            sampled = [np.interp(times, np.linspace(0, 1, len(curve)), curve) for curve in curves if curve]
            if not sampled:
                continue
            low, middle, high = np.quantile(sampled, [0.1, 0.5, 0.9], axis=0)
            axis.plot(times, middle, line, color=colour, lw=1.4, label=row.replace("_", " "))
            if row in ("film", "truth"):
                axis.fill_between(times, low, high, color=colour, alpha=0.12, lw=0)
        axis.set(xlabel="time", title=title, ylim=(-0.05, 1.05))
    axes[0].legend(fontsize=7)
    steps = axes[-1]
    for found in (f["calibration"] for f in processes.values() if f.get("calibration")):
        steps.plot(found["asked"], found["read"], "k.", alpha=0.3, ms=4)
    steps.plot([0, 999], [0, 999], "C0--", lw=0.8)
    steps.set(xlabel="operation step asked for", title="step that the state shows", xlim=(0, 999), ylim=(0, 999))
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _curve(figures: Mapping[str, Any], row: str, place: tuple[str, ...]) -> Any:
    found: Any = figures.get(row) or (figures.get("baselines") or {}).get(row)
    for key in place:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def write_pages(folder: Path, name: str, heads: Mapping[str, str], a_page: int = 12) -> list[Path]:
    """`folder`/NAME/*.png, one below the other with what is said of each, on pages of so many: NAME-1.png …"""
    from PIL import ImageDraw

    files = [folder / name / f"{process}.png" for process in heads if (folder / name / f"{process}.png").is_file()]
    pages = []
    for number in range(math.ceil(len(files) / a_page)):
        strips = []
        for file in files[number * a_page : (number + 1) * a_page]:
            with Image.open(file) as opened:
                strips.append((heads[file.stem], opened.convert("RGB")))
        page = Image.new("RGB", (max(s.width for _, s in strips), sum(s.height + 14 for _, s in strips)), "white")
        top = 0
        for head, strip in strips:
            ImageDraw.Draw(page).text((2, top + 1), head, fill="black")
            page.paste(strip, (0, top + 14))
            top += strip.height + 14
        pages.append(folder / f"{name}-{number + 1}.png")
        page.save(pages[-1])
    return pages
