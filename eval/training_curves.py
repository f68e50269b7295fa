"""Plot training runs: python eval/training_curves.py runs=FOLDER output=DIR

FOLDER holds runs as train.py writes them (NAME/log/metrics.csv, NAME/figures.jsonl). Writes curves.png, one
panel a run: the training loss, and beside it what was measured on held-out processes.
"""

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING
from support.arguments import parse, run

from paintsundo.errors import UserError


@dataclass
class CurveSettings:
    """runs, output: folders."""

    runs: str = MISSING
    output: str = MISSING


def read_losses(folder: Path) -> tuple[list[int], list[float]]:
    """Steps and losses of a run's metrics.csv, and of those of its interrupted parts."""
    losses: dict[int, float] = {}
    for file in sorted(folder.glob("metrics*.csv"), key=lambda file: file.name == "metrics.csv"):
        with file.open(newline="", encoding="utf-8") as stream:
            losses |= {int(row["step"]): float(row["loss"]) for row in csv.DictReader(stream) if row["loss"]}
    steps = sorted(losses)
    return steps, [losses[step] for step in steps]


def read_figures(file: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Name → steps and values of a figures.jsonl."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        record = json.loads(line)
        for name in set(record) - {"step"}:
            steps, values = found.setdefault(name, ([], []))
            steps.append(record["step"])
            values.append(record[name])
    return found


def main(arguments: Sequence[str]) -> None:
    settings = parse(CurveSettings, arguments, literal_keys=("runs", "output"))
    runs = sorted(p.parent.parent for p in Path(settings.runs).glob("*/log/metrics.csv"))
    if not runs:
        raise UserError(f"{settings.runs} holds no runs (NAME/log/metrics.csv)")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(runs), figsize=(4 * len(runs), 3.2), squeeze=False)
    for panel, folder in zip(panels[0], runs, strict=True):
        panel.plot(*read_losses(folder / "log"), color="tab:grey", linewidth=1)
        panel.set(title=folder.name.replace("_", " "), xlabel="step", ylabel="training loss", yscale="log")
        other = panel.twinx()
        for name, (steps, values) in sorted(read_figures(folder / "figures.jsonl").items()):
            other.plot(steps, values, marker="o", label=name.replace("_", " "))
        other.legend(fontsize=7, loc="center right")
    figure.tight_layout()
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "curves.png", dpi=110)
    print(f"{len(runs)} runs: {output / 'curves.png'}")


if __name__ == "__main__":
    sys.exit(run(main))
