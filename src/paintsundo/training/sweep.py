"""Several runs of one command, compared: `train.py -m option=a,b …` and `train.py sweep=NAME …`.

hydra's own multirun does it, so that its launchers (Slurm by submitit) and sweepers (Optuna) work. Each run has a
folder of its own in `output`; the same command again keeps those that are done and goes on with the others.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from paintsundo.errors import UserError
from paintsundo.settings import config_directory, escape, one_line, split_literals
from paintsundo.training.configuration import (
    GROUPS,
    LITERAL,
    configure,
    first_value,
    settle,
    with_model_options,
)
from paintsundo.training.launch import is_launched
from paintsundo.training.options import TrainOptions, check, read
from paintsundo.training.requirements import missing

_FLAGS = ("-m", "--multirun")
_LONGEST_NAME = 120
# Nothing of hydra's own is written but `multirun.yaml`, and nothing printed.
_QUIET = (
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
    "hydra.output_subdir=null",
    "hydra.sweep.subdir=.",
)


def is_sweep(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for several runs."""
    return any(a in _FLAGS or (a.startswith("sweep=") and a != "sweep=null") for a in arguments)


def run_sweep(arguments: Sequence[str]) -> int:
    """Run all jobs of a sweep and print what they came to, best first; returns 0.

    Raises:
        UserError: an option is unknown or impossible, or a job could not run; the other jobs have then run.
    """
    try:
        return _run_sweep([argument for argument in arguments if argument not in _FLAGS])
    except UserError as error:
        plugin = re.search(r"hydra/(sweeper|launcher)", str(error))
        advice = "; pip install 'paintsundo[sweep]' brings Optuna and Slurm" if plugin else ""
        raise UserError(f"{error}{advice}") from error


def _run_sweep(arguments: Sequence[str]) -> int:
    literals, overrides = split_literals(arguments, LITERAL)
    if not literals.get("output"):
        raise UserError("missing: output=DIR, the folder of all runs of the sweep")
    output = Path(str(literals.pop("output")))
    typed = [a for a in arguments if a.partition("=")[0].strip() in literals]
    overrides = with_model_options(
        _last_of_each(overrides), [n.removeprefix("model.") for n in literals if n.startswith("model.")]
    )
    first = _first_job(typed, overrides, output)
    through_hydra, values = _divide(overrides)
    several = [override for override in overrides if first_value(override) != override]
    shared = [o for o in overrides if o not in several and not o.startswith(("hydra.", "hydra/", "sweep="))]
    job = SweepJob(
        str(output), literals, values, [*typed, *shared], frozenset(map(_key, set(overrides) - set(several)))
    )
    try:
        with initialize_config_dir(version_base=None, config_dir=str(config_directory()), job_name="train"):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            directed = [*_QUIET, f"hydra.sweep.dir={quoted(str(output))}", *through_hydra]
            hydra.multirun("train", job, directed, with_log_configuration=False)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_shortened(one_line(error))) from error
    if not first.dry_run:
        print(results_text(output), flush=True)
    return 0


@dataclass(frozen=True)
class SweepJob:
    """One run of a sweep, as hydra's launchers call it, also on other machines.

    Attributes:
        output: the sweep's folder.
        literals: values taken as they stand, by option.
        values: other options that all jobs share.
        arguments: what all jobs share, as typed.
        shared: names of what hydra was told for all jobs.
    """

    output: str
    literals: Mapping[str, str | None]
    values: Mapping[str, Any]
    arguments: Sequence[str]
    shared: frozenset[str]

    def __call__(self, config: DictConfig) -> float | None:
        """Train as configured, or tell what would be; gives the loss on held-out data, None where none is known."""
        hydra = HydraConfig.get()
        own = [str(o) for o in hydra.overrides.task if _key(o) not in self.shared]
        name = job_name(int(hydra.job.num), own)
        folder = Path(self.output) / name
        config = self.completed(config, folder)
        options = read(config)
        check(options)
        if options.dry_run:
            from paintsundo.training.dry_run import describe

            print(f"{name}\n\n{describe(config)}\n", flush=True)
            return 0.0
        if lines := missing(options):
            raise UserError(f"{name}: missing: " + "; ".join(lines))
        if (folder / "final").exists() and (folder / "summary.json").is_file():
            print(f"{name}: done already", flush=True)
            return held_out_loss(folder)
        print(f"{name}: begins", flush=True)
        if options.trainer.strategy != "one" and not is_launched():
            self._run_apart(own, folder)
        else:
            _run_here(config)
        loss = held_out_loss(folder)
        if loss is None and "optuna" in str(hydra.sweeper._target_):
            raise UserError(f"{name}: no loss on held-out data to compare: set data.held_out and held_out_every")
        return loss

    def completed(self, config: DictConfig, folder: Path) -> DictConfig:
        """The job's configuration: what hydra composed, then what all jobs share, then its own folder."""
        with open_dict(config):
            for name, value in self.values.items():
                OmegaConf.update(config, name, value, force_add=True)
            for name, literal in {**self.literals, "output": str(folder)}.items():
                OmegaConf.update(config, name, escape(literal), force_add=True)
        return settle(config)

    def _run_apart(self, own: Sequence[str], folder: Path) -> None:
        """In a process of its own, which may start others, one for each device."""
        command = [sys.executable, "-m", "paintsundo.training.command", *self.arguments, *own, f"output={folder}"]
        code = subprocess.run(command, check=False).returncode
        if code in (130, -2):
            raise KeyboardInterrupt
        if code:
            raise UserError(f"{folder.name}: training ended with exit code {code}; its own message is above")


