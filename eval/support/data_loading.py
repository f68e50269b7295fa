"""Loading alone: states and clips a second out of shards, for both forms of a process and several numbers of cores.

`python eval/data.py loading output=DIR` with
  data=DATASET        of shards to read; null: two are made under DIR, of drawn strokes: one of processes of five
                      stages, one of processes of as many states as `states` says
  processes states    of the data sets made
  cores=[1,2]         each measured by itself, with as many worker processes; the measured process may use no others
  state_size clip_size  [height, width] of what is loaded
  batch_states batch_clips states_per_process  samples a batch, and rows that show one process
  steps               how steps are drawn: uniform, or states (as often as they were seen)
  seconds             of each measurement, the first batch of each worker left out

Writes `DIR/loading.json` and `DIR/loading.md`. MB are of the pictures delivered, uint8, before they are encoded. The
processor time of a sample is measured apart, in one process: it says how many free cores are needed, also where others
work on the same machine.
"""

import json
import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from omegaconf import MISSING

from paintsundo.data import shards
from paintsundo.data.frames import FrameWriter
from paintsundo.data.index import DataIndex, read_indexes
from paintsundo.data.plan import BatchPlan
from paintsundo.data.process import DONE, NEVER, DrawingProcess, Picture
from paintsundo.data.process_source import ProcessSource
from paintsundo.data.samples import ClipRule, StateRule
from paintsundo.data.shard_writer import ShardWriter
from paintsundo.data.staged import Stage, StagedProcess
from paintsundo.data.stream import PictureReader, Stream, StreamLoader
from paintsundo.errors import UserError
from support.arguments import parse
from support.tables import markdown

FORMS = ("stages", "states")  # in the order of `scan.FORMS`
FRAMES = 16
EATEN = {"states": 108.1, "clips": 9.0}  # a second by one H200: docs/benchmarks/training-h200.md, the networks alone
STAGES = 5


@dataclass
class LoadingSettings:
    """See above."""

    output: str = MISSING
    data: str | None = None
    processes: int = 24
    states: int = 1000
    cores: list[int] = field(default_factory=lambda: [1, 2])
    state_size: list[int] = field(default_factory=lambda: [512, 640])
    clip_size: list[int] = field(default_factory=lambda: [320, 512])
    batch_states: int = 16
    batch_clips: int = 4
    states_per_process: int = 1
    steps: str = "uniform"
    seconds: float = 20.0


@dataclass(frozen=True)
class Measurement:
    """One row: what is loaded of which data, on how many cores."""

    data: str
    form: str
    samples: str
    cores: int
    size: tuple[int, int]
    batch: int
    repeats: int
    steps: str
    seconds: float


