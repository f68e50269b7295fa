"""What the published code takes for the default film, and the table that puts ours beside it."""

from typing import Any

from support.stopwatch import Part
from support.tables import markdown, number

PUBLISHED: dict[str, dict[str, float]] = {
    "keyframes": {"seconds": 5.47, "peak_GiB": 3.94},
    "one pair, all its parts": {"seconds": 12.35, "peak_GiB": 6.38},
    "whole film": {"seconds": 92.0, "peak_GiB": 6.4},
}
PUBLISHED_ON = (
    "Published: the published code on one NVIDIA H200, float16, SDPA in place of xformers, random weights, "
    "default settings."
)


def comparison(report: dict[str, Any], parts: dict[str, Part], comparable: bool) -> str:
    """Markdown: seconds and peak memory of every part (the fastest of the runs) beside the published
    code's."""
    rows = []
    rates, baseline = report.get("rates") or {}, report.get("baseline") or {}
    for name, part in parts.items():
        row = [name, number(part.seconds, 2), number(part.peak_GiB, 2)]
        if rates:
            rate = rates.get(name)
            row += ["–"] * 2 if rate is None else [number(rate["tflops"], 1), _percent(rate["share_of_matrix_rate"])]
        if baseline:
            earlier = baseline.get(name, {}).get("seconds")
            row += [number(earlier, 2), number(earlier / part.seconds if earlier else None, 2)]
        if comparable:
            theirs = PUBLISHED.get(name, {})
            row += [number(theirs.get("seconds"), 2), number(theirs.get("peak_GiB"), 2)]
            row.append(number(theirs["seconds"] / part.seconds, 2) if theirs else "–")
        rows.append(row)
    header = ["part", "seconds", "peak GiB"]
    header += ["TFLOP/s", "of matrix rate"] if rates else []
    header += ["baseline s", "times as fast as it"] if baseline else []
    if comparable:
        header += ["published s", "published GiB", "times as fast"]
    settings, size = report["settings"], report["keyframes"]
    kind = "published sizes" if settings["full_size"] else "smallest sizes"
    lines = [
        markdown(header, rows),
        "",
        f"{settings['models']} weights, {kind}, keyframes {size['width']}x{size['height']}, "
        f"{report['dtype']} on {report['machine']['device_name']} ({report['machine']['device']}), "
        f"torch {report['versions']['torch']}; networks wait on {report['networks_wait_on']}; "
        f"fastest of {len(report['runs'])}. Peak: largest memory allocated by torch on the GPU.",
    ]
    if rates:
        lines.append(
            "TFLOP/s: operations of the plain algorithm (every step, both passes of guidance) a second, and their "
            f"share of the device's rate of matrix products, {number(report['matrix_tflops'], 2)} TFLOP/s, measured "
            "by the same run."
        )
    if comparable:
        lines.append(PUBLISHED_ON)
    return "\n".join(lines)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
