"""True processes measured as films, beside their null baselines: what the measures are worth."""

from __future__ import annotations

import json
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
from support.measuring_pool import MeasuringPool
from support.pair_plots import write_change_maps
from support.quality_figures import write_strip
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
    workers: int = 0,
) -> dict[str, Any]:
    """Figures and checks of the processes of a data set taken as films of 90 frames, and of their null baselines; also
    written to `output`/quality.json.

    Args:
        truth: another data set in which the same files were drawn with another seed: what the films are compared with.
            Without it each is compared with itself, which says something of the baselines only.

    Raises UserError: no data set, or a file that is not in `truth`.
    """
    others = None if truth is None else {_file(t.process): t.process for t in true_processes(truth)}
    folder = Path(output)
    chosen = list(true_processes(test_set, limit, split))
    names = {}
    with MeasuringPool(workers) as pool:
        for true in tqdm(chosen, desc="processes", disable=None):
            second = true.process if others is None else others.get(_file(true.process))
            if second is None:
                raise UserError(f"{truth} has no drawing of {true.process.source}")
            works = np.linspace(0, 1, FRAMES)
            films = true.process.film(works), None if others is None else second.film(works)
            names[true.name] = folder / "processes" / f"{true.name}.json"
            known = {"subject": true.subject, "group": true.group, "source": true.process.source}
            pool.submit(_write_figures, true.name, *films, known, folder)
    found = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in names.items()}
    report = {"processes": found, "summary": summarise(found), "failed": failures(found)}
    write_json(folder / "quality.json", report)
    return report


def _write_figures(name: str, film: Film, truth: Film | None, known: dict[str, Any], folder: Path) -> None:
    true_film = film if truth is None else truth
    (folder / "processes").mkdir(parents=True, exist_ok=True)
    write_json(folder / "processes" / f"{name}.json", {**known, **film_figures(film, true_film, known["source"])})
    write_strip(folder / "strips" / f"{name}.png", [film, true_film])
    write_change_maps(folder / "changes" / f"{name}.png", film, true_film)


def process_figures(process: DrawingProcess, truth: DrawingProcess, frames: int = FRAMES) -> dict[str, Any]:
    """Figures of a process as a film, of its null baselines, and the checks of all, against another drawing of it."""
    works = np.linspace(0, 1, frames)
    return film_figures(process.film(works), truth.film(works), process.source)


def film_figures(film: Film, truth: Film, source: str) -> dict[str, Any]:
    """The same of films."""
    positions = keyframe_positions(len(film), KEYFRAMES)
    if film.shape != truth.shape:
        raise UserError(f"{source}: drawn at {film.shape[1:3]} here and {truth.shape[1:3]} in the truth")
    true_film = PreparedFilm(truth)
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
