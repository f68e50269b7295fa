"""Speed of training, for eval/benchmark.py, whose documentation describes the options."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import MISSING
from support.arguments import parse
from support.tables import markdown, number
from support.training_networks import FRAMES, FULL, TINY, StepFigures, StepOptions, measure
from support.training_runs import loader_alone, strategy_run

from paintsundo.errors import UserError
from paintsundo.pipelines.record import machine, versions
from paintsundo.training.device_rate import matrix_rate

PARTS = ("networks", "loader", "strategies")
STRATEGIES = ("one", "ddp", "zero1", "zero2", "zero3", "fsdp2")
NETWORKS = {"single_frame": "single-frame UNet, 512x640", "multi_frame": "3D UNet, 16x320x512"}
# Model FLOP utilisation that this project asks of itself on data-centre GPUs.
ASKED = {"single_frame": 0.38, "multi_frame": 0.33}


@dataclass
class TrainingSettings:
    """Options of `benchmark.py training`, explained at the top of that file."""

    output: str = MISSING
    parts: str = "networks"
    networks: str = "both"
    full_size: bool = True
    batch: int | None = None
    compile: str = "regional"
    before: bool = True
    attention: str = "sdpa"
    gradient_checkpointing: bool = False
    channels_last: bool = True
    steps: int = 10
    device: str = "auto"
    profile: bool = False
    data: str | None = None
    start: str | None = None
    experiment: str = "official"
    workers: int | None = None
    strategies: str = ",".join(STRATEGIES)
    devices: int = 1


def main(arguments: Sequence[str]) -> None:
    """`benchmark.py training …`"""
    settings = parse(TrainingSettings, arguments, literal_keys=("output", "data", "start"))
    parts, names, strategies = check(settings)
    output = Path(settings.output)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if settings.device == "auto" else settings.device
    if settings.full_size and device == "cpu" and "networks" in parts:
        raise UserError("full size takes a GPU: full_size=false measures the smallest networks on a processor")
    output.mkdir(parents=True, exist_ok=True)
    torch.set_float32_matmul_precision("high")
    report: dict[str, Any] = {
        "settings": asdict(settings),
        "machine": machine(torch.device(device)),
        "versions": versions(),
        "matrix_tflops": None if device == "cpu" else matrix_rate(device) / 1e12,
    }
    for part in parts:
        if part == "networks":
            report[part] = []
            for name in names:
                for row in networks(name, settings, device, output):
                    report[part].append(asdict(row))
                    write(report, output)
        elif part == "loader":
            report[part] = [loader(name, settings) for name in names]
        else:
            report[part] = [strategy(name, kind, settings, output) for name in names for kind in strategies]
        write(report, output)
    print((output / "training.md").read_text(encoding="utf-8"))
    print(f"written to {output}")


def check(settings: TrainingSettings) -> tuple[list[str], list[str], list[str]]:
    """(parts, networks, strategies) to measure; UserError where an option is impossible."""
    parts, strategies = settings.parts.split(","), settings.strategies.split(",")
    if unknown := sorted({*parts} - {*PARTS}):
        raise UserError(f"parts={','.join(unknown)}: known are {', '.join(PARTS)}")
    if unknown := sorted({*strategies} - {*STRATEGIES}):
        raise UserError(f"strategies={','.join(unknown)}: known are {', '.join(STRATEGIES)}")
    if settings.networks not in ("both", *NETWORKS):
        raise UserError(f"networks={settings.networks}: single_frame, multi_frame or both")
    if settings.compile not in ("none", "regional", "full"):
        raise UserError(f"compile={settings.compile}: none, regional or full")
    if settings.steps < 1 or (settings.batch is not None and settings.batch < 1):
        raise UserError("steps and batch: at least 1")
    if parts != ["networks"] and settings.data is None:
        raise UserError("the loader and the strategies are measured on real data: data=DATASET")
    return parts, list(NETWORKS) if settings.networks == "both" else [settings.networks], strategies


def networks(name: str, settings: TrainingSettings, device: str, output: Path) -> Iterator[StepFigures]:
    """One network uncompiled (`before`), then as asked for."""
    kinds = ["none"] * (settings.before and settings.compile != "none") + [settings.compile]
    for kind in kinds:
        options = StepOptions(
            full_size=settings.full_size,
            compile=kind,
            attention=settings.attention,
            gradient_checkpointing=settings.gradient_checkpointing,
            channels_last=settings.channels_last,
            steps=settings.steps,
            device=device,
            profile=output / f"{name}_{kind}_kernels.txt" if settings.profile else None,
        )
        row = measure(name, settings.batch or (FULL if settings.full_size else TINY)[name][1], options)
        print(f"{name}, compile={kind}: {row.seconds_per_step:.3f} s a step, MFU {row.mfu:.1%}", flush=True)
        yield row


def loader(name: str, settings: TrainingSettings) -> dict[str, Any]:
    """The loader of one network's samples alone."""
    (height, width), batch = (FULL if settings.full_size else TINY)[name]
    workers = len(os.sched_getaffinity(0)) if settings.workers is None else settings.workers
    assert settings.data is not None
    row = loader_alone(
        name, settings.data, (8 * height, 8 * width), settings.batch or batch, FRAMES, workers, 2.0 * settings.steps
    )
    print(f"{name}: the loader alone gives {row['images_per_second']:.1f} samples/s", flush=True)
    return row


