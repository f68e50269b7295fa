"""Starts the processes of an inference measurement and reads what came of them."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from paintsundo.errors import UserError
from paintsundo.pipelines.film import default_options
from paintsundo.pipelines.options import InferOptions
from paintsundo.settings import as_schema, compose
from support.film_parts import PROMPT
from support.film_worker import FilmJob

EVAL = Path(__file__).resolve().parents[1]
SMALL = [
    "keyframes.width=48",
    "keyframes.height=64",
    "keyframes.operation_steps=[400,900]",
    "video.buckets=[[64,48]]",
    "keyframes.num_inference_steps=4",
    "video.num_inference_steps=4",
]


class FilmJobs:
    """Processes that share one checkpoint on disk.

    Args:
        models: "random", "bundled", "official", or a folder with single_frame/ and multi_frame/.
        full_size: of random weights: the published sizes, or the smallest.
        overrides: of infer.py, for every job.
        scratch: folder for the random checkpoint, kept for a later call; by default a temporary one, removed by
            `close`.
        seconds: time limit of one process.

    Raises:
        UserError: an option is impossible.
    """

    def __init__(
        self,
        models: str,
        full_size: bool,
        overrides: Sequence[str],
        scratch: str | None = None,
        seconds: float | None = None,
    ) -> None:
        self.models, self.full_size, self.seconds = models, full_size, seconds
        self.temporary = None if scratch is not None else tempfile.mkdtemp(prefix="paintsundo-benchmark-")
        self.scratch = Path(scratch or str(self.temporary))
        base = [f"models={models}" if models in ("bundled", "official") else "models=official"]
        if models not in ("bundled", "official"):
            folder = self.checkpoint if models == "random" else Path(models)
            base += [f"models.{part}={folder / part}" for part in ("single_frame", "multi_frame")]
        size = [] if full_size or models != "random" else SMALL
        self.overrides = [*base, f"prompt='{PROMPT}'", "runtime.progress=false", *size, *overrides]
        self.options()

    @property
    def checkpoint(self) -> Path:
        """Where random weights of this size lie."""
        return self.scratch / ("official" if self.full_size else "tiny")

    def options(self, *more: str) -> InferOptions:
        """infer.py's options of a job with these overrides. Raises UserError for an impossible one."""
        options = as_schema(compose("infer", [*self.overrides, *more], ("input", "output")), InferOptions)
        options.input, options.output = "picture", "film"
        options.check()
        return options

    def prepare(self) -> None:
        """Write the random checkpoint, in a process of its own, unless it is there."""
        if self.models != "random" or (self.checkpoint / "multi_frame" / "unet" / "config.json").is_file():
            return
        print(f"writing random weights to {self.checkpoint}", file=sys.stderr, flush=True)
        unfinished = self.checkpoint.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        device = self.options().runtime.device
        code = "import sys; from support.film_jobs import write_random; write_random(*sys.argv[1:])"
        command = [sys.executable, "-c", code, self.checkpoint.name, str(unfinished), device]
        subprocess.run(command, env=environment({}), check=True, timeout=self.seconds)
        unfinished.replace(self.checkpoint)

    def run(self, job: FilmJob, env: Mapping[str, str] | None = None, seconds: float | None = None) -> dict[str, Any]:
        """Do a job in a process of its own; its result, with seconds from its start for each of its marks."""
        self.prepare()
        job = FilmJob(**{**asdict(job), "overrides": [*self.overrides, *job.overrides]})
        with tempfile.TemporaryDirectory() as folder:
            file, found = Path(folder) / "job.json", Path(folder) / "result.json"
            file.write_text(json.dumps(asdict(job)), encoding="utf-8")
            command = [sys.executable, "-m", "support.film_worker", str(file), str(found)]
            began = time.time()
            try:
                done = subprocess.run(
                    command,
                    env=environment(env or {}),
                    timeout=seconds or self.seconds,
                    stdout=sys.stderr,
                    check=False,
                )
                error = f"ended with code {done.returncode}"
            except subprocess.TimeoutExpired:
                error = f"took more than {seconds or self.seconds:.0f} s"
            ended = time.time()
            result: dict[str, Any] = {"error": error, "marks": {}}
            if found.is_file():
                result = json.loads(found.read_text(encoding="utf-8"))
        result["marks"] = {name: round(at - began, 3) for name, at in {**result["marks"], "gone": ended}.items()}
        return result

    def close(self) -> None:
        """Remove the temporary checkpoint."""
        if self.temporary is not None:
            shutil.rmtree(self.temporary, ignore_errors=True)


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process: this one's, eval/ on the path; without PyAV a stand-in that encodes nothing."""
    path = [str(EVAL), *([] if has_video() else [str(EVAL / "support" / "no_video")])]
    inherited = os.environ.get("PYTHONPATH")
    path += [inherited] if inherited else []
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), **extra}


def has_video() -> bool:
    """Whether films can be encoded here."""
    return importlib.util.find_spec("av") is not None


def write_random(architecture: str, folder: str, device: str) -> None:
    """Write a random pair of models as `single_frame/` and `multi_frame/` of a folder, in the official layout."""
    from support.random_models import random_pipeline

    options = default_options("official")
    options.runtime.device, options.runtime.memory = device, "high"
    random_pipeline(architecture, options).save_pretrained(folder)


def film_times(result: Mapping[str, Any], variant: str = "") -> dict[str, float]:
    """Part → seconds of the fastest film of a variant.

    Raises UserError: the process failed.
    """
    if result["error"] is not None:
        raise UserError(str(result["error"]))
    runs = result["variants"][variant]["runs"]
    best = min(runs, key=lambda parts: parts["whole film"]["seconds"])
    return {name: part["seconds"] for name, part in best.items()}


def film_peak(result: Mapping[str, Any], variant: str = "") -> float | None:
    """Most GiB allocated on the card by films of a variant; None where that is not counted."""
    if result["error"] is not None:
        return None
    peaks = [run["whole film"]["peak_GiB"] for run in result["variants"][variant]["runs"]]
    return None if None in peaks else max(peaks)
