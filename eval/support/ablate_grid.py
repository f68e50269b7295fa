"""The grid of an ablation: tables of rows, a row being how a model was trained and how its films are made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

from paintsundo.errors import UserError
from support.quality_run import PARTS, PROMPTS
from support.quality_summary import TITLES

STAGES = ("single_frame", "multi_frame")
PLOTS = ("dots", "lines", "matrix", "frontier", "steps")


@dataclass(frozen=True)
class Training:
    """One run of train.py: the stage that is trained anew, and what it is told beside the recipe of that stage."""

    name: str
    stage: str
    overrides: tuple[str, ...]
    seed: int

    @property
    def key(self) -> str:
        """Name of its files."""
        return f"{self.name}.s{self.seed}"


@dataclass(frozen=True)
class Films:
    """How films are made and what of them is measured.

    Attributes:
        infer: overrides of infer.py.
        parts: "film", "calibration", "interpolation".
        prompts: "tagger", "record" or "empty".
        size: height and width; None: that of each process.
        clips: between so many pairs of true keyframes alone; None: all.
    """

    infer: tuple[str, ...] = ()
    parts: tuple[str, ...] = PARTS
    prompts: str = "tagger"
    size: tuple[int, int] | None = None
    clips: int | None = None


@dataclass(frozen=True)
class Cell:
    """A model, None being the given pair, and films made with it."""

    training: Training | None
    films: Films

    @property
    def name(self) -> str:
        """Of its files: the training, and a hash of everything."""
        text = json.dumps([self.training and asdict(self.training), asdict(self.films)], sort_keys=True)
        start = "given" if self.training is None else self.training.key
        return f"{start}.{hashlib.sha256(text.encode()).hexdigest()[:10]}"


@dataclass(frozen=True)
class Row:
    """A line of a table: one cell a training seed. `labels`: axis → what it is there."""

    table: str
    labels: Mapping[str, str]
    cells: tuple[Cell, ...]

    @property
    def path(self) -> str:
        """Its name without the table's."""
        return "/".join(self.labels.values())

    @property
    def name(self) -> str:
        """As `rows=[…]` has it."""
        return f"{self.table}/{self.path}"


@dataclass
class Table:
    """Rows that are compared.

    Attributes:
        measures: shown, of `quality_summary.TITLES`.
        plots: of PLOTS.
        baselines: show null baselines, measured on the films of the first row.
        strips: patterns of the rows whose films are shown.
        findings: see `ablate_findings`.
    """

    name: str
    title: str
    text: str
    axes: dict[str, list[str]]
    rows: list[Row]
    measures: list[str]
    plots: list[str]
    strips: list[str]
    findings: list[dict[str, Any]]
    baselines: bool = False


@dataclass
class Job:
    """What one process does: a training, or none, and the films of its model."""

    name: str
    training: Training | None
    cells: list[Cell]


@dataclass
class GridOptions:
    """What the command line changes in a grid."""

    seeds: list[int] | None = None
    train: list[str] = field(default_factory=list)
    infer: list[str] = field(default_factory=list)
    size: list[int] | None = None
    rows: list[str] = field(default_factory=list)


@dataclass
class Grid:
    """A file of configs/ablation with the command line's changes."""

    name: str
    title: str
    text: str
    tables: list[Table]

    @property
    def rows(self) -> list[Row]:
        return [row for table in self.tables for row in table.rows]

    @property
    def cells(self) -> list[Cell]:
        """Each once, in the order of the tables."""
        return list(dict.fromkeys(cell for row in self.rows for cell in row.cells))

    @property
    def with_baselines(self) -> set[str]:
        """Names of the cells whose films give the null baselines of a table."""
        return {table.rows[0].cells[0].name for table in self.tables if table.baselines and table.rows}

    def jobs(self, finished: set[str], chunk: int) -> list[Job]:
        """What is left to do: a job a training, and the given pair's cells by `chunk`."""
        left = [cell for cell in self.cells if cell.name not in finished]
        jobs: dict[str, Job] = {}
        for cell in (cell for cell in left if cell.training is not None):
            assert cell.training is not None
            jobs.setdefault(cell.training.key, Job(cell.training.key, cell.training, [])).cells.append(cell)
        given = [cell for cell in left if cell.training is None]
        chunks = [given[start : start + chunk] for start in range(0, len(given), chunk)]
        return [*jobs.values(), *(Job(cells[0].name, None, cells) for cells in chunks)]


_GRID_KEYS = {"title", "text", "seeds", "train", "infer", "trainings", "tables"}
_TABLE_KEYS = {
    *("title", "text", "axes", "skip", "infer", "parts", "prompts", "size", "measures", "plots", "strips"),
    *("findings", "baselines", "clips"),
}
_VALUE_KEYS = {"train", "infer", "prompts", "size", "parts"}


def read_grid(name: str, content: Mapping[str, Any], options: GridOptions) -> Grid:
    """A grid from what its file holds.

    Raises UserError: a key, training, measure, row or seed that there is not, or rows that match nothing.
    """
    _known(name, content, _GRID_KEYS)
    seeds = options.seeds if options.seeds is not None else list(content.get("seeds") or [0])
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"seeds={seeds}: different numbers are needed, at least one")
    trainings = {
        key: [_training(f"{name}.trainings.{key}", key, value or {}, content, options, seed) for seed in seeds]
        for key, value in (content.get("trainings") or {}).items()
    }
    tables = [
        _table(f"{name}.tables.{key}", key, table, content, trainings, options)
        for key, table in (content.get("tables") or {}).items()
    ]
    grid = Grid(name, content.get("title") or name, content.get("text") or "", [t for t in tables if t.rows])
    for pattern in options.rows:
        if not any(fnmatchcase(row.name, pattern) for row in grid.rows):
            known = ", ".join(row.name for table in tables for row in table.rows) or "none is left"
            raise UserError(f"rows: {pattern} is no row of {name}; there are {known}")
    return grid


