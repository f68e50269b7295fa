"""The synthetic painter on finished pictures, for eval/data.py painter.

  output=DIR            painter.json, painter.md, and sheets_STYLE.png
  pictures=A,B          files, folders and archives of pictures, each a set of its own in the table
  styles=line,painting,lineless     or regions
  size=512              canvas; canvas=square|source: its proportions
  limit=20              pictures of each set, spread over it; null: all
  seed=0
  formats=true          a further set: one picture saved grey, transparent, 16-bit, CMYK, palette, animated, tiny, huge
  states=61             states of the film that is measured
  sheet=6               rows of each contact sheet; 0: none

Time is processor time of one core from the file's bytes to the finished process: start with OMP_NUM_THREADS=1. Measures
are those of paintsundo.metrics, beside a cross-fade of the same picture. "Order" is the share of pictures, among those
that have both, whose t50 of the first is not after that of the second.
"""

import io
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from omegaconf import MISSING
from PIL import Image
from tqdm import tqdm

from paintsundo.data.inputs import read_items
from paintsundo.data.process import DrawingProcess
from paintsundo.data.report.contact_sheet import contact_sheet
from paintsundo.data.source import Canvas, Item, Unusable
from paintsundo.data.sources.pictures import Options, PicturesSource
from paintsundo.errors import UserError
from paintsundo.metrics import (
    abruptness,
    backtrack,
    effective_changed_share,
    monotonicity,
    progress,
    stage_order,
)
from paintsundo.metrics.baselines import cross_fade
from paintsundo.metrics.films import PreparedFilm
from support.arguments import parse
from support.tables import markdown, number

LIMIT_SECONDS = 2.0
Row = dict[str, Any]


@dataclass
class PainterSettings:
    """Options of `data.py painter`, explained at the top of this file."""

    output: str = MISSING
    pictures: str = MISSING
    styles: str = "line,painting,lineless"
    size: int = 512
    canvas: str = "square"
    limit: int | None = 20
    seed: int = 0
    formats: bool = False
    states: int = 61
    sheet: int = 6


