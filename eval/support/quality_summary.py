"""What measurements of many processes come to: means with intervals over subjects, beside the null baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from paintsundo.metrics.bootstrap import Interval, bootstrap, paired_difference

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Measure:
    """A number of every process. `place`: where it lies in the figures of a film; `better`: +1 higher, −1 lower, 0
    neither."""

    name: str
    title: str
    place: tuple[str, ...]
    better: int
    digits: int = 3


FILM = (
    Measure("progress_curve_error", "progress-curve error", ("true_process", "progress_curve_error"), -1),
    Measure("change_region_iou", "change-region IoU", ("true_process", "change_region_iou"), +1),
    Measure("stage_order_error", "stage order error", ("true_process", "stage_order_error"), -1),
    Measure("abruptness", "abruptness", ("abruptness",), +1),
    Measure("locality", "area per step", ("effective_changed_share",), -1),
    Measure("abruptness_between", "abruptness between keyframes", ("between_keyframes", "abruptness"), +1),
    Measure("locality_between", "area per step between", ("between_keyframes", "effective_changed_share"), -1),
    Measure("palette_spread", "palette spread", ("palette_spread",), -1),
    Measure("monotonicity", "Spearman of progress", ("progress", "spearman"), +1),
    Measure("backtrack", "backtrack", ("progress", "backtrack"), -1),
    Measure("flicker", "flicker", ("flicker",), -1, 4),
    Measure("line_before_colour", "line before colour", ("stages", "line_before_colour"), 0),
    Measure("start_white", "white at the start", ("start", "white_share"), +1),
    Measure("end_psnr", "end PSNR", ("end", "psnr"), +1, 2),
    Measure("end_ssim", "end SSIM", ("end", "ssim"), +1),
)
OTHERS: dict[str, tuple[str, int, int, dict[str, Callable[[Figures], Any]]]] = {
    "calibration_error": (
        "operation-step error (of 1000)",
        -1,
        1,
        {
            "film": lambda f: lookup(f, "calibration", "error"),
            "between_seeds": lambda f: lookup(f, "calibration", "between_seeds", "error"),
        },
    ),
    "calibration_psnr": (
        "PSNR of states",
        +1,
        2,
        {
            "film": lambda f: _mean(lookup(f, "calibration", "psnr")),
            "between_seeds": lambda f: lookup(f, "calibration", "between_seeds", "psnr"),
        },
    ),
    "step_slope": (
        "steps shown for each step asked",
        0,
        2,
        {"film": lambda f: lookup(f, "calibration", "slope")},
    ),
    "interpolation_psnr": (
        "interpolation PSNR",
        +1,
        2,
        {
            "film": lambda f: lookup(f, "interpolation", "ours"),
            "cross_fade": lambda f: lookup(f, "interpolation", "cross_fade"),
            "ceiling": lambda f: lookup(f, "interpolation", "ceiling"),
            "mean_of_seeds": lambda f: lookup(f, "interpolation", "mean_of_seeds"),
            "between_seeds": lambda f: lookup(f, "interpolation", "between_seeds"),
        },
    ),
    "interpolation_gain": (
        "interpolation over cross-fade, dB",
        +1,
        2,
        {
            "film": lambda f: _less(lookup(f, "interpolation", "ours"), lookup(f, "interpolation", "cross_fade")),
            "mean_of_seeds": lambda f: _less(
                lookup(f, "interpolation", "mean_of_seeds"), lookup(f, "interpolation", "cross_fade")
            ),
        },
    ),
    "end_below_ceiling": (
        "end below the autoencoder's ceiling, dB",
        -1,
        2,
        {"film": lambda f: _less(lookup(f, "ceilings", "video"), lookup(f, "film", "end", "psnr"))},
    ),
    "ceiling_psnr": (
        "autoencoder's round trip",
        +1,
        2,
        {"film": lambda f: lookup(f, "ceilings", "video"), "keyframe": lambda f: lookup(f, "ceilings", "keyframe")},
    ),
    "seconds": ("seconds a film", -1, 2, {"film": lambda f: _film_seconds(f)}),
}
TITLES = {m.name: (m.title, m.better, m.digits) for m in FILM} | {n: o[:3] for n, o in OTHERS.items()}


def lookup(figures: Any, *path: str) -> Any:
    """The value at a path of keys, None where any part is missing."""
    for key in path:
        figures = figures.get(key) if isinstance(figures, Mapping) else None
    return figures


def values_of(processes: Mapping[str, Figures]) -> dict[str, dict[str, dict[str, float]]]:
    """measure → row ("film", "truth", a baseline's name, "ceiling") → process → value; what was measured only."""
    found: dict[str, dict[str, dict[str, float]]] = {}

    def put(measure: str, row: str, name: str, value: Any) -> None:
        if value is not None:
            found.setdefault(measure, {}).setdefault(row, {})[name] = float(value)

    for name, figures in processes.items():
        rows = {"film": figures.get("film"), "truth": figures.get("truth"), **(figures.get("baselines") or {})}
        for measure in FILM:
            for row, film in rows.items():
                put(measure.name, row, name, lookup(film, *measure.place))
        for measure_name, (_, _, _, others) in OTHERS.items():
            for row, read in others.items():
                put(measure_name, row, name, read(figures))
        for null, reading in (lookup(figures, "calibration", "baselines") or {}).items():
            put("calibration_error", null, name, reading["error"])
            put("calibration_psnr", null, name, _mean(reading["psnr"]))
    return found


def summarise(processes: Mapping[str, Figures]) -> dict[str, dict[str, dict[str, Any]]]:
    """measure → row → {"mean", "low", "high", "subjects"}: means over subjects with 95 % bootstrap intervals."""
    subjects = {name: figures["subject"] for name, figures in processes.items()}
    return {
        measure: {row: _plain(bootstrap(list(v.values()), [subjects[n] for n in v])) for row, v in rows.items()}
        for measure, rows in values_of(processes).items()
    }


def summarise_groups(processes: Mapping[str, Figures]) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """group (the set a process came from) → `summarise` of its processes; groups by name."""
    groups: dict[str, dict[str, Figures]] = {}
    for name, figures in processes.items():
        groups.setdefault(str(figures["group"]), {})[name] = figures
    return {group: summarise(groups[group]) for group in sorted(groups)}


def apart(first: Mapping[str, Any], second: Mapping[str, Any], better: int) -> bool | None:
    """Of two means with intervals: True or False where the intervals do not overlap and the first is the better or the
    worse one (`better` as of a `Measure`); None where they overlap or the measure has no good side."""
    if better == 0 or (first["low"] <= second["high"] and second["low"] <= first["high"]):
        return None
    return bool((first["mean"] - second["mean"]) * better > 0)


def compare(ours: Mapping[str, Figures], theirs: Mapping[str, Figures]) -> dict[str, dict[str, Any]]:
    """measure → mean difference ours − theirs over the processes that both runs measured, its 95 % interval, and
    `better`: True, False, or None where the interval holds 0 or the measure has no good side. `ours`, `theirs`: the
    means with intervals of both, and `apart`: `apart` of these."""
    subjects = {name: figures["subject"] for name, figures in ours.items()}
    first, second = values_of(ours), values_of(theirs)
    both = ours.keys() & theirs.keys()
    means = [summarise({n: f for n, f in run.items() if n in both}) for run in (ours, theirs)] if both else [{}, {}]
    found = {}
    for measure in first:
        mine, other = first[measure].get("film", {}), second.get(measure, {}).get("film", {})
        interval = paired_difference(mine, other, subjects)
        if interval is not None:
            sign = TITLES[measure][1]
            decided = sign != 0 and not interval.low <= 0 <= interval.high
            one, two = (mean[measure]["film"] for mean in means)
            found[measure] = {
                **_plain(interval),
                "better": (interval.mean * sign > 0) if decided else None,
                "ours": one,
                "theirs": two,
                "apart": apart(one, two, sign),
            }
    return found


def _plain(interval: Interval | None) -> dict[str, Any]:
    assert interval is not None
    return {key: round(value, 6) for key, value in interval._asdict().items()}


def _mean(values: Any) -> float | None:
    return sum(values) / len(values) if values else None


def _less(first: Any, second: Any) -> float | None:
    return None if first is None or second is None else first - second


def _film_seconds(figures: Figures) -> float | None:
    seconds = figures.get("seconds") or {}
    return seconds["keyframes"] + seconds["video"] if {"keyframes", "video"} <= set(seconds) else None