def strategy(name: str, kind: str, settings: TrainingSettings, output: Path) -> dict[str, Any]:
    """A short run of the trainer with one strategy."""
    arguments = [
        f"experiment={settings.experiment}/{name}",
        f"data.path={settings.data}",
        f"runtime.compile={settings.compile}",
        f"runtime.gradient_checkpointing={str(settings.gradient_checkpointing).lower()}",
        f"runtime.device={settings.device}",
    ]
    if settings.start is not None:
        arguments.append(f"start={settings.start}")
    if settings.batch is not None:
        arguments.append(f"batch_size={settings.batch}")
    if settings.workers is not None:
        arguments.append(f"data.workers={settings.workers}")
    devices = 1 if kind == "one" else settings.devices
    folder = output / "strategies" / f"{name}_{kind}"
    row = strategy_run(name, kind, devices, folder, arguments, settings.steps)
    print(f"{name}, {kind} on {devices}: {row.get('error') or row['seconds_per_step']}", flush=True)
    return row


def write(report: dict[str, Any], output: Path) -> None:
    """training.json, training.md and training.png of what is measured so far."""
    (output / "training.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (output / "training.md").write_text(tables(report) + "\n", encoding="utf-8")
    _plot(report, output / "training.png")


def tables(report: dict[str, Any]) -> str:
    """Markdown of a report."""
    settings, rate = report["settings"], report["matrix_tflops"]
    lines = []
    if rows := report.get("networks"):
        header = [
            "network",
            "compiled",
            "batch",
            "s/step",
            "images/s",
            "TFLOP/s",
            "MFU",
            "asked",
            "peak GiB",
            "compile s",
        ]
        cells = [
            [
                NETWORKS[row["network"]] if settings["full_size"] else row["network"],
                row["compile"],
                str(row["batch"]),
                number(row["seconds_per_step"]),
                number(row["images_per_second"], 1),
                number(row["tflops"], 1),
                f"{row['mfu']:.1%}",
                f"{ASKED[row['network']]:.0%}" if settings["full_size"] and rate else "–",
                number(row["peak_memory_gib"], 1),
                number(row["compile_seconds"], 0) if row["compile_seconds"] else "–",
            ]
            for row in rows
        ]
        lines += [markdown(header, cells), ""]
        lines.append(
            "Random latents and weights; bf16 autocast over float32 weights on a GPU, fused AdamW; gradient "
            f"checkpointing {'on' if settings['gradient_checkpointing'] else 'off'}. MFU: 3 x the forward pass's "
            "operations over the device's rate of matrix products"
            + (f", {rate:.0f} TFLOP/s (8192³, bf16, random data, measured in the same run)." if rate else ".")
        )
    if rows := report.get("loader"):
        eaten = {row["network"]: row["images_per_second"] for row in report.get("networks", ())}
        cells = [
            [
                row["network"],
                str(row["workers"]),
                str(row["batch"]),
                number(row["images_per_second"], 1),
                number(eaten.get(row["network"]), 1),
                number(row["images_per_second"] / eaten[row["network"]], 1) if row["network"] in eaten else "–",
            ]
            for row in rows
        ]
        lines += ["", markdown(["loader alone", "workers", "batch", "images/s", "network eats", "times"], cells)]
    if rows := report.get("strategies"):
        alone = {row["network"]: row.get("images_per_second") for row in rows if row["strategy"] == "one"}
        cells = []
        for row in rows:
            speed, one = row.get("images_per_second"), alone.get(row["network"])
            share = f"{speed / one / row['devices']:.1%}" if speed and one else "–"
            cells.append(
                [
                    f"{row['network']}, {row['strategy']}",
                    str(row["devices"]),
                    str(row.get("batch_size", "–")),
                    number(row.get("seconds_per_step")),
                    number(speed, 1),
                    share,
                    number(row.get("peak_memory_gib"), 1),
                    row.get("error", ""),
                ]
            )
        header = ["strategy", "devices", "batch each", "s/step", "images/s", "of ideal", "peak GiB", "fault"]
        lines += ["", markdown(header, cells)]
    device = report["machine"]
    lines += ["", f"{device['device_name']} ({device['device']}), torch {report['versions']['torch']}."]
    return "\n".join(lines)


def _plot(report: dict[str, Any], path: Path) -> None:
    rows = report.get("networks")
    try:
        import matplotlib as mpl
    except ImportError:
        return
    if not rows:
        return
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 0.6 + 0.6 * len(rows)))
    names = [f"{NETWORKS[row['network']]}\ncompile={row['compile']}" for row in rows]
    axis.barh(names, [100 * row["mfu"] for row in rows])
    if report["settings"]["full_size"]:
        asked = [100 * ASKED[row["network"]] for row in rows]
        axis.scatter(asked, names, color="k", marker="|", s=200, label="asked for")
        axis.legend(fontsize=7)
    axis.invert_yaxis()
    axis.set_xlabel("model FLOP utilisation, % of the measured matrix rate")
    axis.tick_params(labelsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
