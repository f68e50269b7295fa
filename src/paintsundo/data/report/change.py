"""How much of the canvas changes, and when."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from paintsundo.data.frames import FrameProcess
from paintsundo.data.process import DrawingProcess
from paintsundo.data.timeline import changed

STEPS = 50  # states compared when change is measured


def changed_shares(process: DrawingProcess, steps: int = STEPS) -> NDArray[np.float64]:
    """Share of the canvas that changes from each of `steps` + 1 evenly spaced states to the next: (steps,)."""
    found = []
    before = process.state(0)
    for work in np.linspace(0, 1, steps + 1)[1:].tolist():
        state = process.state(work)
        found.append(changed(before, state).mean())
        before = state
    return np.array(found, np.float64)


def progress(process: DrawingProcess, works: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 - L1(state, finished) / L1(blank, finished) at shares of the work (N,): (N,), from 0 to 1, falling where
    something is undone.
    """
    finished = process.finished.astype(np.int16)
    whole = np.abs(process.state(0).astype(np.int16) - finished).sum(dtype=np.int64)
    left = [np.abs(process.state(work).astype(np.int16) - finished).sum(dtype=np.int64) for work in works.tolist()]
    return np.asarray(1 - np.array(left) / max(int(whole), 1))


def state_works(process: DrawingProcess, most: int) -> NDArray[np.float64]:
    """Shares of the work at which a process is best looked at, ascending from 0 to 1, at most so many (2 or more).

    The states themselves where it is a row of states, all or evenly chosen ones; else evenly spaced shares.
    """
    if isinstance(process, FrameProcess) and len(process) >= 2:
        chosen = np.linspace(0, len(process) - 1, min(most, len(process))).round().astype(int)
        return np.asarray(process.works[chosen], np.float64)
    return np.linspace(0, 1, most)
