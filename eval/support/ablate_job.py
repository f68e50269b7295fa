"""One job of an ablation: train a stage of the pair anew, make films with it, keep the figures."""

from __future__ import annotations

import gc
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from paintsundo.errors import UserError
from paintsundo.file_hashes import file_hash
from support.ablate_grid import Cell, Job, Training
from support.json_files import write_json
from support.model_identity import PAIR, hashes_of, part_folder

KEPT_OF_SUMMARY = (
    *("steps", "batch_size", "seconds_training", "seconds_total", "seconds_per_step", "peak_memory_gib"),
    *("parameters", "trained_parameters", "processes", "device", "held_out_loss"),
)


@dataclass(frozen=True)
class Place:
    """Where a job finds and leaves things.

    Attributes:
        output: the ablation's folder.
        models: the pair as the command line has it.
        data: training data sets; test, limit, split: what films are measured on.
        keep_weights: leave trained weights in `output`/weights.
        strips: films of a cell that a strip is kept of.
        baselines: names of the cells whose null baselines are measured.
        batch, workers: of `measure_pair`.
    """

    output: Path
    models: str
    data: tuple[str, ...]
    test: str
    limit: int | None
    split: str | None
    keep_weights: bool
    strips: int
    baselines: frozenset[str]
    batch: int | None = None
    workers: int | None = 0

    @property
    def work(self) -> Path:
        """What is large and can be made again."""
        return self.output / "work"

    def cell_file(self, cell: Cell) -> Path:
        return self.output / "cells" / f"{cell.name}.json"

    def training_file(self, training: Training) -> Path:
        return self.output / "trainings" / f"{training.key}.json"


def identity(place: Place) -> dict[str, Any]:
    """Hashes of what all cells of an output have in common."""
    return {
        "models": hashes_of(place.models),
        "data": [_manifest_hash(folder) for folder in place.data],
        "test": {"set": _manifest_hash(place.test), "limit": place.limit, "split": place.split},
    }


def run_job(place: Place, job: Job) -> None:
    """Train and measure what is not there yet.

    Raises UserError: the training or the films are impossible as they are asked for; what was finished stays.
    """
    weights = None if job.training is None else trained(place, job.training)
    for cell in job.cells:
        if not place.cell_file(cell).is_file():
            measured(place, cell, weights)


def trained(place: Place, training: Training) -> Path:
    """The folder of a trained stage, in the official layout."""
    summary_file, kept = place.training_file(training), place.output / "weights" / training.key
    run = place.work / "trainings" / training.key
    arguments = training_arguments(place, training, run)
    settings = {**asdict(training), "overrides": list(training.overrides)}
    if summary_file.is_file():
        record = json.loads(summary_file.read_text(encoding="utf-8"))
        if record["settings"] != settings:
            raise UserError(
                f"{summary_file} is of a training with other options; choose another output, or remove it to train anew"
            )
        for folder in (kept, run / "final"):
            if (folder / "unet").is_dir():
                return assembled(place, training, folder)
    from paintsundo.training.command import run as train

    began = time.monotonic()
    train(arguments)
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    if place.keep_weights:
        keep_weights(run / "final", kept)
    write_json(
        summary_file,
        {
            "settings": settings,
            **{key: summary.get(key) for key in KEPT_OF_SUMMARY},
            "seconds": round(time.monotonic() - began, 1),
            "losses": _losses(run),
        },
    )
    shutil.rmtree(run / "checkpoints", ignore_errors=True)  # the training is over
    _free()
    return assembled(place, training, kept if place.keep_weights else run / "final")


def training_arguments(place: Place, training: Training, run: Path) -> list[str]:
    """Of train.py. In overrides, {single_frame}, {multi_frame} and {tagger} stand for the pair's folders."""
    folders = {part: str(part_folder(place.models, part)) for part in PAIR}
    arguments = [
        f"experiment=embedded/{training.stage}",
        f"model.autoencoder={folders[training.stage]}",
        f"data.path={place.data[0]}",
        "sample_every=null",
        "progress_bar=false",
        "ema.kind=standard",  # of the experiment's own kind the width would be chosen afterwards
    ]
    if len(place.data) > 1:
        arguments.append(f"data.also=[{','.join(repr(folder) for folder in place.data[1:])}]")
    if training.stage == "single_frame":
        arguments.append(f"model.tags={folders['tagger']}/selected_tags.csv")
    for override in training.overrides:
        for part, folder in folders.items():
            override = override.replace(f"{{{part}}}", folder)
        arguments.append(override)
    return [*arguments, f"seed={training.seed}", f"output={run}"]


