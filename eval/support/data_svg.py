"""Vector art against the renderer itself, package by package.

`python eval/data.py svg output=DIR packages=FOLDER` with
  packages            folder with the package files of openmoji, fluentui-emoji and @iconify-json/noto (npm pack) and
                      openclipart-svg (apt-get download)
  sets=[openmoji,fluent-flat,fluent-modern,noto,openclipart]
  files=200           of each set, chosen by the SHA-256 of their paths; reserved files among them, for this test only
  size=256            of the canvas
  options={}          of the source, as in 'options={steady: false, outside: leave_out}'

Exact: the last state equals the file's own text through the renderer, every pixel. Steps: operation steps 999 to 0; a
step is non-increasing when its state is not farther from the finished picture (L1) than the one before. Backtrack: the
distance that is walked back, as a share of the whole. Time is processor time of one core, parsing included. Writes
`DIR/svg.json` and `DIR/svg.md`.
"""

import hashlib
import io
import json
import re
import subprocess
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from numpy.typing import NDArray
from omegaconf import MISSING, OmegaConf
from PIL import Image
from tqdm import tqdm

from paintsundo.data.process import DONE, NEVER
from paintsundo.data.source import Canvas, Item, Unusable
from paintsundo.data.sources.svg import Options, SvgSource
from paintsundo.data.staged import StagedProcess
from paintsundo.data.svg_fonts import font_options
from paintsundo.errors import UserError
from paintsundo.settings import as_schema
from support.arguments import parse
from support.tables import markdown, number

ASKED = 0.98  # of the steps
_UNITS = {"": 1.0, "px": 1.0, "pt": 96 / 72, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}
_HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


@dataclass
class SvgSettings:
    """See above."""

    output: str = MISSING
    packages: str = MISSING
    sets: list[str] = field(default_factory=lambda: list(SETS))
    files: int = 200
    size: int = 256
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """What one set shows."""

    name: str
    files: int
    exact: int
    different: list[str]
    refused: dict[str, int]  # by reason
    steps: float  # mean share of non-increasing steps
    enough: float  # share of the files in which it is at least ASKED
    backtrack: float
    stages: dict[str, float]  # share of increasing steps in each
    seconds: float  # for a file


def _npm(package: str, inside: str, folder: Path) -> Iterator[tuple[str, bytes]]:
    found = sorted(folder.glob(f"{package}-*.tgz"))
    if not found:
        raise UserError(f"{folder} holds no {package}-*.tgz")
    with tarfile.open(found[-1]) as archive:
        for member in archive:
            if member.isfile() and re.fullmatch(f"package/{inside}", member.name):
                stream = archive.extractfile(member)
                assert stream is not None
                yield member.name.removeprefix("package/"), stream.read()


def _noto(folder: Path) -> Iterator[tuple[str, bytes]]:
    _, text = next(_npm("iconify-json-noto", r"icons\.json", folder))
    icons = json.loads(text)
    for name, icon in icons["icons"].items():
        box = f"0 0 {icon.get('width', icons.get('width', 16))} {icon.get('height', icons.get('height', 16))}"
        yield f"{name}.svg", f'{_HEAD} viewBox="{box}">{icon["body"]}</svg>'.encode()


def _openclipart(folder: Path) -> Iterator[tuple[str, bytes]]:
    found = sorted(folder.glob("openclipart-svg_*.deb"))
    if not found:
        raise UserError(f"{folder} holds no openclipart-svg_*.deb")
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["dpkg", "-x", str(found[-1]), place], check=True)
        for path in sorted(Path(place).rglob("*.svg")):
            yield path.relative_to(place).as_posix(), path.read_bytes()


SETS: dict[str, Callable[[Path], Iterator[tuple[str, bytes]]]] = {
    "openmoji": partial(_npm, "openmoji", r"color/svg/[^/]*\.svg"),
    "fluent-flat": partial(_npm, "fluentui-emoji", r"icons/flat/[^/]*\.svg"),
    "fluent-modern": partial(_npm, "fluentui-emoji", r"icons/modern/[^/]*\.svg"),
    "noto": _noto,
    "openclipart": _openclipart,
}


def direct(data: bytes, size: int, fonts: str) -> NDArray[np.uint8]:
    """The file's own text through the renderer, (size, size, 3): only the root's width and height are replaced, and a
    view box is added where there is none.
    """
    declared = re.match(rb"<\?xml[^>]*encoding=[\"']([\w-]+)", data)
    text = data.decode(declared[1].decode() if declared else "utf-8-sig")
    tag = re.search(r"<(?:\w+:)?svg\b[^>]*>", text, re.S)
    if tag is None:
        raise ValueError("no root")
    given = {name: value for name, _, value in re.findall(r"\s([\w:]+)\s*=\s*([\"'])(.*?)\2", tag[0], re.S)}
    root = re.sub(r"\s(?:width|height)\s*=\s*([\"']).*?\1", "", tag[0], flags=re.S)
    added = f' width="{size}" height="{size}"'
    if not given.get("viewBox"):
        added += f' viewBox="0 0 {_pixels(given["width"])} {_pixels(given["height"])}"'
    root = re.sub(r"^<(?:\w+:)?svg", lambda found: found[0] + added, root)
    out = resvg_py.svg_to_bytes(
        svg_string=text[: tag.start()] + root + text[tag.end() :], background="#ffffff", **font_options(fonts)
    )
    return np.asarray(Image.open(io.BytesIO(bytes(out))).convert("RGB"))


