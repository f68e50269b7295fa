"""Where figures go: CSV, TensorBoard and wandb, each going on where an interrupted run stopped."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from paintsundo.errors import UserError
from paintsundo.pipelines.writers import whole, write_text

WANDB_FILE = "wandb_run.json"
_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb"}


def check_loggers(options: Mapping[str, Any]) -> None:
    """Refuse loggers whose packages are missing.

    Raises:
        UserError: names the command that installs the package.
    """
    for name, package in _PACKAGES.items():
        if options.get(name) and find_spec(package) is None:
            raise UserError(f"logger.{name}=true needs a package that is not installed: pip install {package}")


def build_loggers(
    options: Mapping[str, Any], folder: Path, step: int = 0, config: Mapping[str, Any] | None = None
) -> list[Logger]:
    """The loggers of a run.

    Args:
        options: `csv`, `tensorboard`, `wandb` (bool), `project`, `name` (the folder's name without), `offline`.
        folder: the run's folder: `log/metrics.csv`, `tensorboard/`, `wandb/` and `wandb_run.json` are written there.
        step: optimiser steps done before; what was logged of later ones goes.
        config: settings of the run, for wandb.

    Raises:
        UserError: a package is missing.
    """
    check_loggers(options)
    loggers: list[Logger] = []
    if options.get("csv", True):
        loggers.append(RunCSVLogger(folder, step))
    if options.get("tensorboard"):
        purge = {"purge_step": step} if step else {}
        loggers.append(TensorBoardLogger(folder, "tensorboard", "", default_hp_metric=False, **purge))
    if options.get("wandb"):
        loggers.append(
            RunWandbLogger(
                folder,
                project=options.get("project") or "paintsundo",
                name=options.get("name") or folder.resolve().name,
                offline=bool(options.get("offline", True)),
                config=config,
            )
        )
    return loggers


class MetricsFile:
    """A CSV table with a row a step; columns may come later. What was there is kept.

    Args:
        file: the table.
        step: rows of this and later steps go: they are done again.
    """

    def __init__(self, file: Path, step: int) -> None:
        self.file = file
        self.columns: list[str] = []
        self.last: dict[str, Any] = {}  # the last row of the file
        self.last_at = 0  # where it begins
        self.pending: list[dict[str, Any]] = []
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_file():
            self._rewrite([row for row in self._rows() if int(row["step"]) < step])

    def log_metrics(self, metrics: Mapping[str, Any], step: int) -> None:
        """Add values to the row of a step."""
        values = {name: v.item() if isinstance(v, torch.Tensor) else v for name, v in metrics.items()}
        if self.pending and self.pending[-1]["step"] == step:
            self.pending[-1] |= values
        else:
            self.pending.append({**values, "step": step})

    def save(self) -> None:
        """Write what is new."""
        if not self.pending:
            return
        rows, self.pending = self.pending, []
        if not set().union(*rows) <= set(self.columns):
            self._rewrite([*self._rows(), *rows], set().union(*rows))
            return
        with self.file.open("r+", newline="", encoding="utf-8") as stream:
            if self.last and rows[0]["step"] == int(self.last["step"]):
                rows[0] = self.last | rows[0]
                stream.seek(self.last_at)
                stream.truncate()
            else:
                stream.seek(0, os.SEEK_END)
            self._append(stream, rows)

    def _rows(self) -> list[dict[str, Any]]:
        if not self.file.is_file():
            return []
        with self.file.open(newline="", encoding="utf-8") as stream:
            table = csv.DictReader(stream)
            # a row cut off in its middle lacks its last cells
            rows = [row for row in table if None not in row.values() and (row.get("step") or "").isdigit()]
            self.columns = list(table.fieldnames or [])
        return rows

    def _append(self, stream: Any, rows: list[dict[str, Any]]) -> None:
        writer = csv.DictWriter(stream, self.columns)
        for row in rows:
            self.last, self.last_at = row, stream.tell()
            writer.writerow(row)

    def _rewrite(self, rows: list[dict[str, Any]], columns: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        self.columns = sorted({*self.columns, *columns, "step"})
        merged: list[dict[str, Any]] = []
        for row in rows:
            if merged and int(merged[-1]["step"]) == int(row["step"]):
                merged[-1] |= row
            else:
                merged.append(dict(row))
        self.last = {}
        with whole(self.file) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            csv.DictWriter(stream, self.columns).writeheader()
            self._append(stream, merged)


class RunCSVLogger(CSVLogger):
    """`DIR/log/metrics.csv`: one table for the whole run, interruptions or not.

    Args:
        folder: the run's folder.
        step: steps done before; rows of later ones go.
    """

    _experiment: Any

    def __init__(self, folder: Path, step: int = 0) -> None:
        super().__init__(folder, name="log", version="", flush_logs_every_n_steps=1)
        self.folder, self.step = folder, step

    @property
    @rank_zero_experiment
    def experiment(self) -> MetricsFile:  # type: ignore[override]
        """The table."""
        if self._experiment is None:
            self._experiment = MetricsFile(self.folder / "log" / "metrics.csv", self.step)
        return self._experiment

    @rank_zero_only
    def log_hyperparams(self, params: Any = None) -> None:
        """The run's folder has its configuration already."""


class RunWandbLogger(WandbLogger):
    """wandb, whose run id stays in `DIR/wandb_run.json`, so that a run that goes on is the same one there.

    Offline, each process leaves a folder of its own under `DIR/wandb/`, all with that id; `wandb sync --append` puts
    them together.
    """

    _experiment: Any

    def __init__(self, folder: Path, project: str, name: str, offline: bool, config: Mapping[str, Any] | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        identity = read_identity(folder) or {"id": os.urandom(4).hex(), "project": project}
        self.folder, self.identity = folder, identity
        super().__init__(
            name=name,
            save_dir=folder,
            id=identity["id"],
            project=identity["project"],
            offline=offline,
            resume="allow",
            config=dict(config) if config else None,
            settings={"quiet": True},
        )
        self._wandb_init.pop("anonymous", None)  # wandb warns that it has no effect

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """wandb's run; its id is written down when it begins."""
        if self._experiment is None and read_identity(self.folder) != self.identity:
            write_text(self.folder / WANDB_FILE, json.dumps(self.identity) + "\n")
        return super().experiment

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End wandb's run: another training in the same process is another one. Offline, all is on the disk then."""
        super().finalize(status)
        if self._experiment is not None:
            self._experiment.finish(exit_code=0 if status == "success" else 1)
            self._experiment = None
            import wandb

            if self._offline and wandb.run is None:
                wandb.teardown()  # an offline run's `finish` returns before wandb's service has written its file


def read_identity(folder: Path) -> dict[str, str] | None:
    """What `wandb_run.json` says, if it is there and whole."""
    try:
        found = json.loads((folder / WANDB_FILE).read_text(encoding="utf-8"))
        return {"id": str(found["id"]), "project": str(found["project"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None
