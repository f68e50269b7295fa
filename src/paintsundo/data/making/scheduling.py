"""Who draws what next, on one machine: jobs of missing shards in the order of the plan, and shards as they fill."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from tqdm import tqdm

from paintsundo.data.making import drawing, outcomes
from paintsundo.data.making.assembly import assemble
from paintsundo.data.making.crew import Crew, Death
from paintsundo.data.making.folder import Folder
from paintsundo.data.making.jobs import Job
from paintsundo.data.making.outcomes import Outcome
from paintsundo.data.making.plan import Plan
from paintsundo.data.making.settings import BuildSettings

Drawing = tuple[Folder, int, Job]
Assembling = tuple[Folder, int]


def work(task: Drawing | Assembling) -> None:
    """One task, in a worker."""
    if len(task) == 3:
        drawing.work(task)
        return
    folder, shard = task
    plan = Plan.read(folder)
    assert plan is not None
    assemble(folder, plan, shard)


class _Tasks:
    """Tasks of several shards; what is done already is not handed out."""

    def __init__(self, folder: Folder, plan: Plan, shards: Sequence[int], bar: tqdm[None]) -> None:
        self._folder, self._plan, self._bar = folder, plan, bar
        self._full: deque[int] = deque()
        self._missing: dict[int, int] = {}  # jobs not yet done, of shards begun
        self._drawings = self._all(shards)

    def next(self) -> Drawing | Assembling | None:
        """A task, or None while there is none."""
        if not self._full:
            drawing = next(self._drawings, None)
            if drawing is not None:
                return drawing
        return (self._folder, self._full.popleft()) if self._full else None

    def _all(self, shards: Sequence[int]) -> Iterator[Drawing]:
        for shard in shards:
            place = self._folder.outcomes(shard)
            self._missing[shard] = self._plan.sizes[shard]
            for job in self._plan.jobs(shard):
                if outcomes.read(place, job.number, check=True) is not None:
                    self.drawn(shard)
                else:
                    yield self._folder, shard, job

    def drawn(self, shard: int) -> None:
        """One more job of a shard is done."""
        self._bar.update()
        self._missing[shard] -= 1
        if self._missing[shard] == 0:
            del self._missing[shard]
            self._full.append(shard)


def draw_shards(
    settings: BuildSettings, folder: Folder, plan: Plan, shards: Sequence[int], workers: int, progress: bool = True
) -> None:
    """Draw and write these shards with so many processes. Raises OSError where they cannot be written."""
    jobs = sum(plan.sizes[shard] for shard in shards)
    with tqdm(desc="drawing", total=jobs, unit="process", disable=not progress, smoothing=0.05) as bar:
        tasks = _Tasks(folder, plan, shards, bar)
        crew: Crew[Drawing | Assembling, None] = Crew(min(workers, jobs), work, drawing.prepare, (settings,))
        for task, result in crew.run(tasks.next):
            if isinstance(result, Death):
                if len(task) == 2:
                    raise OSError(f"shard {task[1]} cannot be written: the process that does {result.reason}")
                outcomes.write(folder.outcomes(task[1]), task[2].number, Outcome(reason=result.reason))
            if len(task) == 3:
                tasks.drawn(task[1])
