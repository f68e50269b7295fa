"""What people do at their canvas besides drawing towards the end: behaviours the published page names.

Each behaviour turns a process into another with the same finished picture, pixel for pixel. Work, and so operation
steps, are counted anew: what is drawn twice is work twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from paintsundo.data.behaviours.colours import colour_curves
from paintsundo.data.behaviours.options import OPERATIONS, Behaviour, BehaviourOptions
from paintsundo.data.behaviours.redrawing import ERASING, second_thoughts, transform
from paintsundo.data.behaviours.viewing import flip, visibility
from paintsundo.data.moves import OPERATION, Move, join, metadata, moves_of, settle, spans, staged
from paintsundo.data.staged import StagedProcess

__all__ = ["OPERATIONS", "WORK_RULE", "Behaviour", "BehaviourOptions", "apply"]

Made = tuple[list[Move], dict[str, Any]] | None
Function = Callable[[list[Move], np.random.Generator, float, int], Made]

# In this order, so that later ones are right about earlier ones: hidden layers must not be moved while they are
# hidden, colours are those of what is seen, and a mirrored canvas mirrors everything.
FUNCTIONS: dict[str, Function] = {
    "transform": transform,
    "second_thoughts": second_thoughts,
    "visibility": visibility,
    "colour_curves": colour_curves,
    "flip": flip,
}
WORK_RULE = (
    f"behaviours: what is drawn and removed is work as if it stayed; erasing is {ERASING:g} of the work of drawing "
    f"the same; an operation done at once (flip, transform, colours, hide, show, each undo) is {OPERATION:g} of the "
    "work without behaviours; all of it is then scaled to 1"
)


def apply(process: StagedProcess, options: BehaviourOptions, seed: int) -> StagedProcess:
    """A process with behaviours drawn by lot; itself when there are none. Equal arguments give equal results.

    `extra["behaviours"]` tells of each its name, where on the work axis it begins and ends (0 ... 1), and what was
    done. A behaviour that a process gives no occasion for is left out. Raises UserError for impossible options.
    """
    options.check()
    moves, records = moves_of(process), dict[int, dict[str, Any]]()
    for event, (name, function) in enumerate(FUNCTIONS.items()):
        chosen: Behaviour = getattr(options, name)
        random = np.random.default_rng([seed, event])  # of its own: other behaviours do not change it
        if random.random() >= chosen.probability:
            continue
        made = function(moves, random, chosen.strength, event)
        settled = join(settle(made[0])) if made else []
        if made and len(settled) <= options.most_stages:
            moves, records[event] = settled, {"name": name, **made[1]}
    found = _dated(moves, records)
    if not found:
        return process
    kept = dict(metadata(process))
    kept["extra"] = {**process.extra, "behaviours": found}
    kept["work_rule"] = f"{process.work_rule}; {WORK_RULE}"
    return staged(moves, **kept)


def _dated(moves: list[Move], records: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """The records with their beginnings and ends, in order; without those of which nothing is left."""
    ends = spans(moves)
    found = []
    for event, record in records.items():
        places = [k for k, move in enumerate(moves) if event in move.events]
        if any(moves[k].added for k in places):
            begin, end = float(ends[places[0]]), float(ends[places[-1] + 1])
            found.append({"name": record["name"], "begin": round(begin, 6), "end": round(end, 6), **record})
    return sorted(found, key=lambda record: (record["begin"], record["end"]))
