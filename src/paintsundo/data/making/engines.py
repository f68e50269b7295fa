"""Where shards are drawn: by processes of this machine, by jobs of Slurm, by tasks of Ray. One shard is one task that
may be done twice without harm.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tqdm import tqdm

from paintsundo.data.making.folder import Folder
from paintsundo.data.making.plan import Plan
from paintsundo.data.making.scheduling import draw_shards
from paintsundo.data.making.settings import BuildSettings
from paintsundo.errors import UserError

MOST_IN_ARRAY = 1000  # jobs: Slurm's usual MaxArraySize is 1001
VISIBLE_AFTER = 60.0  # seconds in which a shared folder shows what another machine has written


def workers_of(settings: BuildSettings) -> int:
    """Processes to draw with on one machine."""
    if settings.workers is not None:
        return settings.workers
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(settings: BuildSettings, folder: Folder, plan: Plan, shards: Sequence[int], progress: bool) -> None:
    """Draw these shards. Raises UserError for an engine that cannot be used, or whose tasks failed."""
    if not shards:
        return
    name = settings.engine["name"]
    if name == "local":
        draw_shards(settings, folder, plan, shards, workers_of(settings), progress)
        return
    engine: Callable[..., Iterator[tuple[int, str]]] = {"submitit": _submitit, "ray": _ray}[name]
    failures = []
    with tqdm(desc="drawing", total=len(shards), unit="shard", disable=not progress) as bar:
        for shard, failure in engine(settings, folder, shards):
            bar.update()
            if failure or not _seen(folder, shard):
                failures.append(f"shard {shard}: {failure or 'is not to be seen in ' + str(folder.path)}")
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise UserError(f"{failures[0]}{more}; the same command draws again what is missing")


def draw_one(settings: BuildSettings, path: str, shard: int, workers: int) -> None:
    """The task of an engine: one shard of the data set at `path`, from its written plan."""
    folder = Folder(path)
    plan = Plan.read(folder)
    if plan is None:
        raise UserError(f"{path} has no plan to draw from")
    if folder.read_side(shard) is None:
        draw_shards(settings, folder, plan, [shard], workers, progress=False)


def _seen(folder: Folder, shard: int) -> bool:
    end = time.monotonic() + VISIBLE_AFTER
    while folder.read_side(shard) is None:
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def _workers(settings: BuildSettings) -> int:
    return int(settings.engine.get("cpus_per_task") or 1) if settings.workers is None else settings.workers


def _submitit(settings: BuildSettings, folder: Folder, shards: Sequence[int]) -> Iterator[tuple[int, str]]:
    try:
        import submitit
    except ImportError:
        raise UserError("engine=submitit needs submitit: pip install submitit") from None
    options = {name: value for name, value in settings.engine.items() if value not in (None, {})}
    cluster, at_a_time = options.pop("cluster", None), int(options.pop("array_parallelism", MOST_IN_ARRAY))
    options.pop("name")
    try:
        executor = submitit.AutoExecutor(folder=folder.work / "submitit", cluster=cluster)
        if executor.cluster == "slurm":
            options["slurm_array_parallelism"] = at_a_time
        executor.update_parameters(name="paintsundo-data", **options)
    except (RuntimeError, ValueError, TypeError, NameError, AssertionError) as error:
        raise UserError(f"engine=submitit: {error}") from None
    size = MOST_IN_ARRAY if executor.cluster == "slurm" else at_a_time
    for group in (shards[first : first + size] for first in range(0, len(shards), size)):
        jobs = executor.map_array(
            draw_one, *zip(*((settings, str(folder.path), s, _workers(settings)) for s in group), strict=True)
        )
        waiting = dict(zip(group, jobs, strict=True))
        try:
            while waiting:
                for shard in [shard for shard, job in waiting.items() if job.done()]:
                    yield shard, _failure(waiting.pop(shard))
                time.sleep(0.2 if executor.cluster != "slurm" else 5.0)
        finally:
            for job in waiting.values():  # the build was stopped
                job.cancel()


def _failure(job: Any) -> str:
    error = job.exception()
    if error is None:
        return ""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" -")]
    what = (
        lines[-1] if "trace" in lines[0] else lines[0]
    )  # of an error in the job its last line; else what became of it
    return f"failed as job {job.job_id} ({what}), see {job.paths.stderr}"


def _ray(settings: BuildSettings, folder: Folder, shards: Sequence[int]) -> Iterator[tuple[int, str]]:
    try:
        import ray
    except ImportError:
        raise UserError("engine=ray needs Ray: pip install ray") from None
    if not ray.is_initialized():
        ray.init(address=settings.engine.get("address"), log_to_driver=False)
    task = ray.remote(num_cpus=max(1, _workers(settings)), max_retries=2)(draw_one)
    path = str(folder.path.absolute())
    waiting = {task.remote(settings, path, shard, _workers(settings)): shard for shard in shards}
    while waiting:
        done, _ = ray.wait(list(waiting), num_returns=1)
        shard = waiting.pop(done[0])
        try:
            ray.get(done[0])
        except Exception as error:  # of whatever kind: it was raised elsewhere
            yield shard, str(error).strip().splitlines()[-1]
            continue
        yield shard, ""
