"""How far layered files are shown as the programs that wrote them show them: a table for each kind of file and feature.

    python eval/data.py layered output=DIR [files=DIR] [templates=DIR] [make=false]

Files are made by the programs that are installed (Krita's script runner, GIMP's batch mode, ImageMagick) under files=,
unless they are there already; `templates` are Krita's own. A pixel counts as equal when no channel differs by more than
two levels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from omegaconf import MISSING
from PIL import Image

from paintsundo.data.layered.agreement import SHARE, agreement
from paintsundo.data.layered.limits import Limits
from paintsundo.data.layered.opening import SUFFIXES, opened
from paintsundo.data.source import Unusable
from paintsundo.errors import UserError
from support.arguments import parse
from support.layered_files import gimp, imagemagick, krita
from support.layered_files.recipes import gimp_recipes, krita_recipes
from support.tables import markdown, number

TEMPLATES = "/usr/share/krita/templates"
KRITA_SUFFIXES = (".kra", ".ora", ".psd")


@dataclass
class LayeredSettings:
    """Options of this table."""

    output: str = MISSING
    files: str | None = None
    templates: str = TEMPLATES
    make: bool = True


@dataclass
class Row:
    """One file: the share of equal pixels, and what was said about it."""

    kind: str
    feature: str
    file: str
    share: float | None = None
    largest: int | None = None
    export: float | None = None  # share of pixels equal to the program's export, where there is one
    program: str = ""
    unsupported: tuple[str, ...] = ()
    reason: str = ""
    seconds: float = 0.0

    @property
    def equal(self) -> bool:
        return self.share is not None and self.share >= SHARE


def main(arguments: Sequence[str]) -> int:
    """Make the files, compare, write layered.json and layered.md."""
    settings = parse(LayeredSettings, arguments, literal_keys=("output", "files", "templates"))
    output = Path(settings.output)
    folder = Path(settings.files) if settings.files else output / "files"
    if settings.make:
        make(folder)
    rows = list(measured(folder, Path(settings.templates)))
    if not rows:
        raise UserError(
            f"{folder} has no layered files, and none of Krita, GIMP and ImageMagick is installed to make some"
        )
    output.mkdir(parents=True, exist_ok=True)
    (output / "layered.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    text = table(rows)
    (output / "layered.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def make(folder: Path) -> None:
    """Files by the programs that are installed."""
    if krita.available():
        krita.make(krita_recipes(), folder / "krita", KRITA_SUFFIXES)
    if gimp.available():
        gimp.make(gimp_recipes(), folder / "gimp")
    if imagemagick.program():
        imagemagick.make(folder / "imagemagick")


def measured(folder: Path, templates: Path) -> Iterator[Row]:
    """A row for each file."""
    for recipe in krita_recipes():
        for suffix in KRITA_SUFFIXES:
            path = folder / "krita" / f"{recipe['name']}{suffix}"
            if path.exists():
                yield compare(path, f"Krita {suffix}", recipe["feature"])
    for recipe in gimp_recipes():
        path = folder / "gimp" / f"{recipe['name']}.psd"
        if path.exists():
            yield compare(path, "GIMP .psd", recipe["feature"])
    for name, feature in imagemagick.names().items():
        path = folder / "imagemagick" / f"{name}.psd"
        if path.exists():
            yield compare(path, "ImageMagick .psd", feature)
    if templates.is_dir():
        for path in sorted(templates.rglob("*")):
            if path.suffix in SUFFIXES:
                yield compare(path, "Krita's templates", path.relative_to(templates).parts[0])


def compare(path: Path, kind: str, feature: str) -> Row:
    """Our picture of a file against the one inside it, and against an export beside it."""
    row = Row(kind, feature, path.name)
    begin = perf_counter()
    try:
        with path.open("rb") as stream:
            found = opened(stream, path.name, Limits())
    except Unusable as error:
        row.reason = str(error)
        return row
    row.seconds = perf_counter() - begin
    row.program, row.unsupported = found.document.program, found.document.unsupported
    if found.agreement is None:
        row.reason = "no flattened picture in the file"
        return row
    row.share, row.largest = found.agreement.share, found.agreement.largest
    export = path.with_suffix(".png")
    if export.exists():
        picture = Image.open(export).convert("RGBA")
        white = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
        row.export = agreement(found.ours, np.asarray(white)).share
    return row


def table(rows: Sequence[Row]) -> str:
    """Markdown: per kind of file and feature, how many files are equal and what becomes of the others."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.kind, row.feature), []).append(row)
    cells = []
    for (kind, feature), some in groups.items():
        equal = [row for row in some if row.equal]
        others = [row for row in some if not row.equal]
        exports = [row.export for row in equal if row.export is not None]
        cells.append(
            [
                f"{kind}: {feature}",
                str(len(some)),
                str(len(equal)),
                number(min((row.share for row in equal if row.share is not None), default=None), 4),
                number(min(exports, default=None), 4),
                str(sum(1 for row in others if row.unsupported or (row.share is None and row.reason))),
                str(sum(1 for row in others if not row.unsupported and row.share is not None)),
            ]
        )
    header = ["files", "n", "equal", "least share", "of export", "named", "told by comparison"]
    named = sorted({_feature(what) for row in rows if not row.equal for what in row.unsupported})
    reasons = sorted({row.reason for row in rows if row.reason})
    lines = [
        markdown(header, cells),
        "",
        f"equal: no channel off by more than 2 levels on at least {SHARE:.1%} of the pixels; least share: of those; "
        "named: the reader says what it does not support; told by comparison: the file does not say what its program "
        "did, the difference from the flattened picture in it does.",
        "",
        f"Named: {'; '.join(named) or 'nothing'}.",
    ]
    if reasons:
        lines.append(f"Without comparison: {'; '.join(reasons)}.")
    return "\n".join(lines)


def _feature(what: str) -> str:
    """An unsupported feature without the layer's name."""
    return what.partition(" '")[0].removesuffix(" of")
