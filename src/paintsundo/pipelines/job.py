"""One picture's film: every part made, or taken over from an interrupted run, and written down."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from paintsundo.conditioning.text import prompt_notice
from paintsundo.pipelines.film import PaintsUndoPipeline, bucket_notice, fit_notice
from paintsundo.pipelines.interpolation import frame_positions, join_keyframes
from paintsundo.pipelines.model_set import ModelSet
from paintsundo.pipelines.options import InferOptions
from paintsundo.pipelines.provenance import Provenance
from paintsundo.pipelines.record import machine, versions
from paintsundo.pipelines.run_folder import RunFolder
from paintsundo.pipelines.writers import WRITERS, write_png, write_text

PNG_THREADS = 4


def say(message: str) -> None:
    """Tell the user something beside the results."""
    print(message, file=sys.stderr, flush=True)


@dataclass
class Job:
    """A picture (or own keyframes) and where its film goes.

    Attributes:
        file: the picture's file, or the folder of own keyframes.
        picture: the finished picture.
        picture_hashes: SHA-256 of the file, or of every own keyframe's.
        own_keyframes: finished … blank; None to have them generated.
        folder: DIR/<stem>.
    """

    file: Path
    picture: Image.Image
    picture_hashes: list[str]
    own_keyframes: list[Image.Image] | None
    folder: RunFolder
    kept: bool = False

    def begin(self, options: InferOptions) -> None:
        """See what is there already, and make the folder ready.

        Raises:
            UserError: a film with other settings is there, and overwrite is not set.
        """
        self.kept = not options.overwrite and self.folder.finished(options.video.formats)
        if not self.kept:
            self.folder.begin(options.overwrite, options.video.formats)


def make_film(job: Job, options: InferOptions, models: ModelSet) -> None:
    """Make what is not there yet: prompt, keyframes, frames, films, and `run.json` at the end."""
    folder = job.folder
    if job.kept:
        say(f"{folder.path} is finished with these settings already: kept")
        return
    if models.device.type == "cuda" and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats(models.device)
    provenance = Provenance(models.labels, folder.settings)
    started = datetime.now(UTC)
    prompt = _prompt(job, options, models)
    if not folder.keyframes.is_dir():
        _make_keyframes(job, prompt, options, models, provenance)
    if not folder.frames.is_dir():
        _make_frames(job, options, models, provenance)
    frames = sorted(folder.frames.glob("*.png"))
    with _timed(folder, "film"):
        for name in options.video.formats:
            file, write = WRITERS[name]
            if not (folder.path / file).is_file():
                write(folder.path / file, frames, options.video.fps, provenance)
    folder.end(_record(job, prompt, started, len(frames), options, models))
    for name in options.video.formats:
        print(f"{folder.film(name)}: {len(frames)} frames, {len(frames) / options.video.fps:.1f} s", flush=True)


def _prompt(job: Job, options: InferOptions, models: ModelSet) -> str:
    file = job.folder.prompt
    if file.is_file():
        return file.read_text(encoding="utf-8")
    if options.prompt is not None:
        prompt = options.prompt
    else:
        pipe = _pipe(job, models)
        with _timed(job.folder, "tag"):
            prompt = pipe.tag(job.picture)
    write_text(file, prompt)
    return prompt


def _make_keyframes(job: Job, prompt: str, options: InferOptions, models: ModelSet, provenance: Provenance) -> None:
    if job.own_keyframes is not None:
        keyframes = job.own_keyframes
    else:
        pipe = _pipe(job, models)
        for notice in (
            fit_notice(job.picture, options.keyframes),
            prompt_notice(pipe.keyframe_tokenizer, prompt),
        ):
            if notice is not None:
                say(f"{job.file}: {notice}")
        with _timed(job.folder, "keyframes"):
            keyframes = pipe.generate_keyframes(job.picture, prompt)
    digits = max(2, len(str(len(keyframes) - 1)))
    with job.folder.making(job.folder.keyframes) as temporary:
        for index, keyframe in enumerate(keyframes):
            write_png(temporary / f"{index:0{digits}d}.png", keyframe, provenance)


def _make_frames(job: Job, options: InferOptions, models: ModelSet, provenance: Provenance) -> None:
    folder = job.folder
    keyframes = folder.saved_keyframes()
    if options.video.between == "none":
        with folder.making(folder.frames) as temporary:
            for index, frame in enumerate(join_keyframes([np.asarray(keyframe) for keyframe in keyframes])):
                write_png(temporary / f"{index:05d}.png", frame, provenance)
        return
    pipe = _pipe(job, models)
    notice = bucket_notice(keyframes, options.video)
    if notice is not None:
        say(f"{job.file}: {notice}")
    with _timed(folder, "conditions"):
        conditions = pipe.prepare_interpolation(keyframes, options.video)
    clips = folder.saved_clips()
    if clips:
        say(f"{folder.path}: {len(clips)} of {conditions.pairs} pairs were finished before")
    clock = time.perf_counter()
    for pair, latents in pipe.sample_clips(conditions, options.video, skip=list(clips)):
        clips[pair] = latents
        folder.save_clip(pair, latents)
        clock = _took(folder, "interpolation", clock)
    with (
        folder.making(folder.frames) as temporary,
        _timed(folder, "decoding"),
        ThreadPoolExecutor(PNG_THREADS) as pool,
    ):
        written: list[Future[None]] = []
        for pair, clip in pipe.decode_clips(conditions, clips):
            # Compressed while the next clip is decoded. No clip waits for long: at most two are held.
            _wait(written)
            written = [
                pool.submit(write_png, temporary / f"{position:05d}.png", clip[index], provenance)
                for index, position in frame_positions(pair, conditions.pairs, len(clip))
            ]
        _wait(written)


def _wait(tasks: list[Future[None]]) -> None:
    """Wait for tasks, and raise what one of them raised."""
    try:
        for task in tasks:
            task.result()
    finally:
        for task in tasks:
            task.cancel()


def _pipe(job: Job, models: ModelSet) -> PaintsUndoPipeline:
    if models.loaded:
        return models.pipe
    with _timed(job.folder, "load"):
        return models.pipe


def _record(
    job: Job, prompt: str, started: datetime, frames: int, options: InferOptions, models: ModelSet
) -> dict[str, Any]:
    pairs = len(job.folder.saved_keyframes()) - 1
    device = models.device
    return {
        "synthetic": Provenance(models.labels, {}).statement,
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "input": {
            "file": str(job.file),
            "sha256": job.picture_hashes,
            "width": job.picture.width,
            "height": job.picture.height,
        },
        "prompt": prompt,
        "keyframes": pairs + 1,
        "frames": frames,
        "seeds": {
            "keyframes": None if job.own_keyframes is not None else options.keyframes.seed,
            "pairs": [options.video.seed + pair for pair in range(pairs if options.video.between == "model" else 0)],
        },
        "configuration": models.configuration,
        "checkpoints": {
            part: {"source": models.sources[part], "sha256": hashes} for part, hashes in models.hashes.items()
        },
        "versions": versions(),
        "machine": machine(device),
        "dtypes": models.dtypes(),
        **models.memory(),
    }


@contextmanager
def _timed(folder: RunFolder, part: str) -> Iterator[None]:
    clock = time.perf_counter()
    yield
    _took(folder, part, clock)


def _took(folder: RunFolder, part: str, since: float) -> float:
    now = time.perf_counter()
    folder.took(part, now - since)
    return now
