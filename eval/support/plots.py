"""Pictures of eval/quality.py: progress, drawing against fading between keyframes, strips of frames."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

mpl.use("Agg")
import matplotlib.pyplot as plt

SHOWN = ("cross_fade", "faded_keyframes", "nearest_keyframe_hold", "random_tiles", "blur_to_sharp")
ROWS_A_SHEET = 24
CELL = 112
Figures = Mapping[str, dict[str, Any]]


def plot_progress(results: Figures, path: Path) -> None:
    """Progress of every film over normalised time, one panel a film, beside its null baselines."""
    columns = min(4, len(results))
    rows = math.ceil(len(results) / columns)
    size = (3.4 * columns, 2.6 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, sharey=True)
    for axis in axes.flat[len(results) :]:
        axis.axis("off")
    for axis, (name, figures) in zip(axes.flat, results.items(), strict=False):
        for baseline in SHOWN:
            if curve := figures["baselines"].get(baseline, {}).get("progress", {}).get("curve"):
                label = baseline.replace("_", " ")
                axis.plot(np.linspace(0, 1, len(curve)), curve, lw=0.8, alpha=0.7, label=label)
        if curve := figures["progress"]["curve"]:
            axis.plot(np.linspace(0, 1, len(curve)), curve, "k", lw=1.8, label="film")
        axis.set_title(name[:40], fontsize=8)
        axis.set_xlabel("time", fontsize=7)
        axis.tick_params(labelsize=7)
    axes[0, 0].set_ylabel("progress", fontsize=7)
    axes[0, 0].legend(fontsize=5)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def plot_between_keyframes(results: Figures, path: Path) -> None:
    """Abruptness against locality inside the clips: every film a dot, null baselines beside them.

    A drawing is at the upper left, a fade at the lower right, a hold at the upper right.
    """
    figure, axis = plt.subplots(figsize=(6, 4.5))
    for baseline in dict.fromkeys(name for f in results.values() for name in f["baselines"]):
        dots = _between([f["baselines"][baseline] for f in results.values() if baseline in f["baselines"]])
        axis.scatter(dots[:, 0], dots[:, 1], s=18, marker="x", label=baseline.replace("_", " "))
    dots = _between(list(results.values()))
    axis.scatter(dots[:, 0], dots[:, 1], s=36, color="k", label="films", zorder=3)
    axis.set(xlim=(0, 1.05), ylim=(0, 1.05), title="between keyframes")
    axis.set_xlabel("effective changed share per step (small = local)")
    axis.set_ylabel("abruptness (1 = at once)")
    axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _between(films: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """(films, 2): effective changed share and abruptness between keyframes, where both were measured."""
    inside = [film["between_keyframes"] for film in films if film["between_keyframes"] is not None]
    pairs = [(found["effective_changed_share"], found["abruptness"]) for found in inside]
    return np.array([pair for pair in pairs if None not in pair], dtype=np.float64).reshape(-1, 2)


def write_strips(previews: Mapping[str, tuple[NDArray[np.uint8], NDArray[np.uint8] | None]], folder: Path) -> None:
    """strips.png (or strips-1.png …): a row a film, frames from blank to finished, then the picture."""
    rows = [_strip(name, frames, picture) for name, (frames, picture) in previews.items()]
    sheets = [rows[i : i + ROWS_A_SHEET] for i in range(0, len(rows), ROWS_A_SHEET)]
    for number, sheet in enumerate(sheets, start=1):
        page = Image.new("RGB", (max(row.width for row in sheet), sum(row.height for row in sheet)), "white")
        top = 0
        for row in sheet:
            page.paste(row, (0, top))
            top += row.height
        page.save(folder / ("strips.png" if len(sheets) == 1 else f"strips-{number}.png"))


def _strip(name: str, frames: NDArray[np.uint8], picture: NDArray[np.uint8] | None) -> Image.Image:
    cells = [*frames, *([] if picture is None else [picture])]
    scale = CELL / max(frames.shape[1:3])
    size = max(1, round(frames.shape[2] * scale)), max(1, round(frames.shape[1] * scale))
    gap, label = 4, 14
    strip = Image.new("RGB", ((size[0] + gap) * len(cells) + 3 * gap, size[1] + gap + label), "grey")
    ImageDraw.Draw(strip).text((gap, 1), name[:80], fill="white")
    for index, cell in enumerate(cells):
        # The picture stands a little apart from the film.
        left = gap + index * (size[0] + gap) + (2 * gap if index == len(frames) else 0)
        strip.paste(Image.fromarray(cv2.resize(cell, size, interpolation=cv2.INTER_AREA)), (left, label))
    return strip
