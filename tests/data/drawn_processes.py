"""Small processes made by hand, for tests of what is done with processes."""

from __future__ import annotations

from typing import Any

import numpy as np

from paintsundo.data.frames import FrameProcess, FrameWriter
from paintsundo.data.process import DONE, NEVER, Picture
from paintsundo.data.staged import Stage, StagedProcess

SHARES = {"sketch": 0.2, "ink": 0.25, "flats": 0.35, "shading": 0.2}


def pictures(height: int = 64, width: int = 96) -> dict[str, Picture]:
    """The canvas at the end of each stage: two shapes, well apart, on white paper."""
    ys, xs = np.mgrid[:height, :width].astype(float)
    face = np.hypot(ys - 0.45 * height, xs - 0.3 * width) / (0.3 * height)
    box = np.maximum(np.abs(ys - 0.6 * height) / 0.22, np.abs(xs - 0.78 * width) / 0.2) / height
    outline = (np.abs(face - 1) < 0.12) | (np.abs(box - 1) < 0.15)
    sketch = np.full((height, width, 3), 255, np.uint8)
    sketch[outline | (np.abs(ys - 0.45 * height) < 1) & (face < 1.2)] = (110, 150, 220)
    ink = sketch.copy()
    ink[outline] = 0
    flats = ink.copy()
    flats[(face < 0.94)] = (240, 200, 60)
    flats[(box < 0.9)] = (200, 60, 50)
    flats[outline] = 0
    shading = flats.copy()
    shading[(face < 0.94) & (xs < 0.25 * width)] = (200, 150, 40)
    shading[(box < 0.9) & (ys > 0.7 * height)] = (140, 30, 40)
    return {"sketch": sketch, "ink": ink, "flats": flats, "shading": shading}


def two_shapes(height: int = 64, width: int = 96, **record: Any) -> StagedProcess:
    """Sketch, ink, flat colours and shading, each drawn from left to right."""
    stages, begin, before = [], 0.0, np.full((height, width, 3), 255, np.uint8)
    for name, picture in pictures(height, width).items():
        mask = (picture != before).any(axis=2)
        end = begin + SHARES[name]
        columns = np.flatnonzero(mask.any(axis=0))
        when = DONE * np.interp(np.arange(width), [columns[0] - 1, columns[-1]], [begin, end])
        when = np.broadcast_to(when, mask.shape)
        reveal = np.where(mask, np.clip(np.floor(when), np.floor(begin * DONE) + 1, DONE), NEVER)
        stages.append(Stage(name, picture, reveal.astype(np.uint16)))
        begin, before = end, picture
    return StagedProcess(tuple(stages), **{"subject": "shapes", "source": "hand/shapes", **record})


def as_frames(process: StagedProcess, count: int = 12, **record: Any) -> FrameProcess:
    """The same as a row of states."""
    writer = FrameWriter(process.size)
    for number, work in enumerate(np.linspace(0, 1, count).tolist()):
        writer.add(process.state(work), work * 777, "late" if 2 * number > count else "early")
    return writer.finish(**{"subject": "frames", "source": "hand/frames", "work_rule": "as drawn", **record})
