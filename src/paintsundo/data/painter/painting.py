"""A finished picture painted anew: style, stages, and how much work each of them is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from paintsundo.data import timeline
from paintsundo.data.painter.study import Study
from paintsundo.data.painter.styles import STYLES, WEIGHTS
from paintsundo.data.process import Picture
from paintsundo.data.source import Unusable
from paintsundo.data.staged import StagedProcess
from paintsundo.data.timeline import Draft, changed

VERSION = 1
RULE = (
    "each present stage owns a share of the work axis: its weight times the root of the share of the canvas it "
    "changes; inside a stage work is the length drawn, or the changed area divided by the width of the brush"
)
LEAST_DRAWN = 0.005  # share of the canvas that must differ from white
EXPECTED = {"construction": 0.03, "sketch": 0.06, "line": 0.06, "ink": 0.08, "drawing": 0.05}
"""Share of the canvas that stages of lines change in an ordinary picture; painting changes all of it."""
FACTORS = (0.25, 1.4)  # between these the amount of work of a stage counts


def choose(study: Study, weights: Mapping[str, float], rng: np.random.Generator) -> str:
    """A style drawn by its weight. Pictures with ink of their own, and those that are mostly paper, are drawn line
    first where that style is among them.

    Raises ValueError without a positive weight.
    """
    names = [name for name in STYLES if weights.get(name, 0) > 0]
    if not names:
        raise ValueError("no style has a positive weight")
    amounts = np.array([weights[name] for name in names], np.float64)
    drawn = names[int(rng.choice(len(names), p=amounts / amounts.sum()))]
    by_line = study.ink is not None or study.paper.mean() > 0.85
    return "line" if by_line and "line" in names else drawn


def stage_weights(drafts: Sequence[Draft]) -> dict[str, float]:
    """How much work each stage is, by what it changes; see RULE."""
    found: dict[str, float] = {}
    before = np.full_like(drafts[0].picture, 255)
    for draft in drafts:
        share = float(changed(before, draft.picture).mean()) / EXPECTED.get(draft.name, 0.8)
        found[draft.name] = WEIGHTS[draft.name] * float(np.clip(np.sqrt(share), *FACTORS))
        before = draft.picture
    return found


def paint(
    picture: Picture,
    seed: Sequence[int],
    style: str | None = None,
    weights: Mapping[str, float] | None = None,
    **record: Any,
) -> StagedProcess:
    """How a picture (H, W, 3) may have been painted; its last state equals the picture.

    Args:
        seed: non-negative numbers; equal ones give equal bytes.
        style: of `STYLES`; None: drawn by the seed with `weights` (None: all alike).
        record: what the process says of its origin.

    The record's `extra` names style and seed. Raises Unusable for an all but blank picture.
    """
    study = Study(picture)
    if float((picture.min(axis=2) < 250).mean()) < LEAST_DRAWN:
        raise Unusable("all but blank")
    rng = np.random.default_rng(list(seed))
    if style is None:
        style = choose(study, weights or dict.fromkeys(STYLES, 1.0), rng)
    drafts = STYLES[style](study, rng)
    extra = {**record.pop("extra", {}), "style": style, "seed": [int(part) for part in seed], "painter": VERSION}
    return timeline.assemble(drafts, stage_weights(drafts), work_rule=RULE, extra=extra, **record)
