"""Reading and writing checkpoints in the official layout: bundled, from folders, or from the hub."""

from paintsundo.checkpoints.components import (
    MultiFrameComponents,
    SingleFrameComponents,
    load_multi_frame,
    load_single_frame,
    load_tagger,
)

__all__ = [
    "MultiFrameComponents",
    "SingleFrameComponents",
    "load_multi_frame",
    "load_single_frame",
    "load_tagger",
]