def _training(
    place: str, name: str, value: Mapping[str, Any], content: Mapping[str, Any], options: GridOptions, seed: int
) -> Training:
    _known(place, value, {"stage", "set"})
    stage = value.get("stage")
    if stage not in STAGES:
        raise UserError(f"{place}.stage: choose from {', '.join(STAGES)}")
    shared = (content.get("train") or {}).get(stage) or []
    return Training(name, stage, (*shared, *(value.get("set") or []), *options.train), seed)


def _table(
    place: str,
    name: str,
    table: Mapping[str, Any],
    content: Mapping[str, Any],
    trainings: Mapping[str, list[Training]],
    options: GridOptions,
) -> Table:
    _known(place, table, _TABLE_KEYS)
    axes = {axis: _axis(f"{place}.axes.{axis}", axis, given) for axis, given in table["axes"].items()}
    skipped = [{a: str(v) for a, v in skip.items()} for skip in table.get("skip") or []]
    rows = []
    for labels in product(*axes.values()):
        named = dict(zip(axes, labels, strict=True))
        if any(skip.items() <= named.items() for skip in skipped):
            continue
        row = Row(name, named, ())
        if options.rows and not any(fnmatchcase(row.name, pattern) for pattern in options.rows):
            continue
        values = [axes[axis][label] for axis, label in named.items()]
        models: Sequence[Training | None] = [None]
        for value in values:
            if "train" in value:
                if value["train"] not in trainings:
                    raise UserError(f"{place}: there is no training {value['train']}")
                models = trainings[value["train"]]
        films = _films(place, [table, *values], content.get("infer") or [], options)
        rows.append(Row(name, named, tuple(Cell(model, films) for model in models)))
    measures = list(table.get("measures") or ())
    plots = list(table.get("plots") or ["dots"])
    for kind, given, known in (("measures", measures, TITLES), ("plots", plots, PLOTS)):
        if unknown := [value for value in given if value not in known]:
            raise UserError(f"{place}.{kind}: {unknown[0]} is unknown; there are {', '.join(known)}")
    return Table(
        name,
        table.get("title") or name,
        table.get("text") or "",
        {axis: list(values) for axis, values in axes.items()},
        rows,
        measures,
        plots,
        list(table.get("strips") or ["*"]),
        list(table.get("findings") or []),
        bool(table.get("baselines", False)),
    )


def _axis(place: str, axis: str, given: Any) -> dict[str, dict[str, Any]]:
    """label → what it changes. Written as label: {train, infer, …}, as label: [override, …], as a list of trainings, or
    as {option, values}."""
    if isinstance(given, Mapping) and set(given) == {"option", "values"}:
        return {str(value): {"infer": [f"{given['option']}={value}"]} for value in given["values"]}
    if not isinstance(given, Mapping):
        return {str(value): {"train": value} for value in given}
    found = {}
    for label, value in given.items():
        changes = dict(value) if isinstance(value, Mapping) else {"infer": list(value or [])}
        _known(f"{place}.{label}", changes, _VALUE_KEYS)
        found[str(label)] = changes
    return found


def _films(place: str, layers: Sequence[Mapping[str, Any]], shared: Sequence[str], options: GridOptions) -> Films:
    chosen: dict[str, Any] = {"parts": PARTS, "prompts": "tagger", "size": None, "clips": None}
    infer = list(shared)
    for number, layer in enumerate(layers):
        infer += layer.get("infer") or []
        chosen |= {key: layer[key] for key in chosen if layer.get(key) is not None}
        if number == 0 and options.size is not None:  # before the table's, but not before that of a row
            chosen["size"] = options.size
    size = chosen["size"]
    if size is not None:
        if len(size) != 2:
            raise UserError(f"size={list(size)}: height and width are needed, as in [192,192]")
        infer += [f"keyframes.height={size[0]}", f"keyframes.width={size[1]}"]
    if unknown := [part for part in chosen["parts"] if part not in PARTS]:
        raise UserError(f"{place}.parts: {unknown[0]} is unknown; there are {', '.join(PARTS)}")
    if chosen["prompts"] not in PROMPTS:
        raise UserError(f"{place}.prompts: choose from {', '.join(PROMPTS)}")
    infer += options.infer
    last = {override.partition("=")[0]: override for override in infer}  # the last of each option counts
    return Films(
        tuple(last.values()),
        tuple(chosen["parts"]),
        chosen["prompts"],
        None if size is None else (size[0], size[1]),
        chosen["clips"],
    )


def _known(place: str, content: Mapping[str, Any], known: set[str]) -> None:
    if unknown := [str(key) for key in content if key not in known]:
        raise UserError(f"{place}: {unknown[0]} is unknown; there are {', '.join(sorted(known))}")


def option_names() -> Iterator[str]:
    """Names of GridOptions."""
    return (found.name for found in fields(GridOptions))
