"""A pipeline that is looked at while it works: progress, previews, and stopping between two steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from paintsundo.pipelines.film import PaintsUndoPipeline
from paintsundo.pipelines.interpolation import InterpolationConditions
from paintsundo.pipelines.options import VideoOptions


class Stopped(Exception):
    """The work was stopped on purpose; what is done stays."""


class TooLong(Exception):
    """The work took longer than it may; what is done stays."""


class Clock:
    """How much of some work is done, and when the rest will be.

    Args:
        parts: name → (how many there are, seconds that one is guessed to take).
    """

    def __init__(self, parts: Mapping[str, tuple[int, float]]) -> None:
        self._count = {name: count for name, (count, _) in parts.items()}
        self._guess = {name: guess for name, (_, guess) in parts.items()}
        self._done = dict.fromkeys(parts, 0)
        self._taken = dict.fromkeys(parts, 0.0)
        self._measured = dict.fromkeys(parts, 0)
        self._last = time.monotonic()

    def skip(self, name: str, count: int) -> None:
        """So many were done before."""
        self._done[name] = min(self._count[name], self._done[name] + count)

    def lap(self) -> None:
        """What was done since the last call belongs to no part."""
        self._last = time.monotonic()

    def tick(self, name: str, count: int = 1) -> None:
        """So many more are done, in the time since the last call."""
        now = time.monotonic()
        self._taken[name] += now - self._last
        self._measured[name] += count
        self._last = now
        self.skip(name, count)

    def _each(self, name: str) -> float:
        measured = self._measured[name]
        return self._taken[name] / measured if measured else self._guess[name]

    @property
    def seconds_left(self) -> float | None:
        """Estimate; None before anything was measured."""
        if not any(self._measured.values()):
            return None
        return sum((count - self._done[name]) * self._each(name) for name, count in self._count.items())

    @property
    def progress(self) -> float:
        """0…1, by time."""
        whole = sum(count * self._each(name) for name, count in self._count.items())
        done = sum(self._done[name] * self._each(name) for name in self._count)
        return min(1.0, done / whole) if whole > 0 else 0.0


class WatchedPipeline:
    """A pipeline for `job.make_film` that tells how far it is and shows each pair's clip as soon as it is sampled.

    Clips are decoded once, when they are shown, and are the film's own.

    Args:
        on_conditions: called with the number of pairs and of frames of a clip.
        on_pass: called after each pass of the video network with the number of passes of one batch.
        on_clip: called with (pair, clip uint8 (T, H, W, 3), finished → blank).
        stop: when set, `Stopped` is raised at the next step.
        early: whether clips are decoded beside the video network; without it only at the end.
    """

    def __init__(
        self,
        pipe: PaintsUndoPipeline,
        on_conditions: Callable[[int, int, Sequence[int]], None],
        on_pass: Callable[[int, int], None],
        on_clip: Callable[[int, np.ndarray], None],
        stop: threading.Event,
        early: bool = True,
    ) -> None:
        self._pipe = pipe
        self._on_conditions, self._on_pass, self._on_clip = on_conditions, on_pass, on_clip
        self._stop = stop
        self._early = early
        self._clips: dict[int, np.ndarray] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipe, name)

    def check(self) -> None:
        """Raise Stopped if that is wanted."""
        if self._stop.is_set():
            raise Stopped

    def prepare_interpolation(self, keyframes: Sequence[Any], options: VideoOptions) -> InterpolationConditions:
        """As the pipeline's."""
        self.check()
        return self._pipe.prepare_interpolation(keyframes, options)

    def sample_clips(
        self, conditions: InterpolationConditions, options: VideoOptions, skip: Sequence[int] = ()
    ) -> Iterator[tuple[int, Tensor]]:
        """As the pipeline's."""
        self._on_conditions(conditions.pairs, conditions.frames, list(skip))

        def on_step(pipe: Any, index: int, timestep: Tensor, values: dict[str, Tensor]) -> dict[str, Tensor]:
            self.check()
            self._on_pass(len(values["latents"]), len(pipe.video_scheduler.timesteps))
            return {}

        for pair, latents in self._pipe.sample_clips(conditions, options, skip, callback_on_step_end=on_step):
            yield pair, latents  # kept by who called, before anything else can fail
            if self._early:
                for decoded in self._pipe.decode_clips(conditions, {pair: latents}):
                    self._shown(*decoded)

    def decode_clips(
        self, conditions: InterpolationConditions, latents: Mapping[int, Tensor]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """As the pipeline's, less what is decoded already."""
        rest = self._pipe.decode_clips(
            conditions, {pair: clip for pair, clip in latents.items() if pair not in self._clips}
        )
        for pair in sorted(latents):
            self.check()
            if pair in self._clips:
                yield pair, self._clips[pair]
            else:
                decoded = next(rest)
                self._shown(*decoded)
                yield decoded

    def _shown(self, pair: int, clip: np.ndarray) -> None:
        self._clips[pair] = clip
        self._on_clip(pair, clip)
