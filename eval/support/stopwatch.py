"""Time and memory of the parts of a computation."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from paintsundo.pipelines.placement import Placement


@dataclass
class Part:
    """Seconds of one part, and the most memory allocated on the device meanwhile (None: not a CUDA
    device)."""

    seconds: float
    peak_GiB: float | None


@dataclass
class Stopwatch:
    """Measures named parts; each ends only when the device has done all its work."""

    device: torch.device
    parts: dict[str, Part] = field(default_factory=dict)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure what happens inside under this name."""
        cuda = self.device.type == "cuda"
        self.wait()
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        start = time.perf_counter()
        yield
        self.wait()
        seconds = time.perf_counter() - start
        peak = torch.cuda.max_memory_allocated(self.device) / 2**30 if cuda else None
        self.parts[name] = Part(seconds, peak)


class TimedPlacement(Placement):
    """A placement that adds up the seconds spent on moving networks to the device and back."""

    def __init__(self, other: Placement, stopwatch: Stopwatch) -> None:
        self.__dict__.update(other.__dict__)
        self.stopwatch = stopwatch
        self.moving = 0.0

    @contextmanager
    def using(self, *networks: torch.nn.Module) -> Iterator[None]:
        self.stopwatch.wait()
        start = time.perf_counter()
        with super().using(*networks):
            self.stopwatch.wait()
            self.moving += time.perf_counter() - start
            yield
            self.stopwatch.wait()
            start = time.perf_counter()
        self.stopwatch.wait()
        self.moving += time.perf_counter() - start
