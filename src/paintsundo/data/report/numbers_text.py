"""Statistics of a data set as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

LONGEST = 12  # entries of a list
BAR = 40  # characters


def text(numbers: Mapping[str, Any], name: str) -> str:
    """What `statistics` returns, in lines of text."""
    return "\n".join(_printable(line) for line in _lines(numbers, name))


def size(count: float) -> str:
    """Bytes in a unit that suits them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _printable(line: str) -> str:
    return "".join(letter if letter.isprintable() else "�" for letter in line)


def _lines(numbers: Mapping[str, Any], name: str) -> Iterator[str]:
    samples = max(numbers["samples"], 1)
    yield f"{name}: {numbers['samples']:,} processes of {numbers['subjects']:,} subjects"
    yield f"  {numbers['shards']} shards, {size(numbers['bytes'])}, {size(numbers['bytes'] / samples)} a process"
    if numbers["promised"] != numbers["samples"]:
        yield f"  the manifest promises {numbers['promised']:,} processes"
    if numbers["damaged"]:
        yield from _list("damaged", dict.fromkeys(numbers["damaged"], 1), counted=False)
    yield from _list(f"{numbers['rejected']:,} rejected", numbers["reasons"])
    for title, key in (
        ("splits", "splits"),
        ("form", "kinds"),
        ("sizes", "sizes"),
        ("licences", "licences"),
        ("authors", "authors"),
        ("orders of stages", "stage_orders"),
        ("stages", "stages"),
        ("behaviours", "behaviours"),
    ):
        yield from _list(title, numbers[key])
    yield from _table("sets", numbers["sets_by_split"], list(numbers["splits"]))
    yield from _list(f"{numbers['different_tags']:,} different tags", numbers["tags"])
    for name_, spread in numbers["lengths"].items():
        yield f"length in {name_}: {spread['least']} to {spread['most']}, median {spread['median']}"
    change = numbers["change"]
    if change["processes_measured"]:
        yield f"change, of {change['processes_measured']} processes:"
        yield f"  painted: {change['painted_area_in_canvases']:.2f} times the canvas"
        largest = change["largest_step_share_of_canvas"]
        yield f"  in the largest of {change['states_compared']} steps: {largest:.1%} of it"
        yield "  changed share of the canvas by operation step (0 = finished):"
        yield from _histogram(change["changed_area_by_step"], "{:.2%}")
        if any(change["states_by_step"].values()):
            yield "  states by operation step:"
            yield from _histogram(change["states_by_step"], "{:,}")
    yield from _list("work rules", numbers["work_rules"])


def _list(title: str, counts: Mapping[str, int], counted: bool = True) -> Iterator[str]:
    if not counts:
        return
    yield f"{title}:"
    width = max(len(f"{number:,}") for number in counts.values())
    for value, number in list(counts.items())[:LONGEST]:
        yield f"  {number:>{width},}  {value}" if counted else f"  {value}"
    if len(counts) > LONGEST:
        yield f"  … and {len(counts) - LONGEST:,} more"


def _table(title: str, rows: Mapping[str, Mapping[str, int]], columns: list[str]) -> Iterator[str]:
    if not rows:
        return
    yield f"{title}:"
    widths = [max(len(column), 9) for column in columns]
    yield "  " + " ".join(f"{column:>{width}}" for column, width in zip(columns, widths, strict=True))
    ordered = sorted(rows.items(), key=lambda row: -sum(row[1].values()))
    for value, cells in ordered[:LONGEST]:
        numbers = " ".join(f"{cells.get(column, 0):>{width},}" for column, width in zip(columns, widths, strict=True))
        yield f"  {numbers}  {value}"
    if len(rows) > LONGEST:
        yield f"  … and {len(rows) - LONGEST:,} more"


def _histogram(bins: Mapping[str, float], form: str) -> Iterator[str]:
    most = max(bins.values()) or 1
    for name, value in bins.items():
        yield f"  {name:>8} {form.format(value):>8} {'█' * round(BAR * value / most)}".rstrip()
