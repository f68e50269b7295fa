"""What noise a checkpoint was trained on."""

from __future__ import annotations

import os

from paintsundo.checkpoints.sources import resolve
from paintsundo.diffusion.stages import Stage

_STAGES = {"single_frame": "keyframes", "multi_frame": "video"}


def trained_stage(source: str | os.PathLike[str] | None, kind: str) -> Stage:
    """The noise and prediction type of a checkpoint: `scheduler/scheduler_config.json`, or else the published ones.

    Args:
        source: "bundled", a folder in the official layout, or a hub id; None gives the published ones.
        kind: "single_frame" or "multi_frame".

    Raises:
        UserError: there is no such checkpoint, or its file is damaged.
    """
    if source is None:
        return Stage.named(_STAGES[kind])
    return Stage.read(resolve(source, kind) / "scheduler", _STAGES[kind])
