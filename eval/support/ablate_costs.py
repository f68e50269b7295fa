"""What is left of a grid and what it will cost, told before it is run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from support.ablate_grid import Cell, Job, Training
from support.tables import markdown, number


class Costs:
    """Estimates in seconds: from configs/ablate.yaml, or from finished cells and trainings of the same output.

    Args:
        cost: `start`, `training_step` by stage, `film`, `network_pass`.
        films: how many films a cell has.
        output: the folder of finished ones.
    """

    def __init__(self, cost: dict[str, Any], films: int, output: Path) -> None:
        self.cost, self.films = cost, films
        self.step = dict(cost["training_step"])
        for stage in self.step:
            found = [_step(record) for record in _records(output / "trainings") if record["settings"]["stage"] == stage]
            if found:
                self.step[stage] = mean(found)
        known = [(r["wall_seconds"], self._films(_infer(r), len(r["subjects"]))) for r in _records(output / "cells")]
        self.scale = sum(w for w, _ in known) / max(1e-9, sum(e for _, e in known)) if known else 1.0

    def training(self, training: Training) -> float:
        """Of a training."""
        steps = int(_last(training.overrides, "max_steps", 20000))
        minutes = float(_last(training.overrides, "max_minutes", 1e9) or 1e9)
        return float(min(steps * self.step[training.stage], 60 * minutes))

    def cell(self, cell: Cell) -> float:
        """Of its films and their figures."""
        return self.scale * self._films(cell.films.infer, self.films)

    def job(self, job: Job) -> float:
        """Of a whole process."""
        trained = 0.0 if job.training is None else self.training(job.training)
        return float(self.cost["start"]) + trained + sum(map(self.cell, job.cells))

    def _films(self, infer: Sequence[str], films: int) -> float:
        passes = sum(
            float(_last(infer, f"{stage}.num_inference_steps", default))
            for stage, default in (("keyframes", 20), ("video", 8))
        )
        return films * (float(self.cost["film"]) + passes * float(self.cost["network_pass"]))


def plan_text(jobs: Sequence[Job], costs: Costs, slots: int) -> str:
    """Markdown: the jobs that are left, and the time all of them take on so many places at once."""
    rows = [
        [job.name, str(len(job.cells)), number(0.0 if job.training is None else costs.training(job.training), 0),
         number(sum(map(costs.cell, job.cells)), 0), number(costs.job(job), 0)]
        for job in jobs
    ]  # fmt: skip
    total = sum(map(costs.job, jobs))
    wall = max([total / slots, *map(costs.job, jobs)]) if jobs else 0.0
    cells = sum(len(job.cells) for job in jobs)
    table = markdown(["job", "cells", "training s", "films s", "all s"], rows) if rows else "nothing is left to do"
    times = f"about {total / 60:.0f} minutes of jobs, {wall / 60:.0f} on {slots} at once"
    return f"{table}\n\n{len(jobs)} jobs, {cells} cells: {times}"


def _step(record: dict[str, Any]) -> float:
    return float(record["seconds"]) / max(1, int(record["steps"]))


def _infer(record: dict[str, Any]) -> list[str]:
    return list(record["settings"]["films"]["infer"])


def _last(overrides: Sequence[str], name: str, default: Any) -> Any:
    values = [o.partition("=")[2] for o in overrides if o.partition("=")[0].lstrip("+") == name]
    return values[-1] if values and values[-1] != "null" else default


def _records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]
