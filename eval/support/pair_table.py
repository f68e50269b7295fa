"""Tables of measurements over many processes: means with intervals beside null baselines, and two runs compared."""

from collections.abc import Mapping
from typing import Any

from support.quality_summary import TITLES
from support.tables import markdown, number

EXPLANATION = """\
Means over subjects with 95 % bootstrap intervals; ↑ higher is better, ↓ lower. Null baselines are made of each film's
own pictures (those of operation steps: of the finished picture). – : not measured."""


def pair_table(summary: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Markdown: a row a measure; the film, the truth and the autoencoder's ceiling, then every null baseline."""
    rows = dict.fromkeys(row for found in summary.values() for row in found)
    first = [row for row in ("film", "truth", "ceiling", "keyframe") if row in rows]
    columns = first + [row for row in rows if row not in first]
    lines = []
    for measure, found in summary.items():
        title, better, digits = TITLES[measure]
        cells = [_cell(found.get(column), digits, column == "film") for column in columns]
        lines.append([f"{title} {'↓·↑'[better + 1]}".rstrip(" ·"), *cells])
    header = ["measure", *(column.replace("_", " ") for column in columns)]
    return "\n".join([markdown(header, lines), "", EXPLANATION])


def comparison_table(differences: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown of `quality_summary.compare`."""
    verdict = {True: "better", False: "worse", None: "no difference shown"}
    rows = []
    for measure, found in differences.items():
        title, better, digits = TITLES[measure]
        said = "" if better == 0 else verdict[found["better"]]
        rows.append([title, _cell(found, digits, True), str(int(found["subjects"])), said])
    return markdown(["measure", "difference", "subjects", "this run is"], rows)


def failure_table(failed: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown of `process_run.failures`."""
    rows = []
    for name, found in failed.items():
        checks = ", ".join(f"{check} {times}" for check, times in sorted(found["checks"].items(), key=lambda c: -c[1]))
        rows.append([name.replace("_", " "), f"{found['failed']} of {found['count']}", checks or "–"])
    return markdown(["film", "fail a check", "which, how often"], rows)


def _cell(found: Mapping[str, Any] | None, digits: int, interval: bool) -> str:
    if found is None:
        return "–"
    mean = number(found["mean"], digits)
    return f"{mean} [{number(found['low'], digits)}, {number(found['high'], digits)}]" if interval else mean
