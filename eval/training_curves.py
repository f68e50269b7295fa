"""Plot training runs: python eval/training_curves.py runs=FOLDER output=DIR

FOLDER holds runs as train.py writes them (NAME/log/metrics.csv, NAME/figures.jsonl), or is one. Writes curves.png, one
column a run: the training loss, and beside it what was measured on held-out processes; below, where there are any,
the held-out loss by quantile of the timesteps (q1 the least noisy), and images a second with the share of the
device's matrix rate.
"""

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING
from support.arguments import parse, run

from paintsundo.errors import UserError

Curve = tuple[list[int], list[float]]

QUANTILES = "held_out_loss"  # and held_out_loss_q1, …
IMAGES, UTILISATION = "throughput/images_per_second", "throughput/mfu"


@dataclass
class CurveSettings:
    """runs, output: folders."""

    runs: str = MISSING
    output: str = MISSING


def read_metric(folder: Path, name: str) -> Curve:
    """Steps and values of a column of a run's metrics.csv, and of those of its interrupted parts."""
    values: dict[int, float] = {}
    for file in sorted(folder.glob("metrics*.csv"), key=lambda file: file.name == "metrics.csv"):
        with file.open(newline="", encoding="utf-8") as stream:
            values |= {int(row["step"]): float(row[name]) for row in csv.DictReader(stream) if row.get(name)}
    steps = sorted(values)
    return steps, [values[step] for step in steps]


def read_losses(folder: Path) -> Curve:
    """Steps and training losses."""
    return read_metric(folder, "loss")


def read_figures(file: Path) -> dict[str, Curve]:
    """Name → steps and values of a figures.jsonl; values that were not finite (null) are left out."""
    found: dict[str, Curve] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        record = json.loads(line)
        for name in set(record) - {"step"}:
            if record[name] is not None:
                steps, values = found.setdefault(name, ([], []))
                steps.append(record["step"])
                values.append(record[name])
    return found


def find_runs(folder: Path) -> list[Path]:
    """The runs in a folder, or the folder itself."""
    if (folder / "log" / "metrics.csv").is_file():
        return [folder]
    return sorted(p.parent.parent for p in folder.glob("*/log/metrics.csv"))


def plot_losses(panel: Any, folder: Path, figures: dict[str, Curve]) -> None:
    """The training loss, and figures in their own units beside it."""
    panel.plot(*read_losses(folder / "log"), color="tab:grey", linewidth=1)
    panel.set(title=folder.name.replace("_", " "), xlabel="step", ylabel="training loss", yscale="log")
    others = {name: curve for name, curve in sorted(figures.items()) if not name.startswith(QUANTILES)}
    if QUANTILES in figures:
        panel.plot(*figures[QUANTILES], marker="o", color="black", label="held out, averaged weights")
        panel.legend(fontsize=7, loc="upper right")
    if others:
        beside = panel.twinx()
        for name, curve in others.items():
            beside.plot(*curve, marker="o", label=name.replace("_", " "))
        beside.legend(fontsize=7, loc="center right")


def plot_quantiles(panel: Any, folder: Path, figures: dict[str, Curve]) -> None:
    """The held-out loss in each quantile of the timesteps."""
    for name in sorted(name for name in figures if name.startswith(QUANTILES + "_q")):
        panel.plot(*figures[name], marker="o", markersize=3, label=name.removeprefix(QUANTILES + "_"))
    panel.set(xlabel="step", ylabel="held-out loss by timestep", yscale="log")
    if panel.lines:
        panel.legend(fontsize=7, title="quantile", title_fontsize=7)


def plot_speed(panel: Any, folder: Path, figures: dict[str, Curve]) -> None:
    """Images a second, and utilisation."""
    panel.plot(*read_metric(folder / "log", IMAGES), color="tab:blue")
    panel.set(xlabel="step", ylabel="images/s")
    panel.set_ylim(bottom=0)
    steps, shares = read_metric(folder / "log", UTILISATION)
    if steps:
        beside = panel.twinx()
        beside.plot(steps, [100 * share for share in shares], color="tab:orange", linewidth=1)
        beside.set(ylabel="MFU %", ylim=(0, None))


def main(arguments: Sequence[str]) -> None:
    settings = parse(CurveSettings, arguments, literal_keys=("runs", "output"))
    runs = find_runs(Path(settings.runs))
    if not runs:
        raise UserError(f"{settings.runs} holds no runs (NAME/log/metrics.csv)")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figures = [read_figures(folder / "figures.jsonl") for folder in runs]
    rows = [plot_losses]
    if any(name.startswith(QUANTILES + "_q") for found in figures for name in found):
        rows.append(plot_quantiles)
    if any(read_metric(folder / "log", IMAGES)[0] for folder in runs):
        rows.append(plot_speed)
    size = (4 * len(runs), 3.2 * len(rows))
    figure, panels = pyplot.subplots(len(rows), len(runs), figsize=size, squeeze=False)
    for plot, row in zip(rows, panels, strict=True):
        for panel, folder, found in zip(row, runs, figures, strict=True):
            plot(panel, folder, found)
    figure.tight_layout()
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "curves.png", dpi=110)
    print(f"{len(runs)} runs: {output / 'curves.png'}")


if __name__ == "__main__":
    sys.exit(run(main))