def keep_weights(final: Path, kept: Path) -> None:
    """Copy a trained stage without its autoencoder, which is the pair's, in 16 bit."""
    from paintsundo.training.bundle import pack

    partial = kept.with_name(f".{kept.name}.partial")
    pack(final, partial, leave_out=["vae"])
    shutil.rmtree(kept, ignore_errors=True)
    partial.rename(kept)


def assembled(place: Place, training: Training, weights: Path) -> Path:
    """A folder of links to trained weights, with the pair's autoencoder where they have none."""
    folder = place.work / "assembled" / training.key
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for part in (*weights.iterdir(), part_folder(place.models, training.stage) / "vae"):
        link = folder / part.name
        if not link.exists():
            link.symlink_to(part.resolve(), target_is_directory=part.is_dir())
    return folder


def measured(place: Place, cell: Cell, weights: Path | None) -> None:
    """Make the films of a cell and write its figures."""
    from support.quality_run import measure_pair

    films = cell.films
    overrides = ["runtime.seed_device=cpu"]  # so that a row has the same noise on any device
    overrides += ["runtime.graphs=true"] if _on_gpu() else []  # one launch for each pass
    overrides += films.infer
    if weights is not None:
        assert cell.training is not None
        overrides.append(f"models.{cell.training.stage}={weights}")
    folder = place.work / "cells" / cell.name
    # The output may have been carried to another machine, other folders and all: the cell's name says what it is.
    (folder / "settings.json").unlink(missing_ok=True)
    began = time.monotonic()
    report = measure_pair(
        place.models,
        place.test,
        folder,
        overrides,
        limit=place.limit,
        split=place.split,
        parts=films.parts,
        prompts=films.prompts,
        baselines=cell.name in place.baselines,
        own_size=films.size is None,
        keep_films=False,
        progress=False,
        batch=place.batch,
        workers=place.workers,
        clips=films.clips,
    )
    keep_strips(folder / "strips", place.output / "strips", cell.name, place.strips)
    figures = condensed(report["processes"])
    settings = {"training": cell.training and asdict(cell.training), "films": asdict(films)}
    record = {"settings": settings, "device": device_name(), "wall_seconds": time.monotonic() - began, **figures}
    write_json(place.cell_file(cell), json.loads(json.dumps(record)))
    shutil.rmtree(folder)
    _free()


def condensed(processes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Of measure_pair's figures, what comparisons need: subjects, and measure → row → process → value."""
    from support.quality_summary import values_of

    def rounded(value: float) -> float:
        return float(f"{value:.6g}")

    memory = [f["peak_memory"] for f in processes.values() if f.get("peak_memory")]
    return {
        "subjects": {name: f["subject"] for name, f in processes.items()},
        "sizes": {name: f["size"] for name, f in processes.items()},
        "values": {
            measure: {row: {name: rounded(v) for name, v in values.items()} for row, values in rows.items()}
            for measure, rows in values_of(processes).items()
        },
        "read_steps": {
            name: {key: f["calibration"][key] for key in ("asked", "read")}
            for name, f in processes.items()
            if f.get("calibration")
        },
        "peak_memory_gib": round(max(memory) / 2**30, 3) if memory else None,
    }


def keep_strips(source: Path, target: Path, cell: str, count: int) -> None:
    """The strips of the first so many processes, in little space."""
    for file in sorted(source.glob("*.png"))[:count]:
        target.mkdir(parents=True, exist_ok=True)
        with Image.open(file) as strip:
            strip.save(target / f"{cell}.{file.stem}.webp", quality=80)


def device_name() -> str:
    """Of the device that films are made on."""
    import torch

    return torch.cuda.get_device_name() if _on_gpu() else "processor"


def _on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _losses(run: Path) -> dict[str, list[float]]:
    """Steps and training losses of a run's log."""
    import csv

    file = run / "log" / "metrics.csv"
    if not file.is_file():
        return {}
    with file.open(newline="", encoding="utf-8") as stream:
        rows = [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(stream) if row.get("loss")]
    return {"steps": [step for step, _ in rows], "loss": [float(f"{loss:.5g}") for _, loss in rows]}


def _manifest_hash(folder: str) -> str:
    file = Path(folder) / "manifest.json"
    if not file.is_file():
        raise UserError(f"{folder} is no data set: it has no manifest.json")
    return file_hash(file)[:16]


def _free() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.compiler.reset()
