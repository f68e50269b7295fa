"""One static page about a data set: numbers, licences, what was rejected and why, and pictures of its processes.

The page holds everything it shows, asks no other place for anything (its content policy forbids it), and runs no
scripts. All text from the data set is escaped by the template engine.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader
from PIL import Image

from paintsundo.data import shards
from paintsundo.data.frames import FrameProcess
from paintsundo.data.process import DrawingProcess, Span, step_of_work
from paintsundo.data.report import records
from paintsundo.data.report.bands import UNKNOWN, colour
from paintsundo.data.report.contact_sheet import thumbnail
from paintsundo.data.report.numbers_text import size
from paintsundo.data.report.statistics import described, summarise

TEMPLATE = "page.html"
STATES = 9  # of each process shown
SIDE = 104  # pixels of a state
LISTED = 500  # rejected items named one by one
LONGEST = 30  # entries of a list of counts
GAP = 3


def html_report(
    dataset: str | Path, count: int = 24, first: int | None = None, workers: int | None = None, progress: bool = False
) -> str:
    """The page. `count` processes are shown: evenly chosen, or from number `first` on.

    Raises UserError when there is no such data set.
    """
    manifest = shards.read_manifest(dataset)
    numbers = described(summarise(dataset, workers=workers, progress=progress), manifest, dataset)
    total = numbers["promised"]
    shown = records.evenly(total, count) if first is None else list(range(first, min(first + count, total)))
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(size=size, thousands=lambda number: f"{number:,}", percent=lambda part: f"{part:.2%}")
    return environment.get_template(TEMPLATE).render(
        name=Path(dataset).resolve().name,
        manifest=manifest,
        numbers=numbers,
        lists=_lists(numbers),
        longest=LONGEST,
        tables=[("Sets", numbers["sets_by_split"]), ("Licences", numbers["licences_by_split"])],
        histograms=list(_histograms(numbers)),
        processes=[_shown(*found) for found in records.processes(dataset, shown)],
        rejected=list(islice(records.rejected(dataset), LISTED)),
    )


def _lists(numbers: dict[str, Any]) -> list[tuple[str, dict[str, int], int]]:
    """Title, counts and their number of the lists on the page."""
    titles = {
        "authors": "Authors",
        "stage_orders": "Orders of stages",
        "stages": "Stages",
        "behaviours": "Behaviours",
        "sizes": "Sizes",
        "kinds": "Form",
        "work_rules": "How work is counted",
        "versions": "Processing version",
    }
    found = [(title, numbers[key], len(numbers[key])) for key, title in titles.items()]
    found.append(("Tags", numbers["tags"], numbers["different_tags"]))
    return [entry for entry in found if entry[1]]


def _histograms(numbers: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, str, float]]]]:
    """Title, and label, value and height in percent of each bar."""
    for name, spread in numbers["lengths"].items():
        title = f"Length in {name}: {spread['least']} to {spread['most']}, median {spread['median']}"
        yield title, _bars(_binned(spread["counts"]), "{:,.0f}".format)
    change = numbers["change"]
    if change["processes_measured"]:
        of = f"mean of {change['processes_measured']:,} processes; left: finished, right: blank"
        title = f"Changed share of the canvas by operation step ({of})"
        yield title, _bars(change["changed_area_by_step"], "{:.2%}".format)
        if any(change["states_by_step"].values()):
            title = "Stored states by operation step, of the same processes"
            yield title, _bars(change["states_by_step"], "{:,.0f}".format)


def _binned(counts: dict[int, int], most: int = 40) -> dict[str, int]:
    """How many lengths lie in each of at most so many equal bins."""
    least, last = min(counts), max(counts)
    width = -(-(last - least + 1) // most)
    bins = dict.fromkeys(range(least, last + 1, width), 0)
    for value, number in counts.items():
        bins[least + (value - least) // width * width] += number
    return {str(low) if width == 1 else f"{low}-{low + width - 1}": number for low, number in bins.items()}


def _bars(values: dict[str, Any], text: Callable[[float], str]) -> list[tuple[str, str, float]]:
    most = max(values.values()) or 1
    return [(label, text(value), round(100 * value / most, 2)) for label, value in values.items()]


def _shown(number: int, key: str, process: DrawingProcess | str) -> dict[str, Any]:
    """What the page says of one process."""
    if isinstance(process, str):
        return {"number": number, "key": key, "fault": process}
    works = np.linspace(0, 1, STATES).tolist()
    strip = _strip([process.state(work) for work in works])
    bands = [
        (span.name, round(100 * (span.end - span.begin), 3), colour(span.name) if span.name else UNKNOWN)
        for span in _filled(process)
    ]
    length = f"{len(process)} states" if isinstance(process, FrameProcess) else f"{len(process.spans())} stages"
    return {
        "number": number,
        "key": key,
        "name": process.extra.get("name", ""),
        "source": process.source,
        "subject": process.subject,
        "licence": process.licence,
        "author": process.author,
        "split": process.extra.get("split", ""),
        "size": f"{process.size[1]} × {process.size[0]}",
        "length": length,
        "tags": process.tags,
        "behaviours": [behaviour.get("name", "") for behaviour in process.extra.get("behaviours", ())],
        "steps": [step_of_work(work) for work in works],
        "width": strip.width,
        "height": strip.height,
        "picture": _data_address(strip),
        "bands": bands,
    }


def _filled(process: DrawingProcess) -> Iterator[Span]:
    """The spans of a process with nothing left out between them."""
    at = 0.0
    for span in process.spans():
        if span.begin > at + 1e-3:
            yield Span("", at, span.begin)
        yield span._replace(begin=max(at, span.begin) if span.begin > at + 1e-3 else at)
        at = span.end
    if at < 1 - 1e-3:
        yield Span("", at, 1.0)


def _strip(states: Sequence[np.ndarray]) -> Image.Image:
    """States side by side, white between them."""
    cells = [thumbnail(state, SIDE) for state in states]
    width = sum(cell.width + GAP for cell in cells) - GAP
    strip = Image.new("RGB", (width, cells[0].height), "#e9ebee")
    for number, cell in enumerate(cells):
        strip.paste(cell, (number * (cell.width + GAP), 0))
    return strip


def _data_address(picture: Image.Image) -> str:
    """A picture as an address that holds it."""
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()
