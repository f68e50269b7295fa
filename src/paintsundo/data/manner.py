"""The manner in which a process is drawn, as a tag: a prompt can then ask for another one of the same picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from paintsundo.data.process import DrawingProcess

LINES_FIRST, BLOCKED_IN, WITHOUT_LINES = "lines first", "blocked in", "without lines"
MANNERS = (LINES_FIRST, BLOCKED_IN, WITHOUT_LINES)
OF_STYLE = {"line": LINES_FIRST, "regions": LINES_FIRST, "painting": BLOCKED_IN, "lineless": WITHOUT_LINES}

Process = TypeVar("Process", bound=DrawingProcess)


def manner_of(process: DrawingProcess) -> str:
    """One of `MANNERS`: by the synthetic painter's style where it painted, else by whether lines are inked."""
    style = process.extra.get("style")
    if style in OF_STYLE:
        return OF_STYLE[style]
    return LINES_FIRST if {"ink", "line"} & {span.name for span in process.spans()} else WITHOUT_LINES


def with_manner(process: Process) -> Process:
    """The process with its manner as the last of its tags."""
    return replace(process, tags=(*process.tags, manner_of(process)))