def main(arguments: Sequence[str]) -> int:
    """Measure, write and print the table."""
    settings = parse(LoadingSettings, arguments, literal_keys=("output", "data"))
    available = len(os.sched_getaffinity(0))
    if not settings.cores or min(settings.cores) < 1 or max(settings.cores) > available:
        raise UserError(f"cores={settings.cores}: this machine lends 1 to {available}")
    if settings.processes < 1 or settings.states < 2 or not settings.seconds > 0:
        raise UserError("processes must be at least 1, states at least 2, seconds above 0")
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    places = {settings.data: None} if settings.data else made(output, settings)
    rows = []
    for place, only in places.items():
        assert place is not None
        stored = {name: stored_bytes(of_form(read_indexes([place], "train"), form)) for form, name in enumerate(FORMS)}
        for form in (name for name in FORMS if stored[name] and only in (None, name)):
            for samples in EATEN:
                for cores in settings.cores:
                    row = measured(planned(place, form, samples, cores, settings))
                    rows.append({**row, "stored_mb": stored[form] / 1e6})
                    print(f"{form}, {samples}, {cores} cores: {row['samples_per_second']:.1f} a second", flush=True)
    report = {"settings": asdict(settings), "rows": rows}
    (output / "loading.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    text = table(rows)
    (output / "loading.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def planned(place: str, form: str, samples: str, cores: int, settings: LoadingSettings) -> Measurement:
    """A row of the table before it is measured."""
    states = samples == "states"
    height, width = settings.state_size if states else settings.clip_size
    return Measurement(
        place,
        form,
        samples,
        cores,
        (height, width),
        settings.batch_states if states else settings.batch_clips,
        settings.states_per_process if states else 1,
        settings.steps,
        settings.seconds,
    )


def measured(what: Measurement) -> dict[str, Any]:
    """Measure in a new process, so that nothing it starts uses other cores."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure, what).result()


def measure(what: Measurement) -> dict[str, Any]:
    """Samples and megabytes of pictures a second that the training loader gives, its batches thrown away."""
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: what.cores]))
    index = of_form(read_indexes([what.data], "train"), FORMS.index(what.form))
    rule = StateRule(what.steps) if what.samples == "states" else ClipRule(FRAMES, steps=what.steps)
    plan = BatchPlan(index, [what.size], what.batch, repeats=what.repeats)
    stream = Stream(plan, PictureReader(ProcessSource(index), rule))
    cpu = cpu_seconds(stream, what.seconds / 4)
    batches = iter(StreamLoader(stream, what.cores))
    for _ in range(what.cores):
        next(batches)
    count = size = 0
    began = time.perf_counter()
    while (taken := time.perf_counter() - began) < what.seconds or not count:
        batch = next(batches)
        count += len(batch["keys"])
        size += sum(batch[name].nbytes for name in ("states", "finished", "clips") if name in batch)
    eaten = EATEN[what.samples]
    return {
        **asdict(what),
        "processes": len(index),
        "samples_per_second": count / taken,
        "cpu_seconds_per_sample": cpu,
        "mb_per_second": size / taken / 1e6,
        "eaten_per_second": eaten,
        "times": count / taken / eaten,
    }


def cpu_seconds(stream: Stream, seconds: float) -> float:
    """Processor time of a sample in this process alone, measured over so many seconds of it."""
    cv2.setNumThreads(1)
    batches = iter(stream)
    next(batches)
    count, began = 0, time.process_time()
    while (taken := time.process_time() - began) < seconds or not count:
        count += len(next(batches)["keys"])
    return taken / count


def of_form(index: DataIndex, form: int) -> DataIndex:
    """The samples of one form."""
    return index.take(np.flatnonzero(index.forms == form))


def stored_bytes(index: DataIndex) -> float:
    """Of a sample, on average; 0 where there is none."""
    return float(index.sizes.sum() / len(index)) if len(index) else 0.0


def table(rows: Sequence[dict[str, Any]]) -> str:
    """In Markdown."""
    header = [
        "process",
        "samples",
        "cores",
        "loaded a second",
        "MB/s",
        "CPU ms a sample",
        "a GPU eats",
        "times",
        "cores for 3 times",
        "MB stored",
    ]
    cells = [
        [
            f"of {row['form']}",
            f"{row['samples']}, {FRAMES if row['samples'] == 'clips' else 2}x{row['size'][0]}x{row['size'][1]}",
            str(row["cores"]),
            f"{row['samples_per_second']:.1f}",
            f"{row['mb_per_second']:.0f}",
            f"{1e3 * row['cpu_seconds_per_sample']:.1f}",
            f"{row['eaten_per_second']:g}",
            f"{row['times']:.2f}",
            f"{math.ceil(3 * row['eaten_per_second'] * row['cpu_seconds_per_sample'])}",
            f"{row['stored_mb']:.2f}",
        ]
        for row in rows
    ]
    return markdown(header, cells)


# -- data made for the purpose -----------------------------------------------------------------------------------------


def made(output: Path, settings: LoadingSettings) -> dict[str | None, str | None]:
    """Two data sets under the output, made where they are missing: folder -> form."""
    size = (settings.state_size[0], settings.state_size[1])
    found: dict[str | None, str | None] = {}
    for form in FORMS:
        folder = output / f"{form}-{settings.processes}x{settings.states if form == 'states' else STAGES}"
        if not (folder / "manifest.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            writer = ShardWriter(folder, 8)
            for seed in range(settings.processes):
                process = seen(seed, size, settings.states) if form == "states" else staged(seed, size)
                writer.write(shards.encode(process, split="train"), "train")
            manifest = {"format": shards.FORMAT, "shards": writer.close(), "samples": settings.processes}
            (folder / "manifest.json").write_text(json.dumps(manifest) + "\n", encoding="utf-8")
        found[str(folder)] = form
    return found


def strokes(canvas: Picture, random: np.random.Generator) -> None:
    """One soft-edged stroke onto a canvas (H, W, 3)."""
    height, width = canvas.shape[:2]
    start = random.random(2) * (width, height)
    points = start + np.cumsum(random.normal(0, 12, (8, 2)), axis=0)
    colour = random.integers(0, 256, 3).tolist()
    thickness = int(random.integers(2, 24))
    cv2.polylines(canvas, [points.round().astype(np.int32)], False, colour, thickness, cv2.LINE_AA)


def seen(seed: int, size: tuple[int, int], states: int) -> DrawingProcess:
    """A process of so many states, a stroke each."""
    random = np.random.default_rng(seed)
    canvas = np.full((*size, 3), 255, np.uint8)
    writer = FrameWriter(size)
    writer.add(canvas, 0.0)
    work = 0.0
    while len(writer) < states:
        strokes(canvas, random)
        work += 1 + random.random()
        writer.add(canvas, work, "painting")
    return writer.finish(subject=str(seed))


def staged(seed: int, size: tuple[int, int]) -> DrawingProcess:
    """A process of five stages of 60 strokes each, every stage revealed from the top."""
    random = np.random.default_rng(seed)
    canvas, found = np.full((*size, 3), 255, np.uint8), []
    edges = np.linspace(0, DONE, STAGES + 1).round().astype(int)
    for stage in range(STAGES):
        before = canvas.copy()
        for _ in range(60):
            strokes(canvas, random)
        rows = np.linspace(edges[stage] + 1, edges[stage + 1], size[0]).astype(np.uint16)
        reveal = np.where((before != canvas).any(axis=2), rows[:, None], NEVER).astype(np.uint16)
        found.append(Stage(f"stage {stage}", canvas.copy(), reveal))
    return StagedProcess(tuple(found), subject=str(seed))
