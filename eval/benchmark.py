"""Time and memory of the default film, and of training.

python eval/benchmark.py inference output=DIR [name=value …]

Both models are built at the published sizes with random weights on the device (a GPU where there is one, in
float16), and one picture goes all the way: 6 keyframes of 512x640, 7 pairs of 16 frames of 448x384, 50 steps
each. The figures stand beside those of the published code. Nothing is downloaded, nothing but DIR is written:
benchmark.json (all figures), benchmark.md (the table that is also printed), benchmark.png.

full_size=false    the smallest networks that have every part: seconds on a CPU
models=bundled     real weights instead: bundled, official, or a folder with single_frame/ and multi_frame/
device dtype attention memory guidance batch attention_window    as infer.py's options
steps=50 repeats=1 warmup=true    warmup: two steps of everything first, not counted

python eval/benchmark.py training output=DIR [name=value …]

Writes training.json, training.md (also printed) and training.png: seconds per step, samples a second, utilisation
of the device's measured matrix rate, peak memory.

parts=networks     networks: both UNets at the published sizes, random weights and latents; loader: the streaming
                   loader alone; strategies: short runs of the trainer; several: parts=networks,loader
networks=both      or single_frame, multi_frame
full_size=false    the smallest networks: seconds on a CPU
compile=regional before=true    none, regional or full; before: uncompiled first
batch steps=10 attention gradient_checkpointing channels_last device
profile=true       the time of each kernel too: DIR/NETWORK_COMPILE_kernels.txt
data=DATASET workers    shards for loader and strategies; workers: of the loader, one for each core without
strategies=one,ddp,zero1,zero2,zero3,fsdp2 devices=1 experiment=official start    of the trainer's runs
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import MISSING
from support.arguments import parse, run
from support.random_models import random_pipeline
from support.reference import PUBLISHED, comparison
from support.stopwatch import Part, Stopwatch, TimedPlacement

from paintsundo import PaintsUndoPipeline
from paintsundo.errors import UserError
from paintsundo.pipelines.film import default_options
from paintsundo.pipelines.interpolation import join_clips
from paintsundo.pipelines.options import InferOptions, check_keyframes, check_video
from paintsundo.pipelines.record import machine, peak_memory, versions

PROMPT = "1girl, solo, long hair, dress, smile"


@dataclass
class InferenceSettings:
    """Options of `benchmark.py inference`, explained at the top of this file."""

    output: str = MISSING
    full_size: bool = True
    models: str = "random"
    device: str = "auto"
    dtype: str = "auto"
    attention: str = "sdpa"
    memory: str = "auto"
    guidance: str = "auto"
    attention_window: str = "none"
    batch: int = 1
    steps: int | None = None
    repeats: int = 1
    warmup: bool = True


def main(arguments: Sequence[str]) -> None:
    if arguments and arguments[0] == "training":
        import training_benchmark

        return training_benchmark.main(arguments[1:])
    if not arguments or arguments[0] != "inference":
        raise UserError("say what to measure: benchmark.py inference output=DIR, or benchmark.py training output=DIR")
    settings = parse(InferenceSettings, arguments[1:], literal_keys=("output", "models"))
    if settings.repeats < 1:
        raise UserError(f"repeats={settings.repeats}: at least 1")
    options = film_options(settings)
    pipe = build(settings, options)
    pipe.set_progress_bar_config(disable=not sys.stderr.isatty())
    picture = example_picture(options.keyframes.width, options.keyframes.height)
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)

    if settings.warmup:
        measure(pipe, picture, steps=2)
    runs = [measure(pipe, picture) for _ in range(settings.repeats)]
    best = min(runs, key=lambda parts: parts["whole film"].seconds)
    device = pipe.placement.device
    report = {
        "settings": asdict(settings),
        "keyframes": {"width": options.keyframes.width, "height": options.keyframes.height},
        "dtype": str(pipe.video_unet.dtype).removeprefix("torch."),
        "networks_wait_on": str(pipe.placement.rest_device),
        "machine": machine(device),
        "versions": versions(),
        "process": peak_memory(device),
        "runs": [{name: asdict(part) for name, part in parts.items()} for parts in runs],
    }
    comparable = settings.full_size and settings.models in ("random", "official") and settings.steps is None
    report["published"] = PUBLISHED if comparable else None
    (output / "benchmark.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    table = comparison(report, best, comparable)
    (output / "benchmark.md").write_text(table + "\n", encoding="utf-8")
    _plot(best, comparable, output / "benchmark.png")
    print(table)
    print(f"\nwritten to {output}")


def film_options(settings: InferenceSettings) -> InferOptions:
    """infer.py's options for this benchmark; UserError where a value is impossible."""
    options = default_options("bundled" if settings.models == "bundled" else "official")
    for name in ("device", "dtype", "attention", "memory", "guidance"):
        setattr(options.runtime, name, getattr(settings, name))
    options.video.attention_window, options.video.batch = settings.attention_window, settings.batch
    if not settings.full_size:
        if settings.models != "random":
            raise UserError(f"full_size=false is for models=random; models={settings.models} have their size")
        options.keyframes.width, options.keyframes.height = 48, 64
        options.keyframes.operation_steps = [400, 900]
        options.video.buckets = [[64, 48]]
        options.keyframes.num_inference_steps = options.video.num_inference_steps = 2
    if settings.steps is not None:
        options.keyframes.num_inference_steps = options.video.num_inference_steps = settings.steps
    options.input, options.output = "picture", settings.output
    options.check()
    check_keyframes(options.keyframes)
    check_video(options.video)
    return options