def job_name(number: int, overrides: Sequence[str]) -> str:
    """Folder of a job: its number and what it alone was told, safe for every file system."""
    parts = []
    for override in overrides:
        key, _, value = override.partition("=")
        parts.append(f"{key.lstrip('+~').partition('@')[0].rpartition('.')[2]}={value}")
    name = "-".join([str(number), re.sub(r"[^\w.=,+-]+", "_", ",".join(parts))]).rstrip("-._")
    if len(name) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name


def held_out_loss(folder: Path) -> float | None:
    """The last loss on held-out data of a finished run, None where it measured none."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    loss = summary.get("held_out_loss")
    return None if loss is None else float(loss)


def results_text(output: Path) -> str:
    """The finished runs in a sweep's folder with their losses, best first."""
    found = [(held_out_loss(file.parent), file.parent.name) for file in output.glob("*/summary.json")]
    found.sort(key=lambda row: (row[0] is None, row[0], row[1]))
    lines = [f"{'-' if loss is None else format(loss, '.6g'):>14}  {name}" for loss, name in found]
    return "\n".join([f"{'held-out loss':>14}  run", *lines])


def quoted(value: str) -> str:
    """Text as hydra's grammar and OmegaConf give it back unchanged."""
    plain = escape(value) or ""
    # In quotes, backslashes count only before a quote.
    return "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + (r"\'" if m[2] else ""), plain) + "'"


def _first_job(typed: Sequence[str], overrides: Sequence[str], output: Path) -> TrainOptions:
    """The options of the first job, checked: what is wrong with it is wrong with all."""
    single = [first_value(o) for o in overrides if not o.startswith(("hydra.", "hydra/"))]
    options = read(configure([*typed, *single, f"output={output}"]))
    check(options)
    lines = missing(options)
    if lines and not options.dry_run:
        raise UserError("missing: " + "; ".join(lines))
    return options


def _shortened(message: str) -> str:
    """hydra's message without the places where it has looked."""
    message = re.sub(r"^In '[^']*': | Config search path:.*$", "", message)
    return message.replace(" Available options in ", "; there are, in ")


def _last_of_each(overrides: Sequence[str]) -> list[str]:
    """Overrides less those that a later one of the same option makes void."""
    last = {_key(override).lstrip("+"): override for override in overrides}
    return [override for override in overrides if last[_key(override).lstrip("+")] is override]


def _key(override: str) -> str:
    return override.partition("=")[0].strip()


def _run_here(config: DictConfig) -> None:
    import torch

    from paintsundo.training.command import train_config

    try:
        train_config(config)
    finally:
        # Compiled code of one job is in the way of the next, of other sizes perhaps.
        torch.compiler.reset()


def _divide(overrides: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """What hydra must compose, and plain values that every job has, by option.

    Sweepers write values anew as text, which not every value survives: a null becomes the word None.
    """
    parser = OverridesParser.create()
    through_hydra, values = [], {}
    for override in overrides:
        parsed = parser.parse_override(override)
        group = parsed.package is not None or _key(override) in GROUPS
        plain = override.lstrip("+").partition("=")[0]
        if group or plain.startswith("hydra") or parsed.is_delete() or parsed.is_sweep_override() or "/" in plain:
            through_hydra.append(override)
        else:
            values[plain] = parsed.value()
    return through_hydra, values
