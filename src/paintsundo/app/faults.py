"""What a visitor is told of a fault: one sentence, whatever happened."""

from __future__ import annotations

import re

from paintsundo.errors import UserError


class NotThere(UserError):
    """What was asked for does not exist, or is another visitor's."""


class Crowded(UserError):
    """It would be possible later."""


# Of a file on the server, visitors are told its name alone.
_FOLDERS = re.compile(r"(?<![\w.:/])/(?:[^\s/'\"]+/)+")
INSIDE = "Something went wrong inside the server; its log says what."


def sentence(error: BaseException) -> str:
    """A sentence for people, beginning with a capital, without paths of the server."""
    if isinstance(error, UserError):
        return as_sentence(_FOLDERS.sub("", str(error)))
    if isinstance(error, MemoryError) or _out_of_memory(error):
        return "There was not enough memory: choose a smaller size, fewer keyframes, or low memory."
    if isinstance(error, FloatingPointError):
        return "The model returned values that are not numbers: try another scheduler, guidance or seed."
    if isinstance(error, OSError) and error.errno == 28:
        return "The server's disk is full: delete some runs, or ask who keeps the server."
    return INSIDE


def as_sentence(text: str) -> str:
    """Its first letter large, a full stop at its end, all in one line."""
    line = " ".join(text.split())
    if not line:
        return INSIDE
    line = line[0].upper() + line[1:]
    return line if line[-1] in ".!?…" else f"{line}."


def known(error: BaseException) -> bool:
    """Whether the sentence says all there is, so that the log needs no traceback."""
    return sentence(error) != INSIDE


def _out_of_memory(error: BaseException) -> bool:
    # By name: this is read before torch is.
    return type(error).__name__ == "OutOfMemoryError" or "not enough memory" in str(error)
