"""Means of rows and differences between rows, with intervals over test subjects and training seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paintsundo.metrics.bootstrap import RESAMPLES, Interval
from support.ablate_grid import Cell, Row, Table

Numbers = NDArray[np.float64]
FILM, TRUTH = "film", "truth"


@dataclass
class Found:
    """What was measured of a row.

    Attributes:
        records: figures of its cells by training seed (None: the given pair), those that are finished.
        trainings: summaries of its trainings.
    """

    row: Row
    records: dict[int | None, dict[str, Any]]
    trainings: list[dict[str, Any]]

    def values(self, measure: str, source: str = FILM) -> dict[int | None, dict[str, float]]:
        """seed → process → value."""
        found = {seed: record["values"].get(measure, {}).get(source, {}) for seed, record in self.records.items()}
        return {seed: values for seed, values in found.items() if values}

    @property
    def subjects(self) -> dict[str, str]:
        """process → subject."""
        return {name: subject for record in self.records.values() for name, subject in record["subjects"].items()}

    @property
    def complete(self) -> bool:
        return len(self.records) == len(self.row.cells)


def find(output: Path, table: Table) -> list[Found]:
    """The rows of a table with what there is of them."""
    return [
        Found(
            row,
            {c.training and c.training.seed: r for c in row.cells if (r := _read(output / "cells", c.name))},
            [s for c in row.cells if c.training and (s := _read(output / "trainings", c.training.key))],
        )
        for row in table.rows
    ]


@dataclass(frozen=True)
class Spread:
    """How far trainings that differ in their seed alone lie apart: deviation, and degrees of freedom (0: unknown)."""

    deviation: float
    freedom: int


def seed_spread(rows: Sequence[Found], measure: str) -> Spread:
    """The deviation between seeds of a measure's mean, pooled over the rows of a table.

    Rows of the same trainings are no further evidence: freedom counts each training once.
    """
    squares, terms = 0.0, 0
    freedom: dict[str, int] = {}
    for row in rows:
        means = [m for seed, m in _seed_means(row, measure).items() if seed is not None]
        if len(means) > 1:
            squares += float(np.sum((np.array(means) - np.mean(means)) ** 2))
            terms += len(means) - 1
            training = _training(row.row.cells)
            freedom[training] = max(freedom.get(training, 0), len(means) - 1)
    return Spread(float(np.sqrt(squares / terms)) if terms else 0.0, sum(freedom.values()))


def row_interval(row: Found, measure: str, spread: Spread, source: str = FILM) -> Interval | None:
    """Mean over seeds and subjects with its 95 % interval; None where nothing was measured."""
    values = row.values(measure, source)
    if not values:
        return None
    means = _subject_means(_over_seeds(values), row.subjects)
    trained = [seed for seed in values if seed is not None]
    # The truth and baselines vary with the training too little for it to be told apart.
    deviation = spread.deviation / np.sqrt(len(trained)) if trained and source == FILM else 0.0
    return _interval(means, deviation, spread.freedom)


def difference(first: Found, second: Found, measure: str, spread: Spread) -> Interval | None:
    """Mean of first − second over the processes that both have, with its 95 % interval.

    Rows of the same trainings are compared seed by seed, others with the spread of seeds in both.
    """
    ours, theirs = first.values(measure), second.values(measure)
    if not ours or not theirs:
        return None
    a, b = _over_seeds(ours), _over_seeds(theirs)
    gaps = {name: a[name] - b[name] for name in a if name in b}
    if not gaps:
        return None
    means = _subject_means(gaps, {**first.subjects, **second.subjects})
    seeds = [len([seed for seed in values if seed is not None]) for values in (ours, theirs)]
    if _training(first.row.cells) == _training(second.row.cells):
        shared = [seed for seed in ours if seed is not None and seed in theirs]
        one, other = _seed_means(first, measure), _seed_means(second, measure)
        each = [one[seed] - other[seed] for seed in shared]
        freedom = len(each) - 1
        deviation = float(np.std(each, ddof=1) / np.sqrt(len(each))) if freedom > 0 else 0.0
        return _interval(means, deviation, freedom)
    deviation = spread.deviation * float(np.sqrt(sum(1 / count for count in seeds if count)))
    return _interval(means, deviation, spread.freedom)


def _interval(means: Numbers, deviation: float, freedom: int) -> Interval:
    """Percentiles of bootstrapped means of subjects (Efron 1979) plus what seeds add: Student's t of their standard
    error."""
    random = np.random.default_rng(0)
    drawn = means[random.integers(0, len(means), (RESAMPLES, len(means)))].mean(axis=1)
    if freedom > 0 and deviation > 0:
        drawn = drawn + deviation * random.standard_t(freedom, RESAMPLES)
    low, high = np.quantile(drawn, [0.025, 0.975])
    mean = float(means.mean())
    return Interval(mean, min(mean, float(low)), max(mean, float(high)), len(means))


def _over_seeds(values: Mapping[int | None, Mapping[str, float]]) -> dict[str, float]:
    """process → mean over the seeds that have it."""
    names = dict.fromkeys(name for found in values.values() for name in found)
    return {name: float(np.mean([found[name] for found in values.values() if name in found])) for name in names}


def _subject_means(values: Mapping[str, float], subjects: Mapping[str, str]) -> Numbers:
    groups: dict[str, list[float]] = {}
    for name, value in values.items():
        groups.setdefault(subjects[name], []).append(value)
    return np.array([np.mean(groups[subject]) for subject in sorted(groups)])


def _seed_means(row: Found, measure: str) -> dict[int | None, float]:
    subjects = row.subjects
    return {seed: float(_subject_means(found, subjects).mean()) for seed, found in row.values(measure).items()}


def _training(cells: Sequence[Cell]) -> str:
    training = cells[0].training
    return "" if training is None else training.name


def _read(folder: Path, name: str) -> dict[str, Any] | None:
    file = folder / f"{name}.json"
    if not file.is_file():
        return None
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record
