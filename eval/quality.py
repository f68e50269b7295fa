"""Measure films: python eval/quality.py films=FOLDER output=DIR [truth=FOLDER] [models=bundled] [keyframes=8]

FOLDER holds films as infer.py writes them (NAME/frames/00000.png …, blank → finished; keyframes/ where there
are any). Every film is measured beside the null baselines made of its own first, last and key frames. Writes
to DIR quality.json (every figure), quality.md (the table that is also printed), progress.png,
between_keyframes.png and strips.png. What cannot be measured is null. The measures, and what fools each:
paintsundo.metrics.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from omegaconf import MISSING
from support.arguments import parse, run
from support.checks import check_film_figures
from support.film_files import FilmFiles, find_films
from support.plots import plot_between_keyframes, plot_progress, write_strips
from support.quality_table import quality_table
from tqdm import tqdm

from paintsundo.errors import UserError
from paintsundo.metrics import diversity, measure_film, null_baselines
from paintsundo.metrics.films import Film, at_times

Picture = NDArray[np.uint8]
RoundTrip = Callable[[Picture], float]


@dataclass
class QualitySettings:
    """films, output: folders. truth: folder of true processes under the same names, in the same layout.

    models: "bundled", a folder or a hub id, whose video autoencoder's round trip is the ceiling of the end's
    fidelity. keyframes: how many the films have, both ends included; null: counted in keyframes/.
    """

    films: str = MISSING
    output: str = MISSING
    truth: str | None = None
    models: str | None = None
    keyframes: int | None = None
    strip_frames: int = 12


def main(arguments: Sequence[str]) -> None:
    settings = parse(QualitySettings, arguments, literal_keys=("films", "output", "truth", "models"))
    if not 2 <= settings.strip_frames <= 100:
        raise UserError(f"strip_frames={settings.strip_frames}: from 2 to 100")
    cv2.setNumThreads(0)  # pictures are small here: threads cost more than they bring
    films = find_films(Path(settings.films))
    truths = {f.name: f for f in find_films(Path(settings.truth))} if settings.truth else {}
    round_trip = _round_trip(settings.models)
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)

    results: dict[str, dict[str, Any]] = {}
    previews: dict[str, tuple[Film, Picture | None]] = {}
    for files in tqdm(films, desc="films", disable=None):
        film = files.read()
        results[files.name] = evaluate(files, film, truths.get(files.name), settings.keyframes, round_trip)
        previews[files.name] = at_times(film, settings.strip_frames), files.finished(*film.shape[1:3])

    report = {"films": results, "diversity": _diversity(films)}
    text = json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False)
    (output / "quality.json").write_text(text + "\n", encoding="utf-8")
    table = quality_table(report)
    (output / "quality.md").write_text(table + "\n", encoding="utf-8")
    plot_progress(results, output / "progress.png")
    plot_between_keyframes(results, output / "between_keyframes.png")
    write_strips(previews, output)
    print(table)
    print(f"\nwritten to {output}")


def evaluate(
    files: FilmFiles, film: Film, truth: FilmFiles | None, keyframes: int | None, round_trip: RoundTrip | None
) -> dict[str, Any]:
    """Figures of one film, of its null baselines, and which of the demands it meets."""
    positions = files.positions(keyframes)
    picture = files.finished(*film.shape[1:3])
    true_film = truth.read() if truth is not None else None
    if true_film is not None and true_film.shape[1:] != film.shape[1:]:
        sizes = f"{true_film.shape[1:3]}, the film {film.shape[1:3]}"
        raise UserError(f"{files.name}: the true process has height and width {sizes}")
    figures = measure_film(film, positions, picture, true_film)
    ceiling = None if round_trip is None or picture is None else round_trip(picture)
    figures["end"]["round_trip_psnr"] = ceiling
    figures["baselines"] = {
        name: measure_film(null, positions, true_film=true_film)
        for name, null in null_baselines(film, positions).items()
    }
    figures["checks"] = check_film_figures(figures)
    return figures


def _round_trip(models: str | None) -> RoundTrip | None:
    if models is None:
        return None
    from support.round_trip import AutoencoderRoundTrip

    return AutoencoderRoundTrip(models)


def _diversity(films: Sequence[FilmFiles]) -> list[dict[str, Any]]:
    """Diversity of the films that were made of one and the same picture, as told by keyframe 0."""
    groups: dict[bytes, list[FilmFiles]] = {}
    for film in films:
        if film.keyframes:
            groups.setdefault(film.keyframes[0].read_bytes(), []).append(film)
    found = []
    for group in (g for g in groups.values() if len(g) > 1):
        members = [film.read() for film in group]
        if len({member.shape[1:] for member in members}) == 1:
            found.append({"films": [film.name for film in group], "diversity": diversity(members)})
    return found


if __name__ == "__main__":
    raise SystemExit(run(main))
