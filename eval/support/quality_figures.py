"""Figures of what a pair of models made of one process. Needs no networks, so that other processes can do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from paintsundo.metrics import keyframe_positions, measure_film, null_baselines
from paintsundo.metrics.calibration import read_steps
from paintsundo.metrics.films import Film, PreparedFilm
from paintsundo.metrics.report import finite_psnr
from support.json_files import write_json
from support.pair_plots import write_change_maps


def begin_worker() -> None:
    """One thread a process: there are as many processes as cores to spare."""
    import cv2

    cv2.setNumThreads(0)


def write_figures(
    name: str, made: Mapping[str, Any], known: Mapping[str, Any], baselines: bool, folder: Path, keep_films: bool
) -> None:
    """Measure one process and write processes/NAME.json last, with strips and films before it.

    made: as `pair_maker.Made` has it, and "asked", the operation steps of its states. known: figures that are known
    already.
    """
    figures = figures_of(made, baselines)
    if made["film"] is not None:
        write_strip(folder / "strips" / f"{name}.png", [made["film"], made["true_film"]])
        write_change_maps(folder / "changes" / f"{name}.png", made["film"], made["true_film"])
        if keep_films:
            _save(folder / "films" / name / "frames", made["film"], 5)
            _save(folder / "films" / name / "keyframes", made["keyframes"], 2)
    write_json(folder / "processes" / f"{name}.json", {**known, **figures})


def figures_of(made: Mapping[str, Any], baselines: bool = True) -> dict[str, Any]:
    """Figures of the film beside the truth and the null baselines, of the states, and of the frames between."""
    figures: dict[str, Any] = {"film": None, "calibration": None, "interpolation": None}
    if made["film"] is not None:
        positions = keyframe_positions(len(made["film"]), len(made["keyframes"]))
        true_film = PreparedFilm(made["true_film"])
        figures["film"] = measure_film(made["film"], positions, made["finished"], true_film)
        figures["film"]["end"]["round_trip_psnr"] = made["ceilings"]["video"]
        figures["truth"] = measure_film(true_film, positions, made["finished"])
        nulls = null_baselines(made["film"], positions) if baselines else {}
        figures["baselines"] = {name: measure_film(n, positions, None, true_film) for name, n in nulls.items()}
    if made["states"] is not None:
        steps = made["asked"]
        reading = read_steps(steps, made["states"], made["true_states"], made["true_curve"])
        figures["calibration"] = reading._asdict()
        if made.get("other_states") is not None:
            figures["calibration"]["between_seeds"] = _between_seeds(made)
        if baselines:
            figures["calibration"]["baselines"] = _calibration_nulls(made, steps)
    if made["between"]:
        true_frames = made["between"]["true"]
        figures["interpolation"] = {
            name: finite_psnr(frames, true_frames) for name, frames in made["between"].items() if name != "true"
        }
        if "another_seed" in made["between"]:
            between = made["between"]
            figures["interpolation"]["between_seeds"] = finite_psnr(between["ours"], between["another_seed"])
    return figures


def _between_seeds(made: Mapping[str, Any]) -> dict[str, float]:
    """Error and PSNR of other seeds' states against the first's: what a pair would have were the truth its own."""
    count, steps = len(made["states"]), made["asked"]
    others = [made["other_states"][first : first + count] for first in range(0, len(made["other_states"]), count)]
    readings = [read_steps(steps, other, made["states"], made["own_curve"]) for other in others]
    return {
        "error": float(np.mean([reading.error for reading in readings])),
        "psnr": float(np.mean([reading.psnr for reading in readings])),
    }


def _calibration_nulls(made: Mapping[str, Any], steps: Sequence[int]) -> dict[str, Any]:
    """The same reading of null states: baselines of white and the finished picture at the work of each step."""
    white = np.full_like(made["finished"], 255)
    nulls = null_baselines(np.stack([*[white] * 100, made["finished"]]))
    frames = [round((1 - step / 999) * 100) for step in steps]
    return {
        name: read_steps(steps, film[frames], made["true_states"], made["true_curve"])._asdict()
        for name, film in nulls.items()
    }


def write_strip(path: Path, films: Sequence[Film], cells: int = 10, side: int = 112) -> None:
    """Films one below the other, equally spaced frames from blank to finished."""
    rows = []
    for film in films:
        frames = film[np.round(np.linspace(0, len(film) - 1, cells)).astype(int)]
        scale = side / max(frames.shape[1:3])
        size = max(1, round(frames.shape[2] * scale)), max(1, round(frames.shape[1] * scale))
        small = [np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BOX)) for f in frames]
        rows.append(np.concatenate([np.pad(s, ((2, 2), (2, 2), (0, 0)), constant_values=128) for s in small], axis=1))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(path)


def _save(folder: Path, frames: Film, digits: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:0{digits}d}.png", compress_level=1)
