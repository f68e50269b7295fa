"""`show` and `stats`: a data set seen as pictures, as a film, as a page, or as numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from paintsundo import settings
from paintsundo.data import shards
from paintsundo.data.process import DrawingProcess
from paintsundo.errors import UserError

SHEETS = (".png", ".jpg", ".jpeg", ".webp")
KINDS = f"{', '.join(SHEETS)} (contact sheet), .mp4 (film of one process), .html (report)"
SHOW = {
    "data": None,
    "input": None,
    "output": None,
    "first": None,
    "count": None,
    "split": None,
    "states": "12",
    "side": None,
    "captions": "true",
    "frames": "150",
    "fps": "24",
    "workers": None,
    "overwrite": "false",
}
STATS = {"data": None, "input": None, "json": "false", "sampled": "200", "workers": None, "overwrite": "false"}


def show(arguments: Sequence[str]) -> int:
    """Write what the suffix of `output` names: a contact sheet, the film of a process, or a page about the data set.

    Exit status 0. Raises UserError for impossible options and where `output` exists already.
    """
    found = _options(arguments, SHOW)
    dataset, output = _dataset(found), found["output"]
    if output is None:
        raise UserError("say output=FILE")
    kinds: dict[str, Callable[[str, Path, dict[str, str | None]], str]] = {
        **dict.fromkeys(SHEETS, _sheet),
        ".mp4": _film,
        ".html": _page,
    }
    suffix = Path(output).suffix.lower()
    if suffix not in kinds:
        raise UserError(f"output={output}: choose a name that ends in {KINDS}")
    shards.read_manifest(dataset)
    with _replacing(Path(output), _flag(found, "overwrite")) as place:
        told = kinds[suffix](dataset, place, found)
    print(f"{told}: {output}")
    return 0


def stats(arguments: Sequence[str]) -> int:
    """Print numbers about a data set, for people or (`json=true`) as JSON, or write JSON to the file json=FILE.

    Exit status 0. Raises UserError for impossible options and where the file exists already.
    """
    from paintsundo.data.report.numbers_text import text
    from paintsundo.data.report.statistics import statistics

    found = _options(arguments, STATS)
    dataset, wanted = _dataset(found), found["json"] or "false"
    file = None if wanted.lower() in ("true", "false") else Path(wanted)
    if file is not None:
        _check_free(file, _flag(found, "overwrite"))
    numbers = statistics(dataset, _whole(found, "sampled", 0) or 0, _whole(found, "workers"), progress=True)
    if file is not None:
        with _replacing(file, _flag(found, "overwrite")) as place:
            place.write_text(json.dumps(numbers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{numbers['samples']} processes: {file}")
    elif wanted.lower() == "true":
        print(json.dumps(numbers, indent=1, ensure_ascii=False))
    else:
        print(text(numbers, dataset))
    return 0


def _sheet(dataset: str, place: Path, found: dict[str, str | None]) -> str:
    from paintsundo.data.report.contact_sheet import contact_sheet

    side, states = _whole(found, "side", 8) or 128, _whole(found, "states", 2) or 12
    shown = _processes(dataset, found, _whole(found, "count") or 12)
    contact_sheet(shown, states, side, _flag(found, "captions")).save(place)
    return f"{len(shown)} processes"


def _film(dataset: str, place: Path, found: dict[str, str | None]) -> str:
    from paintsundo.data.report.process_film import write_film

    frames, fps = _whole(found, "frames", 2) or 150, _number(found, "fps")
    side = _whole(found, "side", 32) or 512
    if _whole(found, "count") not in (None, 1):
        raise UserError("a film shows one process: leave count= out, and choose the process with first=")
    (process,) = _processes(dataset, found, 1)
    return f"{write_film(process, place, frames, fps, side)} frames"


def _page(dataset: str, place: Path, found: dict[str, str | None]) -> str:
    from paintsundo.data.report.html_report import html_report

    if found["split"] is not None:
        raise UserError("a report is about the whole data set: leave split= out")
    count, workers = _whole(found, "count", 0), _whole(found, "workers")
    page = html_report(dataset, 24 if count is None else count, _whole(found, "first", 0), workers, progress=True)
    place.write_text(page, encoding="utf-8")
    return f"report of {len(page) / 1024:.0f} KiB"


def _processes(dataset: str, found: dict[str, str | None], count: int) -> list[DrawingProcess]:
    """The processes to show. Raises UserError when one is damaged or there is none."""
    from paintsundo.data.report.records import processes

    first = _whole(found, "first", 0) or 0
    shown = []
    for number, key, process in processes(dataset, range(first, first + count), found["split"]):
        if isinstance(process, str):
            raise UserError(f"process {number} ({key}) {process}")
        shown.append(process)
    if not shown:
        raise UserError(f"{dataset} has no process number {first}")
    return shown


def _options(arguments: Sequence[str], known: dict[str, str | None]) -> dict[str, str | None]:
    literals, others = settings.split_literals(arguments, known)
    if others:
        names = ", ".join(name for name in known if name != "input")
        raise UserError(f"unknown option {others[0].partition('=')[0]}; the options are {names}")
    return {**known, **literals}


def _dataset(found: dict[str, str | None]) -> str:
    dataset = found["data"] or found["input"]
    if not dataset:
        raise UserError("say data=DATASET")
    return dataset


def _whole(found: dict[str, str | None], name: str, least: int = 1) -> int | None:
    value = found[name]
    if value is None:
        return None
    if not value.lstrip("-").isdecimal():
        raise UserError(f"{name}={value} is not a whole number")
    if int(value) < least:
        raise UserError(f"{name}={value}: choose at least {least}")
    return int(value)


def _number(found: dict[str, str | None], name: str) -> float:
    try:
        value = float(found[name] or "")
    except ValueError:
        raise UserError(f"{name}={found[name]} is not a number") from None
    if not 0.1 <= value <= 240:
        raise UserError(f"{name}={found[name]}: choose 0.1 to 240")
    return value


def _flag(found: dict[str, str | None], name: str) -> bool:
    value = (found[name] or "false").lower()
    if value not in ("true", "false"):
        raise UserError(f"{name}={found[name]}: choose true or false")
    return value == "true"


def _check_free(file: Path, overwrite: bool) -> None:
    if file.is_dir():
        raise UserError(f"{file} is a folder: give the name of a file")
    if file.exists() and not overwrite:
        raise UserError(f"{file} exists already; choose another name or say overwrite=true")
    if not file.absolute().parent.is_dir():
        raise UserError(f"{file.parent} is no folder")


@contextmanager
def _replacing(file: Path, overwrite: bool) -> Iterator[Path]:
    """A name beside `file` to write to; it becomes `file` only if the block ends well."""
    _check_free(file, overwrite)
    temporary = file.with_name(f".{file.stem}.part{file.suffix}")
    try:
        yield temporary
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
