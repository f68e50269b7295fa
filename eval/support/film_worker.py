"""One process of an inference measurement: python -m support.film_worker JOB.json RESULT.json (eval/ on the path).

A process of its own for each, so that nothing one has compiled, cached or allocated helps or harms another. Its result
is written even if it fails: what cannot be done in a given memory is a result, too.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

BORN = time.time()
LATENTS = " latents"
"""After a variant's name: where its latents lie in the file of frames."""


@dataclass
class FilmJob:
    """What one process is to measure.

    Attributes:
        overrides: of infer.py, models and sizes included.
        variants: name → further overrides that need no other models or devices, such as fast=…; each a film.
        repeats: films of each variant; the fastest counts.
        warmup: two steps of everything before the first.
        cap_GiB: the card's memory ends here: what needs more fails.
        folder: make films of the pictures of this folder as infer.py does, files written, in place of measuring parts.
        output: where to.
        frames: file to keep the films in (.npz), for comparisons.
    """

    overrides: list[str]
    variants: dict[str, list[str]] = field(default_factory=lambda: {"": []})
    repeats: int = 1
    warmup: bool = True
    cap_GiB: float | None = None
    folder: str | None = None
    output: str | None = None
    frames: str | None = None


def main(job_file: str, result_file: str) -> None:
    result: dict[str, Any] = {"error": None, "marks": {"python": BORN}}
    try:
        work(FilmJob(**json.loads(Path(job_file).read_text(encoding="utf-8"))), result)
    except Exception as error:
        traceback.print_exc()
        result["error"] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    result["marks"]["end"] = time.time()
    Path(result_file).write_text(json.dumps(result, indent=1), encoding="utf-8")


def work(job: FilmJob, result: dict[str, Any]) -> None:
    """Do a job; `result` is filled as far as it gets."""
    from paintsundo.file_hashes import begin_hashes
    from paintsundo.pipelines.command import weight_files
    from paintsundo.pipelines.options import InferOptions
    from paintsundo.settings import as_schema, compose

    def options(*more: str) -> InferOptions:
        composed = as_schema(compose("infer", [*job.overrides, *more], ("input", "output")), InferOptions)
        composed.input, composed.output = job.folder or "picture", job.output or "film"
        composed.check()
        return composed

    chosen = options()
    if job.folder is not None:  # as the program does it
        begin_hashes(weight_files(chosen.models))
    from paintsundo.pipelines.placement import choose_device
    from paintsundo.pipelines.record import machine, versions

    device = choose_device(chosen.runtime.device)
    result["machine"], result["versions"] = machine(device), versions()
    result["marks"]["imported"] = time.time()
    if job.cap_GiB is not None:
        cap(device, job.cap_GiB, result)
    if job.folder is not None:
        from paintsundo.pipelines.batch import make_films

        result["code"] = make_films(chosen)
        result["peak"] = peaks(device)
        return
    measure_variants(job, result, options)


def measure_variants(job: FilmJob, result: dict[str, Any], options: Any) -> None:
    """Load the models once and measure every variant."""
    import numpy as np

    from paintsundo import PaintsUndoPipeline
    from support.film_parts import example_picture, measured_film

    chosen = options()
    pipe = PaintsUndoPipeline.from_pretrained(
        chosen.models.single_frame, chosen.models.multi_frame, tagger=None, options=chosen
    )
    pipe.set_progress_bar_config(disable=True)
    device = pipe.placement.device
    result["marks"]["loaded"] = time.time()
    result["dtype"] = str(pipe.video_unet.dtype).removeprefix("torch.")
    picture = example_picture(chosen.keyframes.width, chosen.keyframes.height)
    if job.warmup:
        measured_film(pipe, picture, steps=2)
        result["marks"]["warm"] = time.time()
    result["variants"] = {}
    films = {}
    for name, more in job.variants.items():
        own = options(*more)
        pipe.keyframe_options, pipe.video_options, pipe.fast_options = own.keyframes, own.video, own.fast
        runs = []
        for _ in range(job.repeats):
            made = measured_film(pipe, picture)
            runs.append({part: asdict(found) for part, found in made.parts.items()})
        plan = [str(line) for line in pipe.memory.lines()]
        result["variants"][name] = {"runs": runs, "peak": peaks(device), "plan": plan}
        films[name or "film"], films[f"{name}{LATENTS}"] = made.frames, made.latents
        result["marks"].setdefault("first film", time.time())
    if job.frames is not None:
        np.savez(job.frames, **films)


def cap(device: Any, gib: float, result: dict[str, Any]) -> None:
    """End the card's memory at this many GiB for this process; on a CPU only said to be impossible."""
    import torch

    if device.type != "cuda":
        result["cap"] = "not enforced: no CUDA device"
        return
    index = torch.cuda.current_device() if device.index is None else device.index
    total = torch.cuda.get_device_properties(index).total_memory
    torch.cuda.set_per_process_memory_fraction(gib * 2**30 / total, index)
    result["cap"] = f"enforced: {gib} of {total / 2**30:.1f} GiB"


def peaks(device: Any) -> dict[str, float]:
    """Most memory of the process, allocated and reserved on the card, GiB."""
    import torch

    from paintsundo.pipelines.record import peak_memory

    found = dict(peak_memory(device))
    if device.type == "cuda":
        found["reserved_GiB"] = round(torch.cuda.max_memory_reserved(device) / 2**30, 3)
    return found


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
