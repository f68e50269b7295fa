"""Recordings of drawing, from a screen or a camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from paintsundo.data.process import DrawingProcess
from paintsundo.data.recording import engine
from paintsundo.data.source import Canvas, Item, Source, record_of
from paintsundo.errors import UserError

UNFINISHED = ("prepend", "refuse")


@dataclass
class Options:
    """See `configs/source/recording.yaml`."""

    canvas: Any = "auto"
    begin: float = 0.0
    end: float | None = None
    samples: int = 1000
    states: int = 1000
    threshold: float = 10.0
    settle: int = 3
    occlusion: float = 0.5
    follow: bool = True
    unfinished: str = "prepend"
    quality: int | None = None


class RecordingSource(Source):
    """The canvas found, aligned and cleaned in every frame; work is the area that changes."""

    name = "recording"
    suffixes = frozenset({".mp4", ".mov", ".webm", ".mkv", ".m4v"})
    Options = Options
    per_shard = 20
    largest = None
    seconds = 6 * 3600.0

    def check(self) -> None:
        options = self.options
        self._box()
        for name, least in (("samples", engine.LEAST_SAMPLES), ("states", 2), ("settle", 1)):
            if getattr(options, name) < least:
                raise UserError(f"source.{name}={getattr(options, name)}: choose at least {least}")
        if not options.threshold > 0:
            raise UserError(f"source.threshold={options.threshold}: choose a positive Lab distance")
        if not 0 <= options.occlusion <= 1:
            raise UserError(f"source.occlusion={options.occlusion}: choose a share of the recording, 0 to 1")
        if options.begin < 0 or (options.end is not None and options.end <= options.begin):
            raise UserError(
                f"source.begin={options.begin} source.end={options.end}: choose 0 <= begin < end, in seconds"
            )
        if options.unfinished not in UNFINISHED:
            raise UserError(f"source.unfinished={options.unfinished}: choose one of {', '.join(UNFINISHED)}")
        if options.quality is not None and not 1 <= options.quality <= 100:
            raise UserError(f"source.quality={options.quality}: choose 1 to 100, or null for lossless")

    def _box(self) -> tuple[float, float, float, float] | None:
        """The canvas given by hand: left, top, width, height in pixels of the frame."""
        given = self.options.canvas
        if given == "auto":
            return None
        try:
            left, top, width, height = (float(value) for value in given)
        except (TypeError, ValueError) as error:
            raise UserError(f"source.canvas={given}: choose auto or [left,top,width,height] in pixels") from error
        if min(left, top) < 0 or min(width, height) < 8:
            raise UserError(f"source.canvas={given}: left and top from 0, width and height from 8 pixels")
        return left, top, width, height

    def draw(self, item: Item, canvas: Canvas, variant: int, seed: int) -> DrawingProcess:
        options = self.options
        settings = engine.Settings(
            box=self._box(),
            begin=options.begin,
            end=options.end,
            samples=options.samples,
            states=options.states,
            threshold=options.threshold,
            settle=options.settle,
            occlusion=options.occlusion,
            follow=options.follow,
            unfinished=options.unfinished,
            quality=options.quality,
        )
        with item.path() as path:
            return engine.process_of(path, canvas, settings, record_of(item))
