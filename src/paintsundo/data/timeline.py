"""From pictures in order to a drawing process: which pixels change in each stage, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from paintsundo.data import staged
from paintsundo.data.brush import BAND, side, sweep
from paintsundo.data.process import DONE, NEVER, Picture
from paintsundo.data.staged import Stage, StagedProcess

WEIGHTS: Mapping[str, float] = {
    "sketch": 0.18,
    "ink": 0.27,
    "flats": 0.27,
    "details": 0.13,
    "shading": 0.15,
}
PICTURE_WEIGHTS: Mapping[str, float] = {  # full of colour everywhere: painting takes most of the work
    "sketch": 0.12,
    "line": 0.14,
    "ink": 0.2,
    "flats": 0.26,
    "details": 0.22,
    "shading": 0.26,
}
LEAST_CHANGE = 0.002  # stages changing a smaller share of the canvas are done together with the one before


@dataclass
class Draft:
    """A stage before its place in time is known.

    `picture` is the canvas at its end; `order` (H, W) keys, NaN = none of its own; `cost` (H, W) the work of
    one pixel, 1 where it is not given.
    """

    name: str
    picture: Picture
    order: NDArray[np.float64]
    cost: NDArray[np.float64] | None = None


def nearest_known(values: NDArray[np.float64], wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fill NaN entries of (H, W) where `wanted` from the nearest known entry."""
    unknown = np.isnan(values)
    if not (unknown & wanted).any():
        return values
    near = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
    return np.where(unknown, values[tuple(near)], values)


def changed(before: Picture, after: Picture) -> NDArray[np.bool_]:
    """Pixels (H, W) that differ between two pictures."""
    red, green, blue = np.moveaxis(before != after, 2, 0)
    return red | green | blue


def assemble(drafts: list[Draft], weights: Mapping[str, float] = WEIGHTS, **record: Any) -> StagedProcess:
    """Lay stages out on the work axis; the last draft's picture is the finished one.

    A stage that changes (almost) nothing is folded into the one before it. Inside a stage pixels change in
    the order of the keys; those without a key of their own change with the nearest that has one. Raises
    ValueError when no stage changes anything.
    """
    white = np.full_like(drafts[0].picture, 255)
    least = LEAST_CHANGE * white[..., 0].size
    kept: list[Draft] = []
    for draft in drafts:
        before = kept[-1].picture if kept else white
        count = int(changed(before, draft.picture).sum())
        if count == 0 or (count < least and not kept and draft is not drafts[-1]):
            continue
        if count < least and kept:
            kept[-1] = replace(kept[-1], picture=draft.picture)
        else:
            kept.append(draft)
    if not kept:
        raise ValueError("nothing is drawn")
    bounds = staged.shares([draft.name for draft in kept], weights)
    stages = []
    before = white
    for draft, begin, end in zip(kept, bounds[:-1], bounds[1:], strict=True):
        mask = changed(before, draft.picture)
        order = np.where(mask, draft.order, np.nan)
        if np.isnan(order[mask]).all():
            order = sweep(*mask.shape, BAND * side(*mask.shape))
        order = nearest_known(order, mask)
        places = np.argsort(order[mask], kind="stable")
        done = np.cumsum((np.ones(mask.shape) if draft.cost is None else draft.cost)[mask][places])
        when = np.empty(len(places))
        when[places] = done / done[-1]
        reveal = np.full(mask.shape, NEVER, np.uint16)
        low = np.floor(begin * DONE) + 1
        reveal[mask] = np.round(low + (np.floor(end * DONE) - low) * when).astype(np.uint16)
        stages.append(Stage(draft.name, draft.picture, reveal))
        before = draft.picture
    return StagedProcess(tuple(stages), **record)
