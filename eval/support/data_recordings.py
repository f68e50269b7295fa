"""What the recording source finds in synthetic screen recordings, for eval/data.py recordings.

  output=DIR            recordings.json and recordings.md
  difficulties=all      or names of recording_levels.LEVELS, joined by commas
  seeds=1000-1004       a range, or numbers joined by commas; 0 … 99 are for developing the source
  subjects=any          svg, picture, strokes, or any of them by lot
  size=256              canvas of the extracted states (its proportions kept)
  films=DIR/films       where films are kept; those already there are not made again
  options=              of the source: name=value, joined by commas
  workers=1             processes; each recording is made and measured in one of them
  again=false           measure anew what DIR/rows holds already; else an interrupted table is resumed

Each recording's row is kept in DIR/rows, with the version of the code and the options that it was measured with; rows
of another version are measured again.

Prints, for each difficulty, the median over the seeds and the worst; `recording_scores` defines the measures.
"""

import hashlib
import json
import multiprocessing
import os
import pickle
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from omegaconf import MISSING

from paintsundo.data import recording as recording_package
from paintsundo.data.source import Canvas, Item, Unusable
from paintsundo.data.sources import source_class
from paintsundo.errors import UserError
from support.arguments import parse
from support.recording_kit import Truth, render
from support.recording_levels import LEVELS
from support.recording_scores import score
from support.recording_subjects import KINDS, subject
from support.tables import markdown, number

WORST_IS_LOW = {"iou", "psnr", "good", "psnr_step", "psnr_best", "psnr_colour", "covered"}
COLUMNS = {  # measure: (heading, decimals)
    "iou": ("canvas IoU", 3),
    "psnr": ("PSNR dB", 1),
    "good": ("≥ 30 dB", 2),
    "psnr_step": ("at equal step", 1),
    "psnr_best": ("best fit", 1),
    "psnr_colour": ("colours fitted", 1),
    "ceiling": ("film itself", 1),
    "step_error": ("step error", 1),
    "step_best": ("by best fit", 1),
    "covered": ("covered", 2),
    "states": ("states", 0),
}
ASKED = {"iou": 0.98, "psnr": 30.0, "step_error": 25.0}


@dataclass
class RecordingSettings:
    """Options of `data.py recordings`, explained at the top of this file."""

    output: str = MISSING
    difficulties: str = "all"
    seeds: str = "1000-1004"
    subjects: str = "any"
    size: int = 256
    films: str | None = None
    options: str = ""
    workers: int = 1
    again: bool = False


def main(arguments: Sequence[str]) -> None:
    """`data.py recordings …`"""
    settings = parse(RecordingSettings, arguments, literal_keys=("output", "films"))
    names, seeds = _names(settings.difficulties), _seeds(settings.seeds)
    if settings.subjects not in ("any", "strokes", *KINDS):
        raise UserError(f"subjects={settings.subjects}: any, strokes, {', '.join(KINDS)}")
    if settings.workers < 1 or settings.size < 32:
        raise UserError("workers: at least 1; size: at least 32")
    output = Path(settings.output)
    films = Path(settings.films) if settings.films else output / "films"
    for folder in (output, films):
        folder.mkdir(parents=True, exist_ok=True)
    kept = output / "rows"
    kept.mkdir(exist_ok=True)
    made = partial(measure, films=films, kind=settings.subjects, size=settings.size, options=_options(settings.options))
    version = _version(settings)
    cases = [(name, seed) for name in names for seed in seeds]
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    if not settings.again:
        rows = {case: row for case in cases if (row := _kept(kept, case, version)) is not None}
    for case, row in _measured(made, [case for case in cases if case not in rows], settings.workers):
        rows[case] = row | {"version": version}
        _write(_row(kept, case), json.dumps(rows[case]))
        said = row["failed"] or ", ".join(f"{key} {number(row[key], 3)}" for key in ASKED)
        print(f"{row['difficulty']} {row['seed']}: {said} ({row['seconds']:.1f} s)", flush=True)
        _report(output, settings, [rows[case] for case in cases if case in rows])
    _report(output, settings, [rows[case] for case in cases])
    print((output / "recordings.md").read_text(encoding="utf-8"))


def _report(output: Path, settings: RecordingSettings, rows: Sequence[dict[str, Any]]) -> None:
    report = {"settings": vars(settings), "asked": ASKED, "rows": rows}
    _write(output / "recordings.json", json.dumps(report, indent=1) + "\n")
    _write(output / "recordings.md", table(rows) + "\n")


