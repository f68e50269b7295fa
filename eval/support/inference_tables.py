"""Tables of what `benchmark.py inference modes=[…]` measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from support.film_parts import WHOLE
from support.inference_modes import scaling
from support.tables import markdown, number

PARTS = ("keyframes", "in-between frames", "decoding", WHOLE)
Rows = Sequence[Mapping[str, Any]]


def mode_table(report: Mapping[str, Any]) -> str:
    """Markdown of one mode's figures, failures in words below it."""
    rows, mode = report["rows"], report["mode"]
    own = {"agreement": agreement_table, "cold": cold_table, "devices": device_table, "memory": memory_table}
    table = own.get(mode, film_table)(rows)
    failures = [f"{found['name']}: {found['error']}" for found in rows if found["error"] is not None]
    return "\n".join([table, *([""] if failures else []), *failures])


def _seconds(found: Mapping[str, Any], part: str) -> float | None:
    return None if found["error"] is not None else found["seconds"][part]


def _faster(rows: Rows, found: Mapping[str, Any]) -> str:
    first, own = _seconds(rows[0], WHOLE), _seconds(found, WHOLE)
    return number(first / own if first and own else None, 2)


def _db(found: Mapping[str, Any]) -> list[str]:
    psnr = found.get("psnr_db")
    return [number(psnr[key], 1) for key in ("mean", "least")] if psnr else ["–", "–"]


def film_table(rows: Rows) -> str:
    """Of ladder and fast: parts, peak, times as fast as the first row, PSNR to its film."""
    cells = [
        [
            found["name"],
            *(number(_seconds(found, part), 2) for part in PARTS),
            number(found.get("peak_GiB"), 2),
            _faster(rows, found),
            *_db(found),
        ]
        for found in rows
    ]
    return markdown(["", *(f"{part}, s" for part in PARTS), "peak GiB", "times as fast", "mean dB", "least dB"], cells)


def agreement_table(rows: Rows) -> str:
    """Relative errors of clips' latents against float32, and PSNR of both films to each other."""
    cells = [
        [found["name"], f"{found['plain_error']:.2e}", f"{found['default_error']:.2e}", *_db(found)]
        for found in rows
        if found["error"] is None
    ]
    return markdown(["window", "error of the plain path", "of the default path", "mean dB", "least dB"], cells)


def cold_table(rows: Rows) -> str:
    """Seconds from the start of a process until its packages were imported, and until the film lay on disk."""
    cells = [[f["name"], number(f["marks"].get("imported"), 1), number(_seconds(f, WHOLE), 1)] for f in rows]
    return markdown(["process", "imported after, s", "film on disk after, s"], cells)


def memory_table(rows: Rows) -> str:
    """Seconds and peaks under each cap, PSNR to the film without one."""
    cells = [
        [
            found["name"],
            number(_seconds(found, WHOLE), 2),
            number(found.get("peak_GiB"), 2),
            number((found.get("memory") or {}).get("reserved_GiB"), 2),
            *_db(found),
        ]
        for found in rows
    ]
    return markdown(["cap", "whole film, s", "peak GiB", "reserved GiB", "mean dB", "least dB"], cells)


def device_table(rows: Rows) -> str:
    """Seconds on so many devices, times as fast as on one, share of perfect scaling, grey levels of difference."""
    cells = [
        [
            found["name"],
            str(found["devices"]),
            str(found["films"]),
            number(found.get("working_seconds"), 2),
            number(found["times"], 2),
            "–" if found["efficiency"] is None else f"{100 * found['efficiency']:.0f} %",
            number(found.get("largest_difference")),
        ]
        for found in scaling(rows)
    ]
    return markdown(
        ["", "devices", "films", "s after imports", "times as fast", "of perfect", "largest difference"], cells
    )