def build(settings: InferenceSettings, options: InferOptions) -> PaintsUndoPipeline:
    """The pipeline to measure: random weights, or those of `models`."""
    if settings.models == "random":
        return random_pipeline("official" if settings.full_size else "tiny", options)
    if settings.models in ("bundled", "official"):
        single, multi = options.models.single_frame, options.models.multi_frame
    else:
        single, multi = (str(Path(settings.models) / part) for part in ("single_frame", "multi_frame"))
    return PaintsUndoPipeline.from_pretrained(single, multi, tagger=None, options=options)


@torch.inference_mode()
def measure(pipe: PaintsUndoPipeline, picture: NDArray[np.uint8], steps: int | None = None) -> dict[str, Part]:
    """Make one film and measure its parts; sums and means are added under names of their own."""
    device = pipe.placement.device
    watch = Stopwatch(device)
    own, pipe.placement = pipe.placement, TimedPlacement(pipe.placement, watch)
    try:
        with watch.part("keyframes"):
            keyframes = pipe.generate_keyframes(picture, PROMPT, num_inference_steps=steps)
        video = pipe.video_options
        if steps is not None:
            video = type(video)(**{**vars(video), "num_inference_steps": steps})
        with watch.part("reading keyframes"):
            conditions = pipe.prepare_interpolation(keyframes, video)
        with watch.part("in-between frames"):
            latents = dict(pipe.sample_clips(conditions, video))
        with watch.part("decoding"):
            film = join_clips([clip for _, clip in pipe.decode_clips(conditions, latents)])
        moving = pipe.placement.moving
    finally:
        pipe.placement = own
    parts = dict(watch.parts)
    clips = [parts[name] for name in ("reading keyframes", "in-between frames", "decoding")]
    parts["one pair, all its parts"] = _together(clips, 1 / conditions.pairs)
    parts["whole film"] = _together([parts["keyframes"], *clips])
    parts["moving networks, in the above"] = Part(moving, None)
    assert len(film) == conditions.pairs * (conditions.frames - 1)
    return parts


def _together(parts: Sequence[Part], share: float = 1.0) -> Part:
    peaks = [part.peak_GiB for part in parts if part.peak_GiB is not None]
    return Part(share * sum(part.seconds for part in parts), max(peaks) if peaks else None)


def example_picture(width: int, height: int) -> NDArray[np.uint8]:
    """A picture to draw: a few outlined shapes on white, uint8 (height,width,3)."""
    picture = np.full((height, width, 3), 255, np.uint8)
    centre = (width // 2, height // 2)
    for part, colour in ((0.42, (250, 220, 180)), (0.25, (220, 90, 70)), (0.1, (60, 110, 200))):
        radius = round(min(width, height) * part)
        cv2.circle(picture, centre, radius, colour, -1, cv2.LINE_AA)
        cv2.circle(picture, centre, radius, (20, 20, 30), max(1, width // 150), cv2.LINE_AA)
    return picture


def _plot(parts: dict[str, Part], comparable: bool, path: Path) -> None:
    try:
        import matplotlib as mpl
    except ImportError:
        print("matplotlib is not installed: no benchmark.png")
        return
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = [name for name in parts if name != "whole film"]
    figure, axis = plt.subplots(figsize=(7, 3))
    axis.barh(names, [parts[name].seconds for name in names], label="this code")
    if comparable:
        known: list[Any] = [(name, PUBLISHED[name]["seconds"]) for name in names if name in PUBLISHED]
        axis.scatter([s for _, s in known], [n for n, _ in known], color="k", marker="|", s=200, label="published")
        axis.legend(fontsize=7)
    axis.invert_yaxis()
    axis.set_xlabel("seconds")
    axis.tick_params(labelsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(run(main))
