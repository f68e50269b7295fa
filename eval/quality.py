"""Measure drawing: python eval/quality.py films=FOLDER | data=DATASET | data=DATASET models=PAIR  output=DIR

films=FOLDER [truth=FOLDER] [models=bundled] [keyframes=8]: films as infer.py writes them. weights=FOLDER with networks
    on disk, against truth: FOLDER/clip (CLIP similarity, KID and Fréchet distance on its features), FOLDER/lpips
    (LPIPS), FOLDER/videomae (Fréchet distance of films); see src/paintsundo/metrics/networks.py.
data=DATASET [truth=DATASET]: true processes taken as films, beside their null baselines and the checks of both; truth:
    the same files drawn with another seed. limit=N takes so many, spread evenly.
data=DATASET models=bundled|official|PAIR [overrides=[NAME=VALUE,…]] [parts=[film,calibration,interpolation]]
    [prompts=tagger|record|empty]: a pair of models on the finished pictures of true processes, going on where it
    stopped; overrides are infer.py's. batch=N pictures at once, workers=N processes that measure meanwhile. Cheaper on
    a CPU: size=128 clips=1 overrides=[keyframes.num_inference_steps=10,video.num_inference_steps=4]. clip_seeds=N:
    clips between true keyframes N times: their mean, and how far two are apart, tell what the keyframes leave open.
    state_seeds=N: the same of states at known steps.
data=DATASET models=PAIR seeds=10 [words=[ink,painting]]: instead, what prompts and seeds change (sensitivity.json):
    films of ten seeds of each picture, how far apart they are and how many are valid; states with each of the words put
    before the picture's own prompt, or under the next picture's prompt.
against=DIR: the run of another pair on the same data set; differences with intervals.

films=FOLDER holds films as infer.py writes them (NAME/frames/00000.png …, blank → finished; keyframes/ where there
are any). Every film is measured beside the null baselines made of its own first, last and key frames. Writes
to DIR quality.json (every figure), quality.md (the table that is also printed), progress.png,
between_keyframes.png and strips.png; of true processes curves.png, strips-1.png … (film above truth) and
changes-1.png … (what changed when: green as in truth, red in the film alone, blue in the truth alone); of a pair of
models summary.json (means with intervals). What cannot be measured is null. The measures, and what fools each:
paintsundo.metrics.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from omegaconf import MISSING
from support.arguments import parse, run
from support.checks import check_film_figures
from support.film_files import FilmFiles, find_films
from support.json_files import write_json
from support.pair_plots import plot_curves, write_pages
from support.pair_sensitivity import measure_sensitivity, sensitivity_table
from support.pair_table import comparison_table, failure_table, group_table, pair_table
from support.plots import plot_between_keyframes, plot_progress, write_strips
from support.process_run import measure_processes
from support.quality_run import PARTS, measure_pair
from support.quality_summary import compare, lookup, summarise_groups
from support.quality_table import quality_table
from tqdm import tqdm

from paintsundo.errors import UserError
from paintsundo.metrics import diversity, measure_film, null_baselines
from paintsundo.metrics.films import Film, at_times

Picture = NDArray[np.uint8]
RoundTrip = Callable[[Picture], float]
LITERAL = ("films", "output", "data", "truth", "models", "against", "weights")


@dataclass
class QualitySettings:
    """films, output: folders. data: a data set as `paintsundo.data build` writes it.

    truth: true processes: of films, a folder of the same names and layout; of data, another data set.
    models: "bundled", a folder or a hub id; of films only its video autoencoder's round trip, the ceiling of the end's
    fidelity. keyframes: how many the films have, both ends included; null: counted in keyframes/.
    """

    output: str = MISSING
    films: str | None = None
    data: str | None = None
    truth: str | None = None
    models: str | None = None
    overrides: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=lambda: list(PARTS))
    prompts: str = "tagger"
    split: str | None = None
    limit: int | None = None
    baselines: bool = True
    batch: int | None = None
    workers: int | None = None
    size: int | None = None
    clips: int | None = None
    clip_seeds: int = 1
    state_seeds: int = 1
    seeds: int | None = None
    words: list[str] = field(default_factory=list)
    against: str | None = None
    keyframes: int | None = None
    strip_frames: int = 12
    weights: str | None = None


def main(arguments: Sequence[str]) -> None:
    settings = parse(QualitySettings, arguments, literal_keys=LITERAL)
    if not 2 <= settings.strip_frames <= 100:
        raise UserError(f"strip_frames={settings.strip_frames}: from 2 to 100")
    if (settings.films is None) == (settings.data is None):
        raise UserError("films=FOLDER or data=DATASET must be given, one of them")
    cv2.setNumThreads(0)  # pictures are small here: threads cost more than they bring
    if settings.films is not None:
        measure_films(settings, settings.films)
    elif settings.models is not None:
        measure_models(settings)
    else:
        measure_data(settings)


def measure_data(settings: QualitySettings) -> None:
    """True processes as films, and their null baselines."""
    assert settings.data is not None
    report = measure_processes(
        settings.data, settings.output, settings.truth, settings.limit, settings.split, settings.workers or 0
    )
    _draw(report["processes"], Path(settings.output))
    _tell(settings.output, failure_table(report["failed"]), pair_table(report["summary"]))


def measure_models(settings: QualitySettings) -> None:
    """A pair of models on the pictures of true processes."""
    assert settings.data is not None
    assert settings.models is not None
    if settings.seeds is not None:
        found = measure_sensitivity(
            settings.models,
            settings.data,
            settings.output,
            settings.overrides,
            seeds=settings.seeds,
            words=settings.words,
            **_of(settings, "limit", "split", "size", "batch", "prompts"),
        )
        _tell(settings.output, sensitivity_table(found))
        return
    theirs = None if settings.against is None else read_report(settings.against)
    report = measure_pair(
        settings.models,
        settings.data,
        settings.output,
        settings.overrides,
        **_of(settings, "limit", "split", "parts", "prompts", "baselines"),
        **_of(settings, "batch", "workers", "size", "clips", "clip_seeds", "state_seeds"),
    )
    summary = {"settings": report["settings"], "summary": report["summary"]}
    write_json(Path(settings.output) / "summary.json", summary)
    tables = [pair_table(report["summary"])]
    groups = summarise_groups(report["processes"])
    if len(groups) > 1:
        tables.append(f"By set:\n\n{group_table(groups)}")
    if theirs is not None:
        differences = compare(report["processes"], theirs["processes"])
        write_json(Path(settings.output) / "comparison.json", {"against": settings.against, "differences": differences})
        tables.append(f"Against {settings.against}:\n\n{comparison_table(differences)}")
    _draw(report["processes"], Path(settings.output))
    _tell(settings.output, *tables)


def _of(settings: QualitySettings, *names: str) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in names}


def _draw(processes: dict[str, Any], output: Path) -> None:
    """Curves of all processes, and pages of their strips and change maps with a few figures of each."""
    plot_curves(processes, output / "curves.png")
    heads = {name: _head(name, figures) for name, figures in processes.items()}
    for pages in ("strips", "changes"):
        write_pages(output, pages, heads)


def _head(name: str, figures: dict[str, Any]) -> str:
    said = [f"{name}  {figures['group']}"]
    for title, path in (
        ("IoU", ("film", "true_process", "change_region_iou")),
        ("curve error", ("film", "true_process", "progress_curve_error")),
        ("end", ("film", "end", "psnr")),
        ("step error", ("calibration", "error")),
    ):
        value = lookup(figures, *path)
        if value is not None:
            said.append(f"{title} {value:.3g}")
    return "   ".join(said)


def read_report(folder: str) -> dict[str, Any]:
    """The quality.json of a run on a data set. Raises UserError where there is none."""
    try:
        report: dict[str, Any] = json.loads((Path(folder) / "quality.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"against={folder}: no quality.json of a run with models= in it") from error
    if "processes" not in report:
        raise UserError(f"against={folder}: its quality.json is not of a run with models=")
    return report


def _tell(output: str, *tables: str) -> None:
    text = "\n\n".join(tables)
    (Path(output) / "quality.md").write_text(text + "\n", encoding="utf-8")
    print(f"{text}\n\nwritten to {output}")


def measure_films(settings: QualitySettings, folder: str) -> None:
    """Films on disk."""
    films = find_films(Path(folder))
    truths = {f.name: f for f in find_films(Path(settings.truth))} if settings.truth else {}
    round_trip = _round_trip(settings.models)
    networks = None
    if settings.weights is not None:
        from paintsundo.metrics.networks import NetworkMeasures

        networks = NetworkMeasures(settings.weights)
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)

    results: dict[str, dict[str, Any]] = {}
    previews: dict[str, tuple[Film, Picture | None]] = {}
    for files in tqdm(films, desc="films", disable=None):
        film = files.read()
        results[files.name] = evaluate(files, film, truths.get(files.name), settings.keyframes, round_trip)
        previews[files.name] = at_times(film, settings.strip_frames), files.finished(*film.shape[1:3])

    report = {"films": results, "diversity": _diversity(films)}
    if networks is not None:
        pairs = [(film.read(), truths[film.name].read()) for film in films if film.name in truths]
        if pairs:
            found = networks.measure([film for film, _ in pairs], [true for _, true in pairs])
            report["networks"] = {**found._asdict(), "films": [film.name for film in films if film.name in truths]}
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