def main(arguments: Sequence[str]) -> None:
    """`data.py painter …`"""
    settings = parse(PainterSettings, arguments, literal_keys=("output", "pictures"))
    if settings.size < 32 or settings.states < 8 or settings.sheet < 0:
        raise UserError("size: at least 32; states: at least 8; sheet: at least 0")
    cv2.setNumThreads(1)
    sets = {Path(place).name: _items(Path(place), settings.limit) for place in settings.pictures.split(",")}
    if settings.formats:
        sets["formats"] = formats(next(item for items in sets.values() for item in items).read())
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    rows, rejected = [], []
    for style in settings.styles.split(","):
        source = PicturesSource(Options(style=style))
        source.check()
        source.draw(_noise(), Canvas(64), 0, 0)  # what the first picture of a process costs more is not its own
        shown = []
        for name, items in sets.items():
            for place, item in enumerate(tqdm(items, desc=f"{style} {name}", disable=None)):
                try:
                    row, process = measure(source, item, Canvas(settings.size, settings.canvas), settings)
                except Unusable as reason:
                    rejected.append({"style": style, "set": name, "picture": item.name, "reason": str(reason)})
                    continue
                rows.append({"style": style, "set": name, "picture": item.name, **row})
                if place < -(-settings.sheet // len(sets)):
                    shown.append(process)
        if shown[: settings.sheet]:
            contact_sheet(shown[: settings.sheet], 12, 192).save(output / f"sheet_{style}.png")
    report = {"settings": vars(settings), "rows": rows, "rejected": rejected}
    (output / "painter.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = table(rows)
    if rejected:
        reasons = Counter(row["reason"] for row in rejected)
        text += "\n\nNot drawn: " + "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common())
    (output / "painter.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def _items(path: Path, limit: int | None) -> list[Item]:
    items = sorted(read_items(path, PicturesSource.suffixes), key=lambda item: item.name)
    if not items:
        raise UserError(f"{path}: no pictures")
    if limit is None or len(items) <= limit:
        return items
    return [items[int(k)] for k in np.linspace(0, len(items) - 1, limit)]


def _noise() -> Item:
    out = io.BytesIO()
    Image.effect_noise((64, 64), 60).save(out, "PNG")
    return Item("noise.png", out.getvalue(), {"subject": "noise", "source": "noise"})


def formats(data: bytes) -> list[Item]:
    """One picture as files of many kinds."""
    picture = Image.open(io.BytesIO(data)).convert("RGB").resize((480, 360))
    grey = picture.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    clear = picture.copy()
    clear.putalpha(Image.radial_gradient("L").resize(picture.size).point(lambda v: 255 - v))
    kinds: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "grey.png": (grey, "PNG", {}),
        "transparent.png": (clear, "PNG", {}),
        "16-bit.png": (deep, "PNG", {}),
        "cmyk.jpg": (picture.convert("CMYK"), "JPEG", {"quality": 90}),
        "palette.png": (picture.quantize(32), "PNG", {}),
        "animated.gif": (picture, "GIF", {"save_all": True, "append_images": [picture.rotate(180)]}),
        "two-level.png": (grey.convert("1"), "PNG", {}),
        "tiny.png": (picture.resize((48, 36)), "PNG", {}),
        "huge.jpg": (picture.resize((9600, 7200)), "JPEG", {"quality": 80}),
        "narrow.png": (picture.resize((480, 40)), "PNG", {}),
        "blank.png": (Image.new("RGB", (64, 64), "white"), "PNG", {}),
    }
    items = []
    for name, (image, form, options) in kinds.items():
        out = io.BytesIO()
        image.save(out, form, **options)
        items.append(Item(name, out.getvalue(), {"subject": name, "source": "formats"}))
    return items


def measure(
    source: PicturesSource, item: Item, canvas: Canvas, settings: PainterSettings
) -> tuple[Row, DrawingProcess]:
    """Figures of one picture's process. Raises Unusable."""
    from paintsundo.data.pictures import read_canvas

    begun, wall = time.process_time(), time.perf_counter()
    process = source.draw(item, canvas, 0, settings.seed)
    seconds, wall = time.process_time() - begun, time.perf_counter() - wall
    picture = read_canvas(item.read(), canvas, quick=source.options.style != "regions")
    off = int(np.abs(process.finished.astype(int) - picture.astype(int)).max())
    film = np.stack([_small(process.state(float(work))) for work in np.linspace(0, 1, settings.states)])
    prepared, faded = PreparedFilm(film), PreparedFilm(cross_fade(film[0], film[-1], len(film)))
    curve, order = progress(film), stage_order(prepared)
    row = {
        "seconds": round(seconds, 3),
        "wall_seconds": round(wall, 3),
        "off": off,
        "faults": process.faults(),
        "stages": [span.name for span in process.spans()],
        "spearman": monotonicity(curve),
        "backtrack": backtrack(curve),
        "abruptness": abruptness(prepared),
        "effective_changed_share": effective_changed_share(prepared),
        "fade_abruptness": abruptness(faded),
        "fade_effective_changed_share": effective_changed_share(faded),
        "edges": order.edges,
        "colour": order.colour,
        "shading": order.shading,
        "outline_share": order.outline_share,
    }
    return row, process


def _small(state: np.ndarray) -> np.ndarray:
    scale = 256 / max(state.shape[:2])
    if scale >= 1:
        return state
    size = (max(1, round(state.shape[1] * scale)), max(1, round(state.shape[0] * scale)))
    return np.asarray(cv2.resize(state, size, interpolation=cv2.INTER_AREA))


def table(rows: Sequence[Row]) -> str:
    """One line for each style and set, and each style over all sets."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["style"], row["set"]].append(row)
        groups[row["style"], "all"].append(row)
    header = ["style, set", "pictures", "exact", "s, median", "s, worst", "Spearman ≥ 0.9", "Spearman", "taken back"]
    header += ["abrupt", "fade's", "changed at once", "fade's", "edges", "colour", "shading"]
    header += ["edges ≤ colour", "colour ≤ shading"]
    lines = []
    for (style, name), group in sorted(
        groups.items(), key=lambda entry: (entry[0][0], entry[0][1] == "all", entry[0][1])
    ):
        spearman = [row["spearman"] for row in group if row["spearman"] is not None]
        lines.append(
            [
                f"{style}, {name}",
                str(len(group)),
                str(sum(row["off"] == 0 and not row["faults"] for row in group)),
                number(_of(np.median, group, "seconds"), 2),
                number(_of(np.max, group, "seconds"), 2),
                number(float(np.mean(np.array(spearman) >= 0.9)) if spearman else None, 2),
                number(_of(np.median, group, "spearman"), 3),
                number(_of(np.median, group, "backtrack"), 3),
                number(_of(np.median, group, "abruptness"), 2),
                number(_of(np.median, group, "fade_abruptness"), 2),
                number(_of(np.median, group, "effective_changed_share"), 2),
                number(_of(np.median, group, "fade_effective_changed_share"), 2),
                *(number(_of(np.median, group, key), 2) for key in ("edges", "colour", "shading")),
                *(number(_ordered(group, *pair), 2) for pair in (("edges", "colour"), ("colour", "shading"))),
            ]
        )
    late = sum(row["seconds"] > LIMIT_SECONDS for row in rows)
    return markdown(header, lines) + f"\n\n{late} of {len(rows)} took more than {LIMIT_SECONDS:g} s of one core."


def _known(group: Sequence[Row], key: str) -> Iterator[float]:
    return (row[key] for row in group if row[key] is not None)


def _of(measure_: Callable[[list[float]], Any], group: Sequence[Row], key: str) -> float | None:
    values = list(_known(group, key))
    return float(measure_(values)) if values else None


def _ordered(group: Sequence[Row], first: str, second: str) -> float | None:
    both = [row for row in group if row[first] is not None and row[second] is not None]
    return float(np.mean([row[first] <= row[second] for row in both])) if both else None
