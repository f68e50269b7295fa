"""Figures of a run by step: a line each in `figures.jsonl`, and the loggers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning

from paintsundo.pipelines.writers import write_text

FILE = "figures.jsonl"


def read_figures(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's `figures.jsonl`, `{"step": n, name: value, …}` each; a line cut off in its middle is left
    out."""
    file, lines = folder / FILE, []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines


def write_figures(folder: Path, step: int, figures: Mapping[str, float]) -> None:
    """Add figures to the line of `step`. Lines of later steps are of a part of the run that was interrupted and is
    now done again: they go. Values that are not finite become null."""
    lines = [line for line in read_figures(folder) if line["step"] <= step]
    if not lines or lines[-1]["step"] != step:
        lines.append({"step": step})
    lines[-1] |= {name: value if math.isfinite(value) else None for name, value in figures.items()}
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / FILE, "".join(json.dumps(line) + "\n" for line in lines))


def logged_step(trainer: lightning.Trainer) -> int:
    """The number under which Lightning logs the step that was just taken: steps count from 0 there."""
    return max(0, trainer.global_step - 1)


def log_figures(trainer: lightning.Trainer, figures: Mapping[str, float]) -> None:
    """Hand figures to all loggers, at the step just taken."""
    for logger in trainer.loggers:
        logger.log_metrics(dict(figures), step=logged_step(trainer))
