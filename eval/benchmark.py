"""Time and memory of the default film, of training, and of single kernels.

python eval/benchmark.py inference output=DIR [name=value …]

Both models are built at the published sizes with random weights on the device (a GPU where there is one, in
float16), and one picture goes all the way: 6 keyframes of 512x640, 7 pairs of 16 frames of 448x384, 50 steps
each. The figures stand beside those of the published code. Nothing is downloaded, nothing but DIR (and a temporary
checkpoint) is written: benchmark.json (all figures), benchmark.md (the table that is also printed), benchmark.png.

full_size=false    the smallest networks that have every part: seconds on a CPU
models=bundled     real weights instead: bundled, official, or a folder with single_frame/ and multi_frame/
device dtype attention memory guidance batch attention_window    as infer.py's options
overrides=[fast=every_3,…]    any other of infer.py's options
steps=50 repeats=1 warmup=true    warmup: two steps of everything first, not counted; the fastest of the repeats counts
profile=true       which kernels the film's time goes to: DIR/profile_PART.txt
baseline=FILE      benchmark.json of an earlier run, to stand beside this one
modes=[film]       what is measured, each film but those of `film` in a process of its own:
  film             every part of one film, its peak memory, its operations a second
  ladder           what each change brought: the rungs of configs/benchmark/inference.yaml, each with the PSNR of its
                   film to the first rung's (ladder=FILE, rungs=[NAME,…])
  fast             every setting of configs/fast (fast=[NAME,…]); eval/drift.py says how far off trained models are
  agreement        errors of the default path and the plain one against float32, for every attention window
  cold             from the start of a process to a film on disk: first ever, again, and without compiling
  memory           under caps that are enforced: caps=[4.0,2.5] GiB, and keyframes of large=1024 pixels in large_cap=8
  devices          a folder of pictures=2 for each device, and one film, on devices=[1,2] of them
scratch=DIR        keeps the random checkpoint those processes share, for the next call; seconds=N ends each after N

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

python eval/benchmark.py kernels output=DIR [name=value …]

Every Triton kernel at every size of one pass of the published 3D UNet (one clip of 16 frames of 448x384, both halves
of guidance), random data: its time, that of PyTorch's own operation and what memory alone would need at the rate of a
large copy; its error against float64, how often a pass calls it. Then the kernels of GroupNorm one by one, and every
convolution without and with cudnn.benchmark, beside other forms of the same sums. Writes kernels.json, kernels.md
(also printed). Needs a CUDA GPU with Triton; with TRITON_INTERPRET=1 errors are checked on a processor instead, at the
smallest network's sizes, and nothing is timed.

dtype=float16      or bfloat16, float32
small=true         the smallest network's sizes on a GPU too
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING
from support.arguments import parse, run
from support.film_jobs import FilmJobs
from support.film_operations import film_operations, rates
from support.film_parts import WHOLE, example_picture, measure
from support.film_profile import write_profiles
from support.inference_modes import MODES, ModeOptions
from support.inference_tables import mode_table
from support.json_files import write_json
from support.reference import PUBLISHED, comparison
from support.stopwatch import Part

from paintsundo import PaintsUndoPipeline
from paintsundo.errors import UserError
from paintsundo.pipelines.options import InferOptions, check_keyframes, check_video
from paintsundo.pipelines.record import machine, peak_memory, versions
from paintsundo.settings import as_schema, compose
from paintsundo.training.device_rate import matrix_rate

FILM = "film"


@dataclass
class InferenceSettings:
    """Options of `benchmark.py inference`, explained at the top of this file."""

    output: str = MISSING
    modes: list[str] = field(default_factory=lambda: [FILM])
    full_size: bool = True
    models: str = "random"
    device: str = "auto"
    dtype: str = "auto"
    attention: str = "sdpa"
    memory: str = "auto"
    guidance: str = "auto"
    attention_window: str = "none"
    batch: int | None = None
    overrides: list[str] = field(default_factory=list)
    steps: int | None = None
    repeats: int = 1
    warmup: bool = True
    profile: bool = False
    baseline: str | None = None
    ladder: str = "inference"
    rungs: list[str] | None = None
    fast: list[str] | None = None
    caps: list[float] = field(default_factory=lambda: [4.0, 2.5])
    large: int = 1024
    large_cap: float = 8.0
    devices: list[int] = field(default_factory=lambda: [1, 2])
    pictures: int = 2
    scratch: str | None = None
    seconds: float | None = None


def main(arguments: Sequence[str]) -> None:
    if arguments and arguments[0] == "training":
        import training_benchmark

        return training_benchmark.main(arguments[1:])
    if arguments and arguments[0] == "kernels":
        from support import kernel_run

        return kernel_run.main(arguments[1:])
    if not arguments or arguments[0] != "inference":
        raise UserError("say what to measure: benchmark.py inference (or training, or kernels) output=DIR")
    literal = ("output", "models", "baseline", "scratch", "ladder")
    settings = parse(InferenceSettings, arguments[1:], literal_keys=literal)
    if settings.repeats < 1:
        raise UserError(f"repeats={settings.repeats}: at least 1")
    unknown = [mode for mode in settings.modes if mode not in (FILM, *MODES)]
    if unknown or not settings.modes:
        raise UserError(f"modes={settings.modes}: some of {', '.join((FILM, *MODES))}")
    options = film_options(settings)
    baseline = read_baseline(settings.baseline)
    output = Path(settings.output)
    if FILM in settings.modes:
        measure_film(settings, options, baseline, output)
    others = [mode for mode in settings.modes if mode != FILM]
    if others:
        measure_modes(settings, options, others, output)
    print(f"\nwritten to {output}")


def measure_film(
    settings: InferenceSettings, options: InferOptions, baseline: Mapping[str, Any] | None, output: Path
) -> None:
    """Every part of a film, in this process."""
    pipe = build(settings, options)
    pipe.set_progress_bar_config(disable=not sys.stderr.isatty())
    picture = example_picture(options.keyframes.width, options.keyframes.height)
    output.mkdir(parents=True, exist_ok=True)
    if settings.warmup:
        measure(pipe, picture, steps=2)
    runs = [measure(pipe, picture) for _ in range(settings.repeats)]
    best = min(runs, key=lambda parts: parts[WHOLE].seconds)
    device = pipe.placement.device
    frames = pipe.image_projection.config["video_length"]
    operations = film_operations(pipe, len(options.keyframes.steps()) + 1, frames)
    rate = matrix_rate(device)
    report = {
        "settings": asdict(settings),
        "keyframes": {"width": options.keyframes.width, "height": options.keyframes.height},
        "dtype": str(pipe.video_unet.dtype).removeprefix("torch."),
        "networks_wait_on": str(pipe.placement.rest_device),
        "machine": machine(device),
        "versions": versions(),
        "process": peak_memory(device),
        "memory_plan": pipe.memory.record(),
        "runs": [{name: asdict(part) for name, part in parts.items()} for parts in runs],
        "matrix_tflops": rate / 1e12,
        "rates": rates(operations, {name: part.seconds for name, part in best.items()}, rate),
        "baseline": None if baseline is None else baseline_parts(baseline),
    }
    comparable = settings.full_size and settings.models in ("random", "official") and settings.steps is None
    report["published"] = PUBLISHED if comparable else None
    (output / "benchmark.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    table = comparison(report, best, comparable)
    (output / "benchmark.md").write_text(table + "\n", encoding="utf-8")
    _plot(best, comparable, output / "benchmark.png")
    if settings.profile:
        write_profiles(pipe, picture, output)
    print(table)


def measure_modes(settings: InferenceSettings, options: InferOptions, modes: Sequence[str], output: Path) -> None:
    """Everything that needs processes of its own: DIR/MODE.json, written after each film, and MODE.md."""
    names = ("device", "dtype", "attention", "memory", "guidance")
    plain = InferenceSettings()
    overrides = [f"runtime.{n}={getattr(settings, n)}" for n in names if getattr(settings, n) != getattr(plain, n)]
    overrides += [f"video.attention_window={settings.attention_window}"]
    overrides += [] if settings.batch is None else [f"video.batch={settings.batch}"]
    if settings.steps is not None:
        overrides += [f"{stage}.num_inference_steps={settings.steps}" for stage in ("keyframes", "video")]
    jobs = FilmJobs(
        settings.models, settings.full_size, [*overrides, *settings.overrides], settings.scratch, settings.seconds
    )
    device = settings.device if settings.device != "auto" else _device_type()
    chosen = {name: getattr(settings, name) for name in vars(ModeOptions()) if name != "device"}
    mode_options = ModeOptions(**chosen, device=device.partition(":")[0])
    output.mkdir(parents=True, exist_ok=True)
    try:
        for mode in modes:
            about: dict[str, Any] = {"mode": mode, "settings": asdict(settings), "overrides": jobs.overrides[1:]}
            about |= {"machine": _machine(device), "versions": versions()}

            def keep(rows: list[dict[str, Any]], about: dict[str, Any] = about, mode: str = mode) -> None:
                write_json(output / f"{mode}.json", {**about, "rows": rows})

            rows = MODES[mode](jobs, mode_options, keep)
            table = mode_table({**about, "rows": rows})
            (output / f"{mode}.md").write_text(table + "\n", encoding="utf-8")
            print(f"\n{mode}\n{table}", flush=True)
    finally:
        jobs.close()


def _device_type() -> str:
    from paintsundo.pipelines.placement import choose_device

    return choose_device("auto").type


def _machine(device: str) -> dict[str, Any]:
    from paintsundo.pipelines.placement import choose_device

    return dict(machine(choose_device(device)))


def read_baseline(file: str | None) -> dict[str, Any] | None:
    """An earlier benchmark.json. Raises UserError where it is none."""
    if file is None:
        return None
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
        baseline_parts(found)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"baseline={file} is no benchmark.json: {type(error).__name__}") from None
    assert isinstance(found, dict)
    return found


def baseline_parts(baseline: Mapping[str, Any]) -> dict[str, Any]:
    """Part → seconds and peak of the fastest film of an earlier run."""
    best: dict[str, Any] = min(baseline["runs"], key=lambda parts: parts[WHOLE]["seconds"])
    return best


def film_options(settings: InferenceSettings) -> InferOptions:
    """infer.py's options for this benchmark; UserError where a value is impossible."""
    named = "bundled" if settings.models == "bundled" else "official"
    options = as_schema(compose("infer", [f"models={named}", *settings.overrides]), InferOptions)
    given, plain = {override.partition("=")[0] for override in settings.overrides}, InferenceSettings()
    for name in ("device", "dtype", "attention", "memory", "guidance"):
        if f"runtime.{name}" not in given or getattr(settings, name) != getattr(plain, name):
            setattr(options.runtime, name, getattr(settings, name))
    options.video.attention_window = settings.attention_window
    if settings.batch is not None:
        options.video.batch = settings.batch
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
    """The pipeline to measure: random weights, or those of `models`, read from disk as infer.py reads them."""
    jobs = None
    single, multi = options.models.single_frame, options.models.multi_frame
    if settings.models == "random":
        jobs = FilmJobs("random", settings.full_size, [f"runtime.device={settings.device}"], settings.scratch)
        jobs.prepare()
        single, multi = (str(jobs.checkpoint / part) for part in ("single_frame", "multi_frame"))
    elif settings.models not in ("bundled", "official"):
        single, multi = (str(Path(settings.models) / part) for part in ("single_frame", "multi_frame"))
    try:
        return PaintsUndoPipeline.from_pretrained(single, multi, tagger=None, options=options)
    finally:
        if jobs is not None:
            jobs.close()


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
