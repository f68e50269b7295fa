"""How a process that computes on a processor asks the system for memory."""

from __future__ import annotations

import ctypes
import sys

# Parameters of glibc's `mallopt`, from malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Let the C library keep memory that is freed, for the next tensor, in place of giving it back each time.

    Tensors of a megabyte and more are otherwise mapped anew, page by page, for every layer's result: a sixth of the
    time of a film on a processor. For command lines only, whose process ends with the work.

    Returns:
        whether the C library is one that can be asked (glibc).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    largest = 2**31 - 1
    return all([mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, largest), mallopt(_TOP_PAD, 64 * 2**20)])