def _pixels(length: str) -> float:
    found = re.fullmatch(r"\s*([\d.eE+-]+)\s*([a-z]*)\s*", length)
    assert found is not None
    return float(found[1]) * _UNITS[found[2]]


def distances(process: StagedProcess) -> NDArray[np.int64]:
    """Sum of absolute differences from the finished picture at the steps 999 ... 0: (1000,)."""
    final = process.finished.astype(np.int64)
    canvas = np.full_like(final, 255)
    change = np.zeros(DONE + 1, np.int64)
    for stage in process.stages:
        taken = stage.reveal != NEVER
        after = np.where(taken[..., None], stage.picture, canvas)
        gain = np.abs(after - final).sum(axis=2) - np.abs(canvas - final).sum(axis=2)
        np.add.at(change, stage.reveal[taken], gain[taken])
        canvas = after
    start = int(np.abs(255 - final).sum())
    return start + np.cumsum(change)[_POSITIONS]


_POSITIONS = np.array([round((1 - step / 999) * DONE) for step in range(999, -1, -1)])


def by_stage(process: StagedProcess, away: NDArray[np.bool_]) -> dict[str, tuple[int, int]]:
    """Of each stage: steps that lead away from the picture, and all its steps."""
    spans = process.spans()
    ends = np.array([round(span.end * DONE) for span in spans])
    stage = np.minimum(np.searchsorted(ends, _POSITIONS[1:]), len(spans) - 1)
    return {
        span.name: (int((away & (stage == number)).sum()), int((stage == number).sum()))
        for number, span in enumerate(spans)
    }


def measure(name: str, files: list[tuple[str, bytes]], source: SvgSource, settings: SvgSettings) -> Row:
    """One set."""
    refused: Counter[str] = Counter()
    different, shares, back = [], [], []
    exact, seconds = 0, 0.0
    stages: dict[str, list[int]] = {}
    for path, data in tqdm(files, name, disable=None):
        begin = time.process_time()
        try:
            item = Item(path, data, {"subject": Path(path).stem, "source": path})
            process = source.draw(item, Canvas(settings.size), 0, 0)
        except Unusable as error:
            refused[str(error).split(":")[0]] += 1
            continue
        finally:
            seconds += time.process_time() - begin
        assert isinstance(process, StagedProcess)
        if np.array_equal(process.finished, direct(data, settings.size, source.options.fonts)):
            exact += 1
        else:
            different.append(path)
        way = np.diff(distances(process))
        shares.append(float(np.mean(way <= 0)))
        back.append(float(way.clip(0).sum() / np.abs(255 - process.finished.astype(np.int64)).sum()))
        for stage, (away, steps) in by_stage(process, way > 0).items():
            total = stages.setdefault(stage, [0, 0])
            total[0] += away
            total[1] += steps
    return Row(
        name,
        len(files),
        exact,
        different,
        dict(refused.most_common()),
        float(np.mean(shares)) if shares else 0.0,
        float(np.mean(np.array(shares) >= ASKED)) if shares else 0.0,
        float(np.mean(back)) if back else 0.0,
        {stage: away / max(1, steps) for stage, (away, steps) in stages.items()},
        seconds / max(1, len(files)),
    )


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    header = [
        "set",
        "files",
        "exact",
        "different",
        "refused",
        "non-increasing steps",
        "files ≥ 98 %",
        "backtrack",
        "s/file",
    ]
    cells = [
        [
            row.name,
            str(row.files),
            str(row.exact),
            str(len(row.different)),
            str(sum(row.refused.values())),
            f"{row.steps:.2%}",
            f"{row.enough:.1%}",
            f"{row.backtrack:.2%}",
            number(row.seconds, 2),
        ]
        for row in rows
    ]
    lines = [markdown(header, cells)]
    stages = list(dict.fromkeys(stage for row in rows for stage in row.stages))
    shares = [
        [row.name, *(f"{row.stages[stage]:.1%}" if stage in row.stages else "–" for stage in stages)] for row in rows
    ]
    lines += ["", "Steps that lead away from the picture, by stage:", "", markdown(["set", *stages], shares)]
    reasons: Counter[str] = Counter()
    for row in rows:
        reasons.update(row.refused)
    if reasons:
        lines += ["", "Refused: " + "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common()) + "."]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """`data.py svg …`"""
    settings = parse(SvgSettings, arguments, literal_keys=("output", "packages"))
    if unknown := sorted(set(settings.sets) - set(SETS)):
        raise UserError(f"sets={unknown[0]}: known are {', '.join(SETS)}")
    if settings.files < 1 or settings.size < 32:
        raise UserError("files: at least 1; size: at least 32")
    source = SvgSource(as_schema(OmegaConf.create(dict(settings.options)), Options))
    source.check()
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in settings.sets:
        found = sorted(SETS[name](Path(settings.packages)), key=lambda f: hashlib.sha256(f[0].encode()).hexdigest())
        rows.append(measure(name, found[: settings.files], source, settings))
        report = {"settings": asdict(settings), "rows": [asdict(row) for row in rows]}
        (output / "svg.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (output / "svg.md").write_text(table(rows) + "\n", encoding="utf-8")
    print(table(rows))
