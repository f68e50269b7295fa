"""The measured parts of a card of models: films, the frozen test set, and what pictures leave open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from support.pair_table import VERDICT, cell
from support.quality_summary import TITLES, lookup
from support.tables import markdown, number

Figures = Mapping[str, Any]
PARTS = {
    name: (f"<!-- {name}: written by eval/card.py -->", f"<!-- end of {name} -->")
    for name in ("films", "frozen", "open")
}
NULLS = {"faded_keyframes": "*keyframes cross-faded into each other*", "cross_fade": "*one cross-fade*"}
WANTED = {
    **dict.fromkeys(
        ("progress_curve_error", "change_region_iou", "stage_order_error", "abruptness", "locality"), "intervals apart"
    ),
    "calibration_error": "intervals apart, at most 60",
    "interpolation_gain": "intervals apart, at least 3",
    "end_psnr": "",
    "end_below_ceiling": "at most 1",
}
"""Measures in the card's table of the frozen set, and what is wanted of each."""


def films_part(films: Mapping[str, Figures]) -> str:
    """Table of films with figures as quality.py has them, their mean nulls, and how many meet every check."""
    header = [
        "film",
        "first frame: mean, white",
        "last frame against the picture, dB (autoencoder's round trip)",
        "Spearman",
        "backtrack",
        "abruptness between keyframes",
        "area per step between keyframes",
        "checks",
    ]
    rows = []
    for name, film in films.items():
        start, end = film["start"], film["end"]
        failed = [check for check, met in film["checks"].items() if met is False and check != "all"]
        rows.append(
            [
                name,
                f"{number(start['mean'])}, {100 * start['white_share']:.0f} %",
                f"{number(end['psnr'], 1)} ({number(end['round_trip_psnr'], 1)})",
                *_course([film]),
                "meets all" if not failed else f"fails {', '.join(f'`{check}`' for check in failed)}",
            ]
        )
    for null, title in NULLS.items():
        rows.append([title, "", "", *_course([film["baselines"][null] for film in films.values()]), ""])
    good = sum(film["checks"]["all"] is True for film in films.values())
    spearman, _, abruptness, area = _course(list(films.values()))
    return "\n".join(
        [
            markdown(header, rows),
            "",
            f"{good} of {len(films)} meet every check. Means: Spearman {spearman}, abruptness {abruptness}, area "
            f"per step {area}.",
        ]
    )


def _course(films: list[Figures]) -> list[str]:
    places = (
        ("progress", "spearman"),
        ("progress", "backtrack"),
        ("between_keyframes", "abruptness"),
        ("between_keyframes", "effective_changed_share"),
    )
    found = [[lookup(film, *place) for film in films] for place in places]
    means = [None if None in values else sum(values) / len(values) for values in found]
    return [number(value, digits) for value, digits in zip(means, (3, 3, 2, 2), strict=True)]


def frozen_part(differences: Mapping[str, Figures]) -> str:
    """Table of `quality_summary.compare`: both runs, whether their intervals lie apart, and what is wanted."""
    rows = []
    for measure, wanted in WANTED.items():
        if (found := differences.get(measure)) is None:
            continue
        title, better, digits = TITLES[measure]
        lie = "apart" if found["apart"] is not None else "overlap"
        rows.append(
            [
                f"{title} {'↓ ↑'[better + 1]}",
                *(cell(found[run], digits, True) for run in ("ours", "theirs")),
                lie,
                f"{cell(found, digits, True)}: {VERDICT[found['better']]}",
                wanted,
            ]
        )
    subjects = max(int(found["subjects"]) for found in differences.values())
    header = ["", "this edition", "first edition", "intervals", "difference of pairs", "wanted"]
    return "\n".join([markdown(header, rows), "", f"Means over {subjects} subjects with 95 % bootstrap intervals."])


def open_part(states: Figures, clips: Figures) -> str:
    """Table of what was drawn with several seeds: against the truth, against each other, and the mean of all."""
    count = clips["settings"]["clip_seeds"]
    rows = []
    for run, measures in (
        (states, ("calibration_error", "calibration_psnr")),
        (clips, ("interpolation_psnr", "interpolation_gain")),
    ):
        for measure in measures:
            found, (title, better, digits) = run["summary"][measure], TITLES[measure]
            columns = ("film", "between_seeds", "mean_of_seeds", "cross_fade")
            cells = [cell(found.get(row), digits, True) for row in columns]
            rows.append([f"{title} {'↓ ↑'[better + 1]}", *cells])
    header = ["", "to the truth", "of two seeds to each other", f"mean of {count} seeds, to the truth", "cross-fade"]
    subjects = [
        int(run["summary"][measure]["film"]["subjects"])
        for run, measure in ((states, "calibration_error"), (clips, "interpolation_psnr"))
    ]
    said = f"Means over {subjects[0]} subjects (states) and {subjects[1]} (frames between), 95 % bootstrap intervals."
    return "\n".join([markdown(header, rows), "", said])