def _measured(
    one: "partial[dict[str, Any]]", cases: Sequence[tuple[str, int]], workers: int
) -> Iterator[tuple[tuple[str, int], dict[str, Any]]]:
    """Rows as they come, the same whatever the number of processes."""
    if workers == 1:
        yield from ((case, one(case)) for case in cases)
        return
    # OpenCV's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, max(1, len(cases))), mp_context=context, initializer=_alone) as pool:
        futures = {pool.submit(one, case): case for case in cases}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _alone() -> None:
    """One thread to each worker."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    cv2.setNumThreads(1)


def _version(settings: RecordingSettings) -> str:
    """Of all that a row depends on: the source's code, the kit's, the options."""
    files = [path for root in recording_package.__path__ for path in Path(root).glob("*.py")]
    files += [path for path in Path(__file__).parent.glob("*recording*.py") if path != Path(__file__)]
    said = hashlib.sha256(json.dumps([settings.subjects, settings.size, settings.options]).encode())
    for path in sorted(files):
        said.update(path.name.encode() + path.read_bytes())
    return said.hexdigest()[:16]


def _row(kept: Path, case: tuple[str, int]) -> Path:
    return kept / f"{case[0]}_{case[1]}.json"


def _kept(kept: Path, case: tuple[str, int], version: str) -> dict[str, Any] | None:
    """A row measured before with the same version, or None."""
    try:
        row: dict[str, Any] = json.loads(_row(kept, case).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return row if row.get("version") == version else None


def _write(path: Path, text: str) -> None:
    """At once or not at all."""
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def measure(case: tuple[str, int], films: Path, kind: str, size: int, options: dict[str, Any]) -> dict[str, Any]:
    """Make (or find) a recording, extract its process, compare. A recording refused has `failed` and no measures."""
    difficulty, seed = case
    truth = recording(difficulty, seed, films, kind)
    made = source_class("recording")
    source = made(made.Options(**options))
    source.check()
    item = Item(truth.path.name, truth.path, {"subject": truth.path.stem, "source": "kit"})
    began = time.perf_counter()
    row: dict[str, Any] = {"difficulty": difficulty, "seed": seed, "failed": ""}
    try:
        process = source.draw(item, Canvas(size, "source"), 0, 0)
    except Unusable as error:
        row["failed"] = f"refused: {error}"
    row["seconds"] = time.perf_counter() - began
    row["film_seconds"] = float(truth.times[-1])
    row["frames"] = len(truth.times)
    row["frame"] = list(truth.size)
    row["settings"] = truth.settings
    if not row["failed"]:
        row |= score(truth, process)  # type: ignore[arg-type]
        row["found"], row["box"] = process.extra.get("canvas"), truth.box
    return row


def recording(difficulty: str, seed: int, films: Path, kind: str = "any") -> Truth:
    """A recording of the kit and its truth, which is kept in a folder of its own beside the films."""
    kept = films.parent / f"{films.name}_truth" / f"{difficulty}_{seed}_{kind}.pickle"
    if kept.exists():
        truth: Truth = pickle.loads(kept.read_bytes())
        if truth.path.exists():
            return truth
    truth = render(subject(seed, kind), films / f"{difficulty}_{seed}_{kind}", seed, difficulty)
    kept.parent.mkdir(exist_ok=True)
    part = kept.with_suffix(".part")
    part.write_bytes(pickle.dumps(truth))
    part.replace(kept)
    return truth


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: for each difficulty the median over the seeds and, after a slash, the worst."""
    cells = []
    for name in dict.fromkeys(row["difficulty"] for row in rows):
        mine = [row for row in rows if row["difficulty"] == name]
        found = [row for row in mine if not row["failed"]]
        line = [name, f"{len(found)}/{len(mine)}", f"{sum(map(met, found))}/{len(mine)}"]
        for key, (_, digits) in COLUMNS.items():
            values = [row[key] for row in found if row[key] is not None]
            if not values:
                line.append("–")
                continue
            worst = min(values) if key in WORST_IS_LOW or key == "ceiling" else max(values)
            middle = number(float(np.median(values)), digits)
            line.append(middle if key in ("ceiling", "states") else f"{middle} / {number(float(worst), digits)}")
        rate = [row["film_seconds"] / row["seconds"] for row in mine]
        cells.append([*line, number(float(np.median(rate)), 1)])
    header = ["difficulty", "found", "all met", *(heading for heading, _ in COLUMNS.values()), "x real time"]
    asked = ", ".join(f"{COLUMNS[key][0]} {'≥' if key in WORST_IS_LOW else '≤'} {ASKED[key]:g}" for key in ASKED)
    return f"{markdown(header, cells)}\n\nMedian over seeds / worst seed. Asked: {asked}."


def met(row: dict[str, Any]) -> bool:
    """Whether a recording meets everything that is asked."""
    return all(row[key] >= least if key in WORST_IS_LOW else row[key] <= least for key, least in ASKED.items())


def _names(text: str) -> list[str]:
    names = list(LEVELS) if text == "all" else text.split(",")
    if unknown := [name for name in names if name not in LEVELS]:
        raise UserError(f"difficulties={','.join(unknown)}: known are {', '.join(LEVELS)}")
    return names


def _seeds(text: str) -> list[int]:
    first, dash, last = text.partition("-")
    try:
        seeds = list(range(int(first), int(last) + 1)) if dash else [int(word) for word in text.split(",")]
    except ValueError as error:
        raise UserError(f"seeds={text}: a range such as 1000-1004, or numbers joined by commas") from error
    if not seeds:
        raise UserError(f"seeds={text}: none")
    return seeds


def _options(text: str) -> dict[str, Any]:
    pairs = [word.partition("=") for word in text.split(",") if word]
    try:
        return {name: json.loads(value) for name, _, value in pairs}
    except ValueError as error:
        raise UserError(f"options={text}: name=value, values as in JSON") from error
