"""A source that draws text files in no time, and misbehaves as they say."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

import numpy as np

from paintsundo.data.process import DONE, NEVER, DrawingProcess
from paintsundo.data.source import Canvas, Item, Source, Unusable, record_of
from paintsundo.data.staged import Stage, StagedProcess

NAME = "tiny_source:TinySource"


@dataclass
class Options:
    stripes: int = 3
    wait: float = 0.0
    blind: bool = False


class TinySource(Source):
    """The first number of a file is its colour; the words crash, hang, freeze and eat do what they say."""

    name = "tiny"
    suffixes = frozenset({".txt"})
    Options = Options
    per_shard = 5
    largest = 1000

    def variants(self, item: Item) -> int:
        return 2 if item.stem.endswith("twice") else 1

    def draw(self, item: Item, canvas: Canvas, variant: int, seed: int) -> DrawingProcess:
        text = item.read().decode()
        time.sleep(self.options.wait)
        if "crash" in text:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "hang" in text:
            while True:
                time.sleep(0.01)
        if "freeze" in text:  # as a call does that never comes back to Python
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
            time.sleep(1000)
        if "eat" in text:
            np.ones(200_000_000_000, np.uint8)
        if "bad" in text:
            raise Unusable("is bad")
        height, width = canvas.dimensions(2, 1)
        random = np.random.default_rng([seed, variant])
        stages = []
        for number in range(self.options.stripes):
            picture = np.full((height, width, 3), random.integers(0, 250, 3, np.uint8))
            reveal = np.full((height, width), NEVER, np.uint16)
            first, end = (round(k * DONE / self.options.stripes) for k in (number, number + 1))
            reveal[number :: self.options.stripes] = random.integers(
                first + 1, end, reveal[number :: self.options.stripes].shape
            )
            if stages:
                picture = np.where((reveal == NEVER)[..., None], stages[-1].picture, picture)
            stages.append(Stage(f"stripe {number}", picture, reveal))
        return StagedProcess(tuple(stages), **record_of(item))

    def preview(self, item: Item, side: int = 256) -> np.ndarray | None:
        text = item.read().decode()
        if self.options.blind:
            return None
        if "crash" in text:
            os.kill(os.getpid(), signal.SIGSEGV)
        patches = np.random.default_rng(list(text.encode())).integers(0, 255, (8, 8, 3), np.uint8)
        return patches.repeat(8, axis=0).repeat(8, axis=1)


def write_texts(folder, count: int, **special: str) -> None:
    """`count` good files, and special ones by their stems."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"text{number:03d}.txt").write_text(f"{number}")
    for stem, text in special.items():
        (folder / f"{stem}.txt").write_text(text)
