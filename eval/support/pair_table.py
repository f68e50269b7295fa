"""Tables of measurements over many processes: means with intervals beside null baselines, and two runs compared."""

from collections.abc import Mapping
from typing import Any

from support.quality_summary import TITLES, apart
from support.tables import markdown, number

EXPLANATION = """\
Means over subjects with 95 % bootstrap intervals; ↑ higher is better, ↓ lower. Null baselines are made of each film's
own pictures (those of operation steps: of the finished picture). – : not measured. ✓ : the film is better and both
intervals lie apart; ✗ : the film is worse and they lie apart. Mean of seeds: of clips made several times, against the
truth; between seeds: two drawings of the same models against each other, as if one were the truth."""
VERDICT = {True: "better", False: "worse", None: "no difference shown"}
NO_NULLS = ("film", "truth", "ceiling", "keyframe", "mean_of_seeds", "between_seeds")
BY_GROUP = (
    *("progress_curve_error", "change_region_iou", "stage_order_error", "abruptness", "locality"),
    *("calibration_error", "interpolation_gain", "end_psnr", "end_below_ceiling"),
)


def pair_table(summary: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Markdown: a row a measure; the film, the truth and the autoencoder's ceiling, then every null baseline."""
    rows = dict.fromkeys(row for found in summary.values() for row in found)
    first = [row for row in NO_NULLS if row in rows]
    columns = first + [row for row in rows if row not in first]
    lines = []
    for measure, found in summary.items():
        title, better, digits = TITLES[measure]
        cells = [
            cell(found.get(column), digits, column == "film") + _verdict(found, column, better) for column in columns
        ]
        lines.append([f"{title} {'↓·↑'[better + 1]}".rstrip(" ·"), *cells])
    header = ["measure", *(column.replace("_", " ") for column in columns)]
    return "\n".join([markdown(header, lines), "", EXPLANATION])


def comparison_table(differences: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown of `quality_summary.compare`."""
    rows = []
    for measure, found in differences.items():
        title, better, digits = TITLES[measure]
        said = "" if better == 0 else VERDICT[found["better"]]
        lie = "" if better == 0 else "apart" if found["apart"] is not None else "overlapping"
        means = [cell(found[run], digits, True) for run in ("ours", "theirs")]
        rows.append([title, *means, lie, cell(found, digits, True), str(int(found["subjects"])), said])
    return markdown(
        ["measure", "this run", "the other", "intervals", "difference of pairs", "subjects", "this run is"], rows
    )


def group_table(groups: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]) -> str:
    """Markdown of `quality_summary.summarise_groups`: a row a group, the films' means with intervals."""
    measures = [name for name in BY_GROUP if any(name in summary for summary in groups.values())]
    rows = []
    for group, summary in groups.items():
        films = [summary.get(name, {}).get("film") for name in measures]
        subjects = max((int(film["subjects"]) for film in films if film), default=0)
        cells = [cell(film, TITLES[name][2], True) for name, film in zip(measures, films, strict=True)]
        rows.append([group, str(subjects), *cells])
    header = ["set", "subjects", *(f"{TITLES[name][0]} {'↓·↑'[TITLES[name][1] + 1]}" for name in measures)]
    return markdown(header, rows)


def failure_table(failed: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown of `process_run.failures`."""
    rows = []
    for name, found in failed.items():
        checks = ", ".join(f"{check} {times}" for check, times in sorted(found["checks"].items(), key=lambda c: -c[1]))
        rows.append([name.replace("_", " "), f"{found['failed']} of {found['count']}", checks or "–"])
    return markdown(["film", "fail a check", "which, how often"], rows)


def cell(found: Mapping[str, Any] | None, digits: int, interval: bool) -> str:
    """A mean, with its interval if wanted; "–" for what was not measured."""
    if found is None:
        return "–"
    mean = number(found["mean"], digits)
    return f"{mean} [{number(found['low'], digits)}, {number(found['high'], digits)}]" if interval else mean


def _verdict(found: Mapping[str, Mapping[str, Any]], column: str, better: int) -> str:
    if column in NO_NULLS or column not in found or "film" not in found:
        return ""
    return {True: " ✓", False: " ✗", None: ""}[apart(found["film"], found[column], better)]
