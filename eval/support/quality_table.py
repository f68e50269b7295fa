"""The table of eval/quality.py: films, their mean, and the null baselines' mean below."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from support.tables import markdown, number

COLUMNS: tuple[tuple[str, tuple[str, ...], int], ...] = (
    ("frames", ("frames",), 0),
    ("start mean", ("start", "mean"), 3),
    ("start white", ("start", "white_share"), 3),
    ("end PSNR", ("end", "psnr"), 1),
    ("round trip", ("end", "round_trip_psnr"), 1),
    ("end SSIM", ("end", "ssim"), 3),
    ("Spearman", ("progress", "spearman"), 3),
    ("backtrack", ("progress", "backtrack"), 3),
    ("flicker", ("flicker",), 4),
    ("area/step", ("effective_changed_share",), 3),
    ("abrupt", ("abruptness",), 3),
    ("area/step between", ("between_keyframes", "effective_changed_share"), 3),
    ("abrupt between", ("between_keyframes", "abruptness"), 3),
    ("palette", ("palette_spread",), 2),
    ("t50 edges", ("stages", "edges"), 2),
    ("t50 colour", ("stages", "colour"), 2),
    ("t50 shading", ("stages", "shading"), 2),
    ("outlined", ("stages", "outline_share"), 2),
    ("IoU true", ("true_process", "change_region_iou"), 3),
    ("curve error", ("true_process", "progress_curve_error"), 3),
)
EXPLANATION = """\
* area/step: effective share of the changed area that takes part in a step (small = local); abrupt: part of
  the pixels' change that falls into their two largest steps (1 = at once); between: inside the clips between
  keyframes.
* palette: share of the colours' variance inside single steps (1 = the whole palette all the time).
* t50: film time at which half of the edges, flat colour, shading is there; outlined: part of the edges that
  are outlines. Null baselines, in italics, are means over the films. – : not measured."""


def lookup(figures: dict[str, Any], path: Sequence[str]) -> Any:
    """The value at a path of keys, None where any part is missing."""
    value: Any = figures
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def quality_table(report: dict[str, Any]) -> str:
    """Markdown of a report of eval/quality.py; columns in which nothing was measured are left out."""
    films = report["films"]
    columns = [c for c in COLUMNS if any(lookup(f, c[1]) is not None for f in films.values())]

    def row(name: str, group: list[dict[str, Any]], last: str) -> list[str]:
        cells = []
        for _, path, digits in columns:
            known = [v for v in (lookup(figures, path) for figures in group) if v is not None]
            cells.append(number(sum(known) / len(known) if known else None, digits))
        return [name, *cells, last]

    rows = []
    for name, figures in films.items():
        failed = [check for check, met in figures["checks"].items() if met is False and check != "all"]
        rows.append(row(name, [figures], ", ".join(failed) if failed else "yes"))
    if len(films) > 1:
        met = sum(figures["checks"]["all"] is True for figures in films.values())
        rows.append(row("**mean**", list(films.values()), f"{met} of {len(films)}"))
    for name in dict.fromkeys(name for figures in films.values() for name in figures["baselines"]):
        group = [f["baselines"][name] for f in films.values() if name in f["baselines"]]
        rows.append(row(f"*{name.replace('_', ' ')}*", group, ""))
    header = ["film", *(title for title, _, _ in columns), "meets all, or fails"]
    lines = [markdown(header, rows), "", EXPLANATION]
    lines += [f"* diversity of {', '.join(g['films'])}: {number(g['diversity'])}" for g in report["diversity"]]
    if networks := report.get("networks"):
        means = (
            (name, np.mean(value) if isinstance(value, list) else value)
            for name, value in networks.items()
            if name != "films"
        )
        known = ", ".join(f"{name} {number(float(value), 4)}" for name, value in means if value is not None)
        lines.append(f"* by networks, {len(networks['films'])} films against truth: {known}")
    return "\n".join(lines)
