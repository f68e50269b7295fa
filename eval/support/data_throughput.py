"""Making data: records and megabytes a second into shards by source and number of cores, and memory over many records.

`python eval/data.py throughput output=DIR input=FOLDER` with
  sources=[svg,pictures]  each measured by itself on what it can read of the input
  options={}          of sources, as in options={pictures:{crops:2}}
  cores=[1,2]         as many processes draw
  records=100         files drawn in each measurement
  size canvas         of what is drawn
  memory_records      processes of the build whose memory is watched; 0: none
  memory_source memory_size memory_cores  how these are drawn: small, so that there can be many

Writes `DIR/throughput.json` and `DIR/throughput.md`. Records a second are of the whole command, the start of its
processes included. Processor time a record says how many free cores a speed needs, also where others work on the same
machine.
Memory is what the system counts as resident (RSS), libraries that all processes share counted for each of them.
"""

import json
import resource
import shutil
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from omegaconf import MISSING

from paintsundo.data.build import BuildSettings, build
from paintsundo.errors import UserError
from support.arguments import parse
from support.tables import markdown, number

MARKS = (0.1, 0.25, 0.5, 0.75, 1.0)  # shares of the records at which memory is told
MEGABYTE = 1e6


@dataclass
class ThroughputSettings:
    """See above."""

    output: str = MISSING
    input: str = MISSING
    sources: list[str] = field(default_factory=lambda: ["svg", "pictures"])
    options: dict[str, Any] = field(default_factory=dict)
    cores: list[int] = field(default_factory=lambda: [1, 2])
    records: int = 100
    size: int = 256
    canvas: str = "square"
    memory_records: int = 10_000
    memory_source: str = "svg"
    memory_size: int = 64
    memory_cores: int = 2


@dataclass(frozen=True)
class Speed:
    """One build."""

    source: str
    cores: int
    records: int
    rejected: int
    seconds: float
    records_per_second: float
    megabytes_per_second: float
    processor_seconds_per_record: float
    kilobytes_per_record: float


@dataclass(frozen=True)
class Memory:
    """Resident memory, MB, up to when so many processes were drawn: the highest since the mark before."""

    records: int
    parent: float
    largest_worker: float
    all_together: float


class Watch(threading.Thread):
    """Looks at the memory of this process and its children again and again while a data set is built."""

    def __init__(self, dataset: Path) -> None:
        super().__init__(daemon=True)
        self.dataset, self.stopped = dataset, threading.Event()
        self.seen: list[Memory] = []

    def run(self) -> None:
        """Until `stopped` is set."""
        own = psutil.Process()
        while not self.stopped.wait(1.0):
            workers = []
            for child in own.children(recursive=True):
                try:
                    workers.append(child.memory_info().rss / MEGABYTE)
                except psutil.Error:
                    continue
            parent = own.memory_info().rss / MEGABYTE
            self.seen.append(Memory(self._done(), parent, max(workers, default=0.0), parent + sum(workers)))

    def _done(self) -> int:
        work = self.dataset / ".building"
        done = sum(1 for _ in work.glob("outcomes/*/[0-9]*"))
        for side in work.glob("shards/*.json"):
            tally = json.loads(side.read_bytes())["tally"]
            done += tally["kept"] + tally["rejected"]
        return done


def main(arguments: Sequence[str]) -> int:
    """`data.py throughput …`"""
    settings = parse(ThroughputSettings, arguments, literal_keys=("output", "input"))
    if settings.records < 1 or settings.memory_records < 0 or not settings.cores or min(settings.cores) < 1:
        raise UserError("records and cores must be at least 1, memory_records at least 0")
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    speeds = [_speed(settings, source, cores) for source in settings.sources for cores in settings.cores]
    memory = _memory(settings) if settings.memory_records else []
    text = _text(settings, speeds, memory)
    content = {
        "settings": asdict(settings),
        "speed": [asdict(speed) for speed in speeds],
        "memory": [asdict(each) for each in memory],
    }
    (output / "throughput.json").write_text(json.dumps(content, indent=1) + "\n")
    (output / "throughput.md").write_text(text + "\n")
    print(text)
    return 0


def _settings(settings: ThroughputSettings, source: str, cores: int, **more: Any) -> BuildSettings:
    dataset = Path(settings.output) / "dataset"
    shutil.rmtree(dataset, ignore_errors=True)
    chosen = {"name": source, **settings.options.get(source, {})}
    return BuildSettings(chosen, settings.input, str(dataset), canvas=settings.canvas, workers=cores, **more)


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _speed(settings: ThroughputSettings, source: str, cores: int) -> Speed:
    chosen = _settings(settings, source, cores, size=settings.size, limit=settings.records)
    before = _processor_seconds()
    manifest = build(chosen)
    used = _processor_seconds() - before
    written, seconds = sum(shard["bytes"] for shard in manifest["shards"]), manifest["seconds"]
    kept = max(1, manifest["samples"])
    shutil.rmtree(chosen.output)
    return Speed(
        source,
        cores,
        manifest["samples"],
        manifest["rejected"],
        round(seconds, 1),
        round(kept / seconds, 3),
        round(written / MEGABYTE / seconds, 3),
        round(used / kept, 3),
        round(written / 1e3 / kept, 1),
    )


def _memory(settings: ThroughputSettings) -> list[Memory]:
    """The highest memory between marks, over one long build; files are drawn again in compositions where they are too
    few.
    """
    count, source, cores = settings.memory_records, settings.memory_source, settings.memory_cores
    chosen = _settings(settings, source, cores, size=settings.memory_size, limit=(count + 1) // 2)
    chosen.compositions = count // 2
    watch = Watch(Path(chosen.output))
    watch.start()
    manifest = build(chosen)
    watch.stopped.set()
    watch.join()
    total = manifest["samples"] + manifest["rejected"]
    shutil.rmtree(chosen.output)
    found, begin = [], 0
    for mark in MARKS:
        end = round(mark * total)
        seen = [each for each in watch.seen if begin <= each.records <= end]
        if seen:
            highest = (
                max(getattr(each, name) for each in seen) for name in ("parent", "largest_worker", "all_together")
            )
            found.append(Memory(end, *(round(value, 1) for value in highest)))
        begin = end
    return found


def _text(settings: ThroughputSettings, speeds: Sequence[Speed], memory: Sequence[Memory]) -> str:
    header = ["source", "cores", "records", "rejected", "records/s", "MB/s", "processor s/record", "kB/record"]
    rows = [
        [
            speed.source,
            str(speed.cores),
            str(speed.records),
            str(speed.rejected),
            number(speed.records_per_second, 2),
            number(speed.megabytes_per_second, 2),
            number(speed.processor_seconds_per_record, 2),
            number(speed.kilobytes_per_record, 0),
        ]
        for speed in speeds
    ]
    parts = [f"Canvas {settings.size} pixels, {settings.canvas}.", markdown(header, rows)]
    if memory:
        growth = memory[-1].all_together - memory[1 if len(memory) > 2 else 0].all_together
        parts += [
            f"Resident memory, MB, of {memory[-1].records} processes of {settings.memory_source} at "
            f"{settings.memory_size} pixels, drawn by {settings.memory_cores} processes; from a quarter to the end it "
            f"grew by {growth:+.0f} MB.",
            markdown(
                ["processes drawn", "parent", "largest worker", "all together"],
                [
                    [
                        str(each.records),
                        *(number(value, 0) for value in (each.parent, each.largest_worker, each.all_together)),
                    ]
                    for each in memory
                ],
            ),
        ]
    return "\n\n".join(parts)
