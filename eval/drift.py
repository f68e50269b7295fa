"""How far fast films are from exact ones: python eval/drift.py pictures=PICTURE|FOLDER|PATTERN output=DIR

Makes the film of each picture exactly (fast=off), once more with other seeds, for scale, and with each setting of
configs/fast, all from the same noise. Writes to DIR drift.json (every figure), drift.md (the table that is also
printed), drift.png (PSNR to the exact film against time) and strips.png (exact above fast).

models=bundled     or official, or a folder with single_frame/ and multi_frame/
settings=[every_3,balanced+fast.video.predict_every=5]    of configs/fast, changed by infer.py's options; all by default
                   off+runtime.weights=float8 is the exact film of weights in eight bits
overrides=[video.num_inference_steps=50,…]    infer.py's options, for all films
threads=N          of the processor
strip_frames=12    strips=4    frames of a film, and films of each picture, in strips.png

Time is that of both samplers, without reading models, encoding and decoding: on a processor its own work, so that
others at work on the same machine do not count, on a GPU the clock's.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import MISSING
from support.arguments import parse, run
from support.drift_run import EXACT, OTHER_SEED, DriftMaker, Previews, fast_settings, measure_drift
from support.json_files import write_json
from support.model_identity import hashes_of
from support.tables import markdown, number

from paintsundo.errors import UserError
from paintsundo.metrics.films import at_times
from paintsundo.pipelines.record import machine, versions


@dataclass
class DriftSettings:
    """Options of `drift.py`, explained at the top of this file."""

    pictures: str = MISSING
    output: str = MISSING
    models: str = "bundled"
    settings: list[str] | None = None
    overrides: list[str] = field(default_factory=list)
    threads: int | None = None
    strip_frames: int = 12
    strips: int = 4


def main(arguments: Sequence[str]) -> None:
    settings = parse(DriftSettings, arguments, literal_keys=("pictures", "output", "models"))
    if not 2 <= settings.strip_frames <= 100:
        raise UserError(f"strip_frames={settings.strip_frames}: from 2 to 100")
    if settings.threads is not None:
        if settings.threads < 1:
            raise UserError(f"threads={settings.threads}: at least 1")
        torch.set_num_threads(settings.threads)
    maker = DriftMaker(settings.models, settings.overrides)
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    device = maker.pipe.placement.device
    surroundings = {"machine": machine(device), "versions": versions(), "threads": torch.get_num_threads()}
    surroundings["weights"] = hashes_of(settings.models)
    began = time.time()

    def keep(figures: Mapping[str, Any]) -> None:
        write_json(output / "drift.json", {**figures, **surroundings, "took_seconds": round(time.time() - began)})

    wanted = fast_settings() if settings.settings is None else settings.settings
    report, previews = measure_drift(maker, settings.pictures, wanted, keep)
    table = drift_table(report)
    (output / "drift.md").write_text(table + "\n", encoding="utf-8")
    draw_curve(report, output / "drift.png")
    draw_strips(report, previews, settings.strips, settings.strip_frames, output)
    print(table)
    print(f"\nwritten to {output}")


def drift_table(report: Mapping[str, Any]) -> str:
    """Markdown: a row a setting, the most exact first."""
    rows = []
    for name in by_drift(report):
        found = report["settings"][name]["summary"]
        keyframes, frames, measures = found["keyframes_db"], found["frames_db"], found["measures"]
        same = name == EXACT
        rows.append(
            [
                {EXACT: "exact"}.get(name, name),
                *(number(found["time"][part], 2) for part in ("keyframes", "clips", "both")),
                *(["–"] * 2 if same else [number(keyframes["mean"], 1), number(keyframes["least"], 1)]),
                *(["–"] * 4 if same else [number(frames[key], 1) for key in ("mean", "low", "least")]),
                *([] if same else [f"{100 * frames['good']:.0f} %"]),
                *(number(measures[key], 3) for key in ("monotonicity", "changed_share", "abruptness", "flicker")),
            ]
        )
    header = ["setting", "time: keyframes", "clips", "both", "keyframes: mean dB", "least", "film: mean dB", "5 %"]
    header += ["least", "≥ 30 dB", "monotonicity", "changed share", "abruptness", "flicker"]
    device = report.get("machine", {}).get("device_name")
    lines = [
        markdown(header, rows),
        "",
        f"{report['models']} models, {len(report['pictures'])} pictures ({', '.join(report['pictures'])})"
        + (f", {' '.join(report['overrides'])}" if report["overrides"] else "")
        + (f"; {device}" if device else "")
        + ". Time: of both samplers, as a share of the exact film's. PSNR of each keyframe and of each frame of the "
        "film to the exact one: mean, 5 % quantile and least, over all pictures. The measures of a drawing are those "
        "of eval/quality.py.",
    ]
    return "\n".join(lines)


def by_drift(report: Mapping[str, Any]) -> list[str]:
    """Settings, the most exact first."""
    rows = report["settings"]
    return sorted(rows, key=lambda name: -rows[name]["summary"]["frames_db"]["mean"])


def draw_curve(report: Mapping[str, Any], path: Path) -> None:
    """PSNR against time: a dot a setting, the least frame below it."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4.5))
    for name, row in report["settings"].items():
        if name in (EXACT, OTHER_SEED):
            continue
        found = row["summary"]
        frames, share = found["frames_db"], found["time"]["both"]
        axis.plot([share, share], [frames["low"], frames["mean"]], color="grey", lw=0.8)
        axis.scatter([share], [frames["mean"]], s=24)
        axis.annotate(name, (share, frames["mean"]), fontsize=7, xytext=(3, 3), textcoords="offset points")
    seed = report["settings"][OTHER_SEED]["summary"]["frames_db"]["mean"]
    axis.axhline(seed, color="k", ls=":", lw=0.8)
    axis.annotate("another seed", (0, seed), fontsize=7, xytext=(3, 3), textcoords="offset points")
    axis.axhline(30, color="g", ls="--", lw=0.8)
    axis.set(xlim=(0, 1.1), xlabel="time of both samplers, exact film = 1")
    axis.set_ylabel("PSNR to the exact film, dB:\nmean, down to the 5 % quantile")
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_strips(report: Mapping[str, Any], previews: Previews, strips: int, frames: int, folder: Path) -> None:
    """strips.png: of each picture the exact film, then settings spread over the curve from good to bad."""
    from support.plots import write_strips

    fast = [name for name in by_drift(report) if name not in (EXACT, OTHER_SEED)]
    places = np.unique(np.linspace(0, len(fast) - 1, min(strips, len(fast))).round().astype(int)) if fast else []
    shown = [EXACT, *(fast[place] for place in places)]
    rows = {
        f"{picture}: {'exact' if name == EXACT else name}": (at_times(films[name], min(frames, len(films[name]))), None)
        for picture, films in previews.items()
        for name in shown
    }
    write_strips(rows, folder)


if __name__ == "__main__":
    raise SystemExit(run(main))
