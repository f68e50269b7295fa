"""True processes measured as films, beside their null baselines: what the measures are worth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from paintsundo.data.process import DrawingProcess
from paintsundo.errors import UserError
from paintsundo.metrics import keyframe_positions, measure_film, null_baselines
from paintsundo.metrics.films import Film, PreparedFilm
from support.checks import check_against_truth, check_film_figures, margins
from support.json_files import write_json
from support.quality_summary import summarise
from support.true_processes import true_processes

FRAMES = 90
KEYFRAMES = 7


def measure_processes(
    test_set: str | Path,
    output: str | Path,
    truth: str | Path | None = None,
    limit: int | None = None,
    split: str | None = None,
) -> dict[str, Any]:
    """Figures and checks of the processes of a data set taken as films of 90 frames, and of their null baselines; also
    written to `output`/quality.json.

    Args:
        truth: another data set in which the same files were drawn with another seed: what the films are compared with.
            Without it each is compared with itself, which says something of the baselines only.

    Raises UserError: no data set, or a file that is not in `truth`.
    """
    others = None if truth is None else {_file(t.process): t.process for t in true_processes(truth)}
    found = {}
    for true in tqdm(list(true_processes(test_set, limit, split)), desc="processes", disable=None):
        second = true.process if others is None else others.get(_file(true.process))
        if second is None:
            raise UserError(f"{truth} has no drawing of {true.process.source}")
        found[true.name] = {"subject": true.subject, "group": true.group, **process_figures(true.process, second)}
    report = {"processes": found, "summary": summarise(found), "failed": failures(found)}
    Path(output).mkdir(parents=True, exist_ok=True)
    write_json(Path(output) / "quality.json", report)
    return report


def process_figures(process: DrawingProcess, truth: DrawingProcess, frames: int = FRAMES) -> dict[str, Any]:
    """Figures of a process as a film, of its null baselines, and the checks of all, against another drawing of it."""
    works = np.linspace(0, 1, frames)
    positions = keyframe_positions(frames, KEYFRAMES)
    film, true_film = process.film(works), PreparedFilm(truth.film(works))
    if film.shape != true_film.film.shape:
        sizes = f"{film.shape[1:3]} here and {true_film.film.shape[1:3]}"
        raise UserError(f"{process.source}: drawn at {sizes} in the truth")
    nulls = null_baselines(film, positions)
    figures = measured(film, positions, true_film)
    baselines = {name: measured(null, positions, true_film) for name, null in nulls.items()}
    fade = {"faded_keyframes": baselines["faded_keyframes"]}
    return {
        "film": figures,
        "baselines": baselines,
        "checks": all_checks({**figures, "baselines": fade}),
        "margins": margins({**figures, "baselines": fade}),
        "baseline_checks": {name: all_checks({**null, "baselines": fade}) for name, null in baselines.items()},
        "baseline_margins": {name: margins({**null, "baselines": fade}) for name, null in baselines.items()},
    }


def measured(film: Film, positions: list[int] | None, true_film: PreparedFilm) -> dict[str, Any]:
    """Figures of a film that ends, or should end, as the true one does."""
    return measure_film(film, positions, true_film.film[-1], true_film)


def all_checks(figures: dict[str, Any]) -> dict[str, bool | None]:
    """The checks of a film alone and of a film against its true process; `all` over both."""
    checks = {**check_film_figures(figures), **check_against_truth(figures)}
    known = [met for name, met in checks.items() if met is not None and name != "all"]
    return {**checks, "all": all(known)}


def failures(processes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Row ("film" or a baseline) → how many processes, how many of them fail any check, and which check how often."""
    found: dict[str, dict[str, Any]] = {}
    for figures in processes.values():
        for row, checks in {"film": figures["checks"], **figures["baseline_checks"]}.items():
            entry = found.setdefault(row, {"count": 0, "failed": 0, "checks": {}})
            entry["count"] += 1
            entry["failed"] += not checks["all"]
            for name, met in checks.items():
                if met is False and name != "all":
                    entry["checks"][name] = entry["checks"].get(name, 0) + 1
    return found


def _file(process: DrawingProcess) -> tuple[str, str]:
    return process.source, process.hash
