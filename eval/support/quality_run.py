"""Measuring a pair of models on a set of true processes: one process after the other, going on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from paintsundo.errors import UserError
from paintsundo.metrics import keyframe_positions, measure_film, null_baselines
from paintsundo.metrics.calibration import read_steps
from paintsundo.metrics.films import Film
from paintsundo.metrics.report import finite_psnr
from support.json_files import write_json
from support.quality_summary import summarise
from support.true_processes import TrueProcess, true_processes

PARTS = ("film", "calibration", "interpolation")
PROMPTS = ("tagger", "record", "empty")


def measure_pair(
    models: str | os.PathLike[str],
    test_set: str | os.PathLike[str],
    output: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    *,
    limit: int | None = None,
    split: str | None = None,
    parts: Sequence[str] = PARTS,
    prompts: str = "tagger",
    baselines: bool = True,
    own_size: bool = True,
    keep_films: bool = True,
    progress: bool = True,
) -> dict[str, Any]:
    """Every measure of a pair of models on the processes of a data set; also written to `output`/quality.json.

    The same call goes on where an interrupted one stopped: a finished process is not made again.

    Args:
        models: "bundled", "official", or a folder that holds `single_frame/` and `multi_frame/`.
        test_set: a data set of true processes, as `paintsundo.data build` writes it.
        output: folder for quality.json, processes/NAME.json, strips/NAME.png, films/NAME as infer.py writes them.
        overrides: of infer.py, "video.num_inference_steps=8", "models.multi_frame=FOLDER", "runtime.device=cuda:1", …
        limit: so many processes, spread evenly over the set; split: only that one.
        parts: what is made: "film", "calibration" (states at steps 100 … 900), "interpolation" (between true
            keyframes).
        prompts: "tagger", "record" (the process' tags) or "empty"; a `prompt=` override goes before.
        baselines: measure the null baselines as well.
        own_size: films at the size of their process (the nearest that the models can do), not the options'.
        keep_films: leave the frames as pictures in `output`/films.

    Returns:
        {"settings", "processes": name → figures, "summary": measure → {"film" | baseline | …: interval}, "seconds",
        "peak_memory"}; see quality_summary.

    Raises:
        UserError: an option is impossible, the models or the data set cannot be used, or `output` holds another run.
    """
    for name, given, known in (("parts", parts, PARTS), ("prompts", [prompts], PROMPTS)):
        if unknown := [value for value in given if value not in known]:
            raise UserError(f"{name}: {unknown[0]} is unknown; choose from {', '.join(known)}")
    from support.pair_maker import PairMaker, pair_options

    options = pair_options(models, overrides)
    maker: PairMaker | None = None
    folder = Path(output)
    settings = {
        "models": str(models),
        "overrides": list(overrides),
        "test_set": Path(test_set).name,
        "parts": list(parts),
        "prompts": prompts,
        "own_size": own_size,
        "baselines": baselines,
    }
    _begin(folder, settings)
    found: dict[str, dict[str, Any]] = {}
    chosen = list(true_processes(test_set, limit, split))
    for true in tqdm(chosen, desc="processes", disable=None if progress else True):
        file = folder / "processes" / f"{true.name}.json"
        if not file.is_file():
            maker = maker or PairMaker(options, prompts, own_size)
            write_json(file, _measured(maker, true, parts, baselines, folder, keep_films))
        found[true.name] = json.loads(file.read_text(encoding="utf-8"))
    report = {"settings": settings, "processes": found, "summary": summarise(found)}
    write_json(folder / "quality.json", report)
    return report


def _begin(folder: Path, settings: dict[str, Any]) -> None:
    file = folder / "settings.json"
    if file.is_file() and json.loads(file.read_text(encoding="utf-8")) != settings:
        raise UserError(f"{folder} holds measurements with other settings (settings.json): choose another output")
    for name in ("processes", "strips"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_json(file, settings)


def _measured(
    maker: Any, true: TrueProcess, parts: Sequence[str], baselines: bool, folder: Path, keep_films: bool
) -> dict[str, Any]:
    device = maker.set.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    made = maker.make(true, parts)
    figures: dict[str, Any] = {
        "subject": true.subject,
        "group": true.group,
        "size": list(made.finished.shape[:2]),
        "prompt": made.prompt,
        "ceilings": made.ceilings,
        "seconds": {part: round(seconds, 3) for part, seconds in made.seconds.items()},
        "peak_memory": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        "film": None,
        "calibration": None,
        "interpolation": None,
    }
    if made.film is not None:
        positions = keyframe_positions(len(made.film), len(made.keyframes))
        figures["film"] = measure_film(made.film, positions, made.finished, made.true_film)
        figures["film"]["end"]["round_trip_psnr"] = made.ceilings["video"]
        figures["truth"] = measure_film(made.true_film, positions, made.finished)
        nulls = null_baselines(made.film, positions) if baselines else {}
        figures["baselines"] = {name: measure_film(n, positions, None, made.true_film) for name, n in nulls.items()}
        _strip(folder / "strips" / f"{true.name}.png", [made.film, made.true_film])
        if keep_films:
            _save(folder / "films" / true.name / "frames", made.film, 5)
            _save(folder / "films" / true.name / "keyframes", made.keyframes, 2)
    if made.states is not None:
        from support.pair_maker import CALIBRATION_STEPS

        reading = read_steps(CALIBRATION_STEPS, made.states, made.true_states, made.true_curve)
        figures["calibration"] = reading._asdict()
        if baselines:
            figures["calibration"]["baselines"] = _calibration_nulls(made, CALIBRATION_STEPS)
    if made.between:
        true_frames = made.between["true"]
        figures["interpolation"] = {
            name: finite_psnr(frames, true_frames) for name, frames in made.between.items() if name != "true"
        }
    return figures


def _calibration_nulls(made: Any, steps: Sequence[int]) -> dict[str, Any]:
    """The same reading of null states: baselines of white and the finished picture at the work of each step."""
    white = np.full_like(made.finished, 255)
    nulls = null_baselines(np.stack([*[white] * 100, made.finished]))
    frames = [round((1 - step / 999) * 100) for step in steps]
    return {
        name: read_steps(steps, film[frames], made.true_states, made.true_curve)._asdict()
        for name, film in nulls.items()
    }


def _strip(path: Path, films: Sequence[Film], cells: int = 10, side: int = 112) -> None:
    """Films one below the other, equally spaced frames from blank to finished."""
    rows = []
    for film in films:
        frames = film[np.round(np.linspace(0, len(film) - 1, cells)).astype(int)]
        scale = side / max(frames.shape[1:3])
        size = max(1, round(frames.shape[2] * scale)), max(1, round(frames.shape[1] * scale))
        small = [np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BOX)) for f in frames]
        rows.append(np.concatenate([np.pad(s, ((2, 2), (2, 2), (0, 0)), constant_values=128) for s in small], axis=1))
    Image.fromarray(np.concatenate(rows)).save(path)


def _save(folder: Path, frames: Film, digits: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:0{digits}d}.png", compress_level=1)
