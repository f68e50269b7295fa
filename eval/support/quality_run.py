"""Measuring a pair of models on a set of true processes: batch after batch, going on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from paintsundo.errors import UserError
from support.json_files import write_json
from support.measuring_pool import MeasuringPool
from support.quality_figures import write_figures
from support.quality_summary import summarise
from support.true_processes import TrueProcess, true_processes

if TYPE_CHECKING:
    from support.pair_batch import PairBatch

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
    batch: int | None = None,
    workers: int | None = None,
    size: int | None = None,
    clips: int | None = None,
    clip_seeds: int = 1,
    state_seeds: int = 1,
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
        batch: pictures of one size, and clips, computed together; None: 1 on a CPU and 4 on a GPU. Changes no film but
            by rounding; seconds are shared out evenly.
        workers: other processes that measure while the models go on; 0: none; None: none on a CPU, on a GPU an eighth
            of the cores.
        size: pictures at the area of a square of this side; goes before `own_size`.
        clips: between so many pairs of true keyframes only, spread evenly.
        clip_seeds: make those so many times with different seeds: what a drawing leaves open is then told from error.
        state_seeds: the same of the states of "calibration".

    Returns:
        {"settings", "processes": name → figures, "summary": measure → {"film" | baseline | …: interval}, "seconds",
        "peak_memory"}; see quality_summary.

    Raises:
        UserError: an option is impossible, the models or the data set cannot be used, or `output` holds another run.
    """
    for name, given, known in (("parts", parts, PARTS), ("prompts", [prompts], PROMPTS)):
        if unknown := [value for value in given if value not in known]:
            raise UserError(f"{name}: {unknown[0]} is unknown; choose from {', '.join(known)}")
    from paintsundo.pipelines.placement import choose_device
    from support.pair_batch import PairBatch
    from support.pair_maker import PairMaker, pair_options

    for name, number, least in (
        ("batch", batch, 1),
        ("workers", workers, 0),
        ("size", size, 8),
        ("clips", clips, 1),
        ("clip_seeds", clip_seeds, 1),
        ("state_seeds", state_seeds, 1),
    ):
        if number is not None and number < least:
            raise UserError(f"{name}={number}: at least {least}")
    options = pair_options(models, overrides)
    on_cpu = choose_device(options.runtime.device).type == "cpu"
    folder = Path(output)
    settings: dict[str, Any] = {
        "models": str(models),
        "overrides": list(overrides),
        "test_set": Path(test_set).name,
        "parts": list(parts),
        "prompts": prompts,
        "own_size": own_size,
        "baselines": baselines,
    }
    settings |= {name: value for name, value in (("size", size), ("clips", clips)) if value is not None}
    settings |= {"clip_seeds": clip_seeds} if clip_seeds > 1 else {}
    settings |= {"state_seeds": state_seeds} if state_seeds > 1 else {}
    _begin(folder, settings)
    chosen = list(true_processes(test_set, limit, split))
    files = {true.name: folder / "processes" / f"{true.name}.json" for true in chosen}
    left = [true for true in chosen if not files[true.name].is_file()]
    if left:
        maker = PairMaker(options, prompts, own_size)
        made = PairBatch(maker, batch or (1 if on_cpu else 4), size, clips, clip_seeds, state_seeds)
        count = workers if workers is not None else (0 if on_cpu else max(1, (os.cpu_count() or 1) // 8))
        bar = tqdm(
            total=len(chosen), initial=len(chosen) - len(left), desc="processes", disable=None if progress else True
        )
        with bar, MeasuringPool(count) as pool:
            for group in _batches(left, made):
                for true, arguments in zip(group, _made(made, group, parts), strict=True):
                    pool.submit(write_figures, true.name, *arguments, baselines, folder, keep_films)
                bar.update(len(group))
    found = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items()}
    report = {"settings": settings, "processes": found, "summary": summarise(found)}
    write_json(folder / "quality.json", report)
    return report


def _batches(processes: Sequence[TrueProcess], batch: PairBatch) -> Iterator[list[TrueProcess]]:
    """Processes whose pictures are of one size, so many at a time."""
    sizes: dict[tuple[int, int], list[TrueProcess]] = {}
    for true in processes:
        group = sizes.setdefault(batch.size(true.process), [])
        group.append(true)
        if len(group) == batch.together:
            yield sizes.pop(batch.size(true.process))
    yield from sizes.values()


def _made(
    batch: PairBatch, group: Sequence[TrueProcess], parts: Sequence[str]
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Of each process: what was made of it, and what is known of it before it is measured."""
    import torch

    from support.pair_maker import CALIBRATION_STEPS

    device = batch.maker.set.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for true, made in zip(group, batch.make(group, parts), strict=True):
        yield (
            {**vars(made), "asked": list(CALIBRATION_STEPS)},
            {
                "subject": true.subject,
                "group": true.group,
                "size": list(made.finished.shape[:2]),
                "prompt": made.prompt,
                "ceilings": made.ceilings,
                "seconds": {part: round(seconds, 3) for part, seconds in made.seconds.items()},
                "peak_memory": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
            },
        )


def _begin(folder: Path, settings: dict[str, Any]) -> None:
    file = folder / "settings.json"
    if file.is_file() and json.loads(file.read_text(encoding="utf-8")) != settings:
        raise UserError(f"{folder} holds measurements with other settings (settings.json): choose another output")
    for name in ("processes", "strips"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_json(file, settings)
