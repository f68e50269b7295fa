"""Training measured around the networks: the loader by itself, and short runs of the trainer."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from paintsundo.data.index import read_indexes
from paintsundo.data.plan import BatchPlan
from paintsundo.data.process_source import ProcessSource
from paintsundo.data.samples import ClipRule, StateRule
from paintsundo.data.stream import PictureReader, Stream, StreamLoader

WORKER = Path(__file__).parent / "training_worker.py"
FIGURES = ("devices", "batch_size", "seconds_per_step", "images_per_second", "mfu", "peak_memory_gib")


def loader_alone(
    name: str, data: str, size: tuple[int, int], batch: int, frames: int, workers: int, seconds: float
) -> dict[str, Any]:
    """Samples a second of the streaming loader, its batches thrown away.

    Args:
        name: `single_frame` (a state and its finished picture are a sample) or `multi_frame` (a clip is one).
        data: folder of shards.
        size: (height, width) of the pictures.
        batch: samples a batch.
        frames: pictures of a clip.
        workers: processes that read; 0 for this one.
        seconds: how long, about; the first batch of each worker is not counted.
    """
    index = read_indexes([data], "train", None)
    plan = BatchPlan(index, [size], batch)
    rule = StateRule() if name == "single_frame" else ClipRule(frames)
    batches = iter(StreamLoader(Stream(plan, PictureReader(ProcessSource(index), rule)), workers))
    for _ in range(max(1, workers)):
        next(batches)
    count, began = 0, time.perf_counter()
    while (taken := time.perf_counter() - began) < seconds or not count:
        count += len(next(batches)["keys"])
    return {"network": name, "batch": batch, "workers": workers, "images_per_second": count / taken}


def strategy_run(
    name: str, strategy: str, devices: int, folder: Path, arguments: list[str], steps: int
) -> dict[str, Any]:
    """A short run of the trainer without checkpoints; its own figures, or the last line of its error as "error".

    Args:
        name: `single_frame` or `multi_frame`, for the row.
        strategy: of the trainer.
        devices: processes, one for each device.
        folder: output of the run.
        arguments: of `train.py`, the experiment and its data.
        steps: measured, after as many that are not (compilation).
    """
    launcher = [sys.executable]
    if devices > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={devices}"]
    own = [f"output={folder}", f"trainer.strategy={strategy}", f"trainer.devices={devices}"]
    limits = [f"max_steps={2 * steps}", f"log_every={steps}"]
    done = subprocess.run(
        [*launcher, str(WORKER), *arguments, *own, *limits], capture_output=True, text=True, check=False
    )
    row: dict[str, Any] = {"network": name, "strategy": strategy, "devices": devices}
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8")) if not done.returncode else {}
    except (OSError, ValueError):
        summary = {}
    if not summary:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return {**row, "error": lines[-1] if lines else f"it ended with {done.returncode}"}
    return {**row, **{key: summary.get(key) for key in FIGURES}}
