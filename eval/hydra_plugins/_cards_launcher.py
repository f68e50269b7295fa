"""A launcher of Hydra for one machine: every job a process of its own, so many at once on each of its cards.

`hydra/launcher=cards`, the default of eval/ablate.py. Hydra takes launchers from the namespace `hydra_plugins` only,
and loads what it finds there in a way of its own, unless the name begins with "_".
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

GRACE = 20.0
"""Seconds that jobs have, once interrupted, to write what lets them go on."""
_START = threading.Lock()


@dataclass
class CardsConf:
    """Options of the launcher.

    Attributes:
        devices: GPU numbers as CUDA_VISIBLE_DEVICES has them, or "cpu".
        per_device: jobs at once on each.
        seconds: after so long no job is begun, and those that run are interrupted; None: no limit.
        logs: folder of what jobs print, JOB.log by the option `job`, else by number; None: they print here.
        environment: variables of the jobs.
    """

    _target_: str = "hydra_plugins._cards_launcher.CardsLauncher"
    devices: list[str] = field(default_factory=lambda: ["cpu"])
    per_device: int = 1
    seconds: float | None = None
    logs: str | None = None
    environment: dict[str, str] = field(default_factory=dict)


class CardsLauncher(Launcher):
    """Starts jobs in their order, each on the card that has been free the longest."""

    def __init__(
        self,
        devices: Sequence[str] = ("cpu",),
        per_device: int = 1,
        seconds: float | None = None,
        logs: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.slots = [str(device) for _ in range(per_device) for device in devices]
        self.seconds, self.logs = seconds, logs
        self.environment = dict(environment or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run the jobs. What a job returns is the exit code of its process, None where it was not begun in time; a job
        that fails stops no other."""
        deadline = None if self.seconds is None else time.monotonic() + self.seconds
        waiting = list(enumerate(map(list, job_overrides), start=initial_job_idx))
        # To Hydra all are completed: it would stop at the first that is not.
        results = {n: JobReturn(overrides=o, status=JobStatus.COMPLETED) for n, o in waiting}
        free, running = list(self.slots), {}
        try:
            while running or (waiting and not _past(deadline)):
                while free and waiting and not _past(deadline):
                    number, overrides = waiting.pop(0)
                    device = free.pop(0)
                    running[number] = (self._start(number, overrides, device), device)
                if _past(deadline):
                    _stop([process for process, _ in running.values()])
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                connection.wait([process.sentinel for process, _ in running.values()], left)
                for number, (process, device) in list(running.items()):
                    if not process.is_alive():
                        process.join()
                        results[number].return_value = process.exitcode
                        free.append(device)
                        del running[number]
        finally:
            _stop([process for process, _ in running.values()])
        return list(results.values())

    def _start(self, number: int, overrides: list[str], device: str) -> Any:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = str(number), number
        log = None if self.logs is None else str(Path(self.logs) / f"{config.get('job', number)}.log")
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_work, args=(self.task, config, log), name=f"job {number}")
        visible = {"CUDA_VISIBLE_DEVICES": "" if device == "cpu" else device}
        with _START, _environment({**visible, **self.environment}):
            process.start()
        return process


def _work(task: Any, config: DictConfig, log: str | None) -> None:
    """In the new process."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have it ignored by what they start with &
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if log is not None:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
    code = task(config)
    sys.stdout.flush()
    sys.exit(code if isinstance(code, int) else 0)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _stop(processes: Sequence[Any]) -> None:
    """Interrupt them, and end those that do not stop."""
    for process in processes:
        if process.is_alive():
            os.kill(process.pid, signal.SIGINT)
    end = time.monotonic() + GRACE
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def _past(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


@contextmanager
def _environment(values: Mapping[str, str]) -> Any:
    """The environment that a process started inside inherits."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def register() -> None:
    """Make the launcher known to Hydra as `hydra/launcher=cards`."""
    Plugins.instance().register(CardsLauncher)
    ConfigStore.instance().store(group="hydra/launcher", name="cards", node=CardsConf, provider="paintsundo")


register()
