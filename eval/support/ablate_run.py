"""Running a grid as a multirun of Hydra: any of its launchers starts the jobs, on this machine or on a cluster."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from paintsundo.errors import UserError
from paintsundo.settings import config_directory, one_line
from paintsundo.training.sweep import quoted
from support.ablate_grid import Job
from support.ablate_job import Place, identity, run_job
from support.ablate_options import Ablation, device_names, plain_grid
from support.json_files import write_json

_QUIET = (
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
    "hydra.output_subdir=null",
    "hydra.sweep.subdir=.",
)


@dataclass(frozen=True)
class JobTask:
    """What a launcher calls, here or on another machine: the job whose name is `config.job`."""

    place: Place
    jobs: tuple[Job, ...]

    def __call__(self, config: DictConfig) -> int:
        """Returns 0 if the job is done; otherwise its reason stands in failed/."""
        job = next(job for job in self.jobs if job.name == config.job)
        failed = self.place.output / "failed" / f"{job.name}.txt"
        # What the compiler makes is shared, so that the second job of a kind is soon compiled.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str((self.place.work / "compiled").resolve()))
        print(f"{job.name}: begins", flush=True)
        try:
            with _no_hydra():
                run_job(self.place, job)
        except KeyboardInterrupt:
            print(f"{job.name}: interrupted", flush=True)
            return 130
        except Exception as error:  # whatever it is, the other jobs go on
            failed.parent.mkdir(parents=True, exist_ok=True)
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            failed.write_text(f"{kind}{one_line(error)}\n", encoding="utf-8")
            if not isinstance(error, UserError):
                traceback.print_exc()
            print(f"{job.name}: {kind}{one_line(error)}", file=sys.stderr, flush=True)
            return 1
        failed.unlink(missing_ok=True)
        print(f"{job.name}: done", flush=True)
        return 0


@contextmanager
def _no_hydra() -> Iterator[None]:
    """As if no multirun were on its way: launchers may call a job inside of one, and it composes settings itself."""
    world = GlobalHydra.instance()
    before, world.hydra = world.hydra, None
    try:
        yield
    finally:
        world.hydra = before


def place_of(ablation: Ablation) -> Place:
    """Where the jobs of a command find and leave things."""
    options = ablation.options
    assert ablation.grid is not None
    assert options.data.test is not None
    folders = [folder for folder in (options.data.path, *options.data.also) if folder is not None]
    devices = device_names(options)
    spare = (os.cpu_count() or 1) // (len(devices) * options.per_device) - 1
    workers = options.workers if options.workers is not None else 0 if devices == ["cpu"] else min(4, max(0, spare))
    return Place(
        ablation.folder,
        options.models,
        tuple(folders),
        options.data.test,
        options.data.limit,
        options.data.split,
        options.keep_weights,
        options.strips,
        frozenset(ablation.grid.with_baselines),
        options.batch,
        workers,
    )


def begin(ablation: Ablation, place: Place) -> None:
    """Write what the page needs to know of the grid; refuse an output of other models or data.

    Raises UserError.
    """
    assert ablation.grid is not None
    file, now = place.output / "identity.json", identity(place)
    if file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))
        for name, title in (("models", "another pair"), ("test", "another test set"), ("data", "other training data")):
            if before[name] != now[name] and before[name] and now[name]:
                raise UserError(f"{place.output} holds cells of {title}: choose another output")
        now["data"] = now["data"] or before["data"]
    place.output.mkdir(parents=True, exist_ok=True)
    write_json(file, now)
    for name in ("cells", "trainings", "grids"):
        (place.output / name).mkdir(exist_ok=True)
    record = place.output / "grids" / f"{ablation.grid.name}.json"
    if not ablation.options.rows or not record.is_file():  # a few rows alone leave the grid as it is
        write_json(record, plain_grid(ablation))


def finished_cells(output: Path) -> set[str]:
    """Names of the cells that have figures."""
    return {file.stem for file in (output / "cells").glob("*.json")}


def run_jobs(ablation: Ablation, place: Place, jobs: Sequence[Job]) -> None:
    """Hand the jobs to Hydra's launcher and wait.

    Raises UserError: Hydra refuses an option, or the launcher is not installed.
    """
    from hydra_plugins import _cards_launcher as cards_launcher

    cards_launcher.register()
    told = [*_QUIET, f"hydra.sweep.dir={quoted(str(place.work / 'hydra'))}", *_cards(ablation, place), *ablation.hydra]
    names = ",".join(job.name for job in jobs)
    # Clusters start python anew, which then must find the modules of the jobs.
    paths = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    try:
        with initialize_config_dir(version_base=None, config_dir=str(config_directory()), job_name="ablate"):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            task = JobTask(place, tuple(jobs))
            hydra.multirun("ablate", task, [*told, f"+job={names}"], with_log_configuration=False)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(one_line(error)) from error


def _cards(ablation: Ablation, place: Place) -> list[str]:
    """The launcher of this machine, unless another was asked for."""
    if any(argument.startswith("hydra/launcher=") for argument in ablation.hydra):
        return []
    options = ablation.options
    devices = device_names(options)
    threads = max(1, (os.cpu_count() or 1) // (len(devices) * options.per_device))
    return [
        "hydra/launcher=cards",
        f"hydra.launcher.devices=[{','.join(repr(device) for device in devices)}]",
        f"hydra.launcher.per_device={options.per_device}",
        f"hydra.launcher.seconds={'null' if options.minutes is None else options.minutes * 60}",
        f"hydra.launcher.logs={quoted(str(place.output / 'logs'))}",
        f"+hydra.launcher.environment.OMP_NUM_THREADS='{os.environ.get('OMP_NUM_THREADS', threads)}'",
    ]


@contextmanager
def only_one(output: Path) -> Iterator[None]:
    """Keep a second command out of the same folder.

    Raises UserError: another one is at work there.
    """
    output.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(output / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise UserError(f"another ablation is at work in {output}") from error


def failures(output: Path) -> dict[str, str]:
    """Job → why it failed, of the jobs that did."""
    files: Any = sorted((output / "failed").glob("*.txt"))
    return {file.stem: file.read_text(encoding="utf-8").strip() for file in files}
