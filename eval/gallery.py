"""A page of films with the failures among them.

python eval/gallery.py films=FOLDER | models=PAIR pictures=FOLDER  output=DIR

films=FOLDER: films as infer.py writes them. models=bundled|official|PAIR pictures=FOLDER|PATTERN [overrides=[…]]: films
are made of these pictures, at their own proportions in the area of a square of side `size`.
Writes DIR/README.md and a strip a film. Nothing is chosen by hand: `most` films are shown, evenly over their names, and
the `worst` of all films by the rule on the page, though they were not among those. All strips together stay below
`megabytes`. note=TEXT_FILE: what is said under the title, such as where the pictures are from and their licences.
[title=…] [cells=8] [side=96] [most=12] [worst=3]
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from omegaconf import MISSING
from PIL import Image
from support.arguments import parse, run
from support.checks import check_film_figures, margins
from support.film_files import find_films
from support.tables import markdown, number
from tqdm import tqdm

from paintsundo.errors import UserError
from paintsundo.metrics import measure_film, null_baselines
from paintsundo.metrics.films import Film, at_times

Picture = NDArray[np.uint8]
RULE = """\
Films are taken evenly over their names. The worst are those with the largest sum, over all graded checks of \
`eval/support/checks.py`, of how far the film misses the limit, as a share of the limit, plus 1 for each check that it \
fails; they are shown whatever they look like."""
MADE = "Made by `python eval/gallery.py`; not written by hand."
QUALITIES = (85, 70, 55, 40)


@dataclass
class GallerySettings:
    """output: a folder, new or with a gallery in it. See the top of this file."""

    output: str = MISSING
    films: str | None = None
    models: str | None = None
    pictures: str | None = None
    overrides: list[str] = field(default_factory=list)
    title: str = "Films of pictures that were never trained on"
    note: str | None = None
    size: int = 256
    cells: int = 8
    side: int = 96
    most: int = 12
    worst: int = 3
    megabytes: float = 1.4


@dataclass
class Shown:
    """A film as it is shown: pictures of the strip, figures, and how far it misses the limits."""

    cells: Film
    picture: Picture | None
    figures: dict[str, Any]
    badness: float


def main(arguments: Sequence[str]) -> None:
    settings = parse(
        GallerySettings, arguments, literal_keys=("output", "films", "models", "pictures", "title", "note")
    )
    if (settings.films is None) == (settings.models is None or settings.pictures is None):
        raise UserError("films=FOLDER, or models=PAIR and pictures=FOLDER, must be given")
    for name in ("cells", "side", "most", "size"):
        if getattr(settings, name) < 2:
            raise UserError(f"{name}={getattr(settings, name)}: at least 2")
    note = None if settings.note is None else Path(settings.note)
    if note is not None and not note.is_file():
        raise UserError(f"note={note}: no such file")
    output = Path(settings.output)
    page = output / "README.md"
    if output.exists() and any(output.iterdir()) and not (page.is_file() and MADE in page.read_text(encoding="utf-8")):
        raise UserError(f"{output} holds other files than a gallery: choose another output")
    cv2.setNumThreads(0)
    shown = {name: _shown(settings, *film) for name, film in _films(settings)}
    write_gallery(shown, settings, output)
    print(f"{page}: {len(shown)} films measured")


def _films(settings: GallerySettings) -> Iterator[tuple[str, tuple[Film, list[int] | None, Picture | None]]]:
    if settings.films is not None:
        for files in tqdm(find_films(Path(settings.films)), desc="films", disable=None):
            film = files.read()
            yield files.name, (film, files.positions(), files.finished(*film.shape[1:3]))
        return
    from support.picture_films import films_of_pictures

    assert settings.models is not None
    assert settings.pictures is not None
    yield from films_of_pictures(settings.models, settings.pictures, settings.overrides, settings.size)


def _shown(settings: GallerySettings, film: Film, positions: list[int] | None, picture: Picture | None) -> Shown:
    figures = measure_film(film, positions, picture)
    nulls = null_baselines(film, positions)
    kept = {name: nulls[name] for name in ("faded_keyframes",) if name in nulls}
    figures["baselines"] = {name: measure_film(null, positions) for name, null in kept.items()}
    figures["checks"] = check_film_figures(figures)
    return Shown(at_times(film, settings.cells), picture, figures, badness(figures))


def badness(figures: Mapping[str, Any]) -> float:
    """How far a film misses the limits: 0 = it meets all."""
    failed = sum(met is False for name, met in figures["checks"].items() if name != "all")
    return failed + sum(max(0.0, -margin) for margin in margins(dict(figures)).values())


def chosen(names: Sequence[str], badnesses: Mapping[str, float], most: int, worst: int) -> tuple[list[str], list[str]]:
    """(those shown evenly over the names, the worst of all, worst first)."""
    ordered = sorted(names)
    count = min(most, len(ordered))
    even = [ordered[i] for i in np.floor(np.arange(count) * len(ordered) / count).astype(int)]
    return even, sorted(ordered, key=lambda name: (-badnesses[name], name))[:worst]


def write_gallery(shown: Mapping[str, Shown], settings: GallerySettings, output: Path) -> None:
    """README.md and strips of the films chosen. Raises UserError where they cannot be made small enough."""
    even, worst = chosen(list(shown), {n: s.badness for n, s in shown.items()}, settings.most, settings.worst)
    names = {name: f"{re.sub(r'[^A-Za-z0-9_-]+', '-', name)}.webp" for name in dict.fromkeys([*even, *worst])}
    if len(set(names.values())) < len(names):
        names = {name: f"{number:02d}-{file}" for number, (name, file) in enumerate(names.items())}
    strips = {name: _strip(shown[name], settings.side) for name in names}
    for quality in QUALITIES:
        packed = {name: _packed(strip, quality) for name, strip in strips.items()}
        if sum(map(len, packed.values())) <= settings.megabytes * 1e6:
            break
    else:
        raise UserError(
            f"megabytes={settings.megabytes}: the strips are larger: fewer films (most=) or cells, smaller side"
        )
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob("*.webp"):
        old.unlink()
    for name, content in packed.items():
        (output / names[name]).write_bytes(content)
    met = sum(s.figures["checks"]["all"] is True for s in shown.values())
    parts = [f"# {settings.title}", MADE]
    if settings.note is not None:
        parts.append(Path(settings.note).read_text(encoding="utf-8").strip())
    parts += [f"{len(shown)} films were measured, {met} meet every check. {RULE}"]
    parts += ["## The worst", *(_entry(name, shown[name], names[name]) for name in worst)]
    parts += ["## Evenly over the names", *(_entry(name, shown[name], names[name]) for name in even)]
    parts += ["## Figures of all films", _table(shown)]
    (output / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _entry(name: str, film: Shown, file: str) -> str:
    failed = [check for check, met in film.figures["checks"].items() if met is False and check != "all"]
    said = f"fails {', '.join(failed)}" if failed else "meets every check"
    return f"**{name}**: {said}\n\n![{name}, blank to finished, then the picture]({file})"


def _table(shown: Mapping[str, Shown]) -> str:
    rows = []
    for name, film in sorted(shown.items()):
        f, between = film.figures, film.figures["between_keyframes"] or {}
        cells = [(f["end"]["psnr"], 1), (f["progress"]["spearman"], 3), (f["start"]["white_share"], 2)]
        cells += [(between.get("abruptness"), 2), (between.get("effective_changed_share"), 2), (film.badness, 2)]
        rows.append([name, *(number(value, digits) for value, digits in cells)])
    titles = ["film", "end PSNR", "Spearman", "white at the start", "abrupt between", "area/step between", "misses by"]
    return markdown(titles, rows)


def _strip(film: Shown, side: int) -> Picture:
    scale = side / max(film.cells.shape[1:3])
    size = max(1, round(film.cells.shape[2] * scale)), max(1, round(film.cells.shape[1] * scale))
    cells = [cv2.resize(cell, size, interpolation=cv2.INTER_AREA) for cell in film.cells]
    if film.picture is not None:
        cells.append(cv2.resize(film.picture, size, interpolation=cv2.INTER_AREA))
    return np.concatenate([np.pad(c, ((2, 2), (2, 2), (0, 0)), constant_values=150) for c in cells], axis=1)


def _packed(strip: Picture, quality: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(strip).save(out, "WEBP", quality=quality, method=6)
    return out.getvalue()


if __name__ == "__main__":
    raise SystemExit(run(main))
