"""Findings: one sentence each, its number taken from the cells, and whether a published claim is confirmed by it.

A finding of a grid is one of
  {measure, first, second, claim, expect, margin}: row `first` against row `second` (paths without the table);
      expect: better, worse, not_worse or same (the latter two within `margin`);
  {measure, least, of, claim, expect: {…}, margin}: the least value of the axis `least` at which rows come within
      `margin` of row `of`, for every value of the other axes; expect: at most so much for some of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paintsundo.errors import UserError
from paintsundo.metrics.bootstrap import Interval
from support.ablate_grid import Table
from support.ablate_statistics import Found, difference, row_interval, seed_spread
from support.quality_summary import TITLES
from support.tables import number

EXPECTED = ("better", "worse", "not_worse", "same")
CONFIRMED, NOT_CONFIRMED, OPEN = "confirmed at this scale", "not confirmed at this scale", "not measured"


@dataclass
class Finding:
    """A sentence, the claim it bears on, and the verdict: True confirmed, False not, None not measured."""

    table: str
    sentence: str
    claim: str
    confirmed: bool | None

    @property
    def text(self) -> str:
        """Claim, verdict and sentence in a line."""
        verdict = OPEN if self.confirmed is None else CONFIRMED if self.confirmed else NOT_CONFIRMED
        claim = f"{self.claim}: " if self.claim else ""
        return f"{claim}**{verdict}**. {self.sentence}"


def findings(table: Table, rows: Sequence[Found]) -> list[Finding]:
    """The findings of a table.

    Raises UserError: one names a row, measure or axis that there is not.
    """
    return [
        _least(table, rows, given) if "least" in given else _compared(table, rows, given) for given in table.findings
    ]


def verdict(interval: Interval, better: int, expect: str, margin: float = 0.0) -> bool:
    """Whether a difference (first − second) with its interval is as expected; better: +1 where more is better."""
    low, high = (interval.low, interval.high) if better > 0 else (-interval.high, -interval.low)
    if expect == "better":
        return low > 0
    if expect == "worse":
        return high < 0
    if expect == "not_worse":
        return low >= -margin
    return low >= -margin and high <= margin


def interval_text(interval: Interval | None, digits: int, signed: bool = False) -> str:
    """mean [low, high]."""
    if interval is None:
        return "–"
    sign = "+" if signed and interval.mean > 0 else ""
    return f"{sign}{number(interval.mean, digits)} [{number(interval.low, digits)}, {number(interval.high, digits)}]"


def _compared(table: Table, rows: Sequence[Found], given: Mapping[str, Any]) -> Finding:
    _check(table, given, {"measure", "first", "second", "claim", "expect", "margin"})
    measure, expect, margin = given["measure"], given["expect"], float(given.get("margin") or 0)
    title, better, digits = TITLES[measure]
    first, second = (_row(table, rows, given[name]) for name in ("first", "second"))
    claim = given.get("claim") or ""
    spread = seed_spread(rows, measure)
    gap = None if first is None or second is None else difference(first, second, measure, spread)
    if first is None or second is None or gap is None:
        return Finding(table.name, f"{title} of {given['first']} against {given['second']}.", claim, None)
    one, other = (interval_text(row_interval(row, measure, spread), digits) for row in (first, second))
    small = f", {margin:g} allowed" if margin and expect in ("not_worse", "same") else ""
    sentence = (
        f"{_capital(title)} is {one} with {_said(first)} and {other} with {_said(second)}: "
        f"difference {interval_text(gap, digits, signed=True)}{small} "
        f"({int(gap.subjects)} subjects{_seeds(first, second)})."
    )
    return Finding(table.name, sentence, claim, verdict(gap, better, expect, margin))


def _least(table: Table, rows: Sequence[Found], given: Mapping[str, Any]) -> Finding:
    _check(table, given, {"measure", "least", "of", "claim", "expect", "margin"})
    measure, axis, margin = given["measure"], given["least"], float(given.get("margin") or 0)
    if axis not in table.axes:
        raise UserError(f"{table.name}: findings name the axis {axis}; there are {', '.join(table.axes)}")
    title, better, digits = TITLES[measure]
    spread, reference = seed_spread(rows, measure), _row(table, rows, given["of"])
    claim = given.get("claim") or ""
    best = None if reference is None else row_interval(reference, measure, spread)
    if reference is None or best is None:
        return Finding(table.name, f"{title} against {given['of']}.", claim, None)
    reached: dict[str, str | None] = {}
    for row in rows:
        others = " ".join(label for name, label in row.row.labels.items() if name != axis)
        reached.setdefault(others, None)
        gap = difference(row, reference, measure, spread)
        if reached[others] is None and gap is not None and gap.mean * better >= -margin:
            reached[others] = row.row.labels[axis]
    parts = [f"{name.replace('_', ' ')} {steps or 'never'}" for name, steps in reached.items()]
    sentence = (
        f"{_capital(title)} comes within {margin:g} of {_said(reference)} ({number(best.mean, digits)}) at {axis}: "
        f"{', '.join(parts)}."
    )
    expected = given.get("expect") or {}
    confirmed = all(_at_most(reached.get(name), most) for name, most in expected.items()) if expected else None
    return Finding(table.name, sentence, claim, confirmed)


def _at_most(reached: str | None, most: float) -> bool:
    return reached is not None and float(reached) <= most


def _row(table: Table, rows: Sequence[Found], path: str) -> Found | None:
    """The finished row of that path; None where it is not among those asked for, or has no figures."""
    found = next((row for row in rows if row.row.path == path), None)
    if found is None and len(path.split("/")) != len(table.axes):
        raise UserError(f"{table.name}: findings name the row {path}; rows have {' / '.join(table.axes)}")
    return found if found is not None and found.records else None


def _check(table: Table, given: Mapping[str, Any], known: set[str]) -> None:
    if unknown := set(given) - known:
        raise UserError(f"{table.name}.findings: {min(unknown)} is unknown; there are {', '.join(sorted(known))}")
    if given.get("measure") not in TITLES:
        raise UserError(f"{table.name}.findings: measure {given.get('measure')} is unknown")
    if "first" in given and given.get("expect") not in EXPECTED:
        raise UserError(f"{table.name}.findings: expect must be one of {', '.join(EXPECTED)}")


def _said(row: Found) -> str:
    return " / ".join(f"{axis} {label}".replace("_", " ") for axis, label in row.row.labels.items())


def _seeds(first: Found, second: Found) -> str:
    counts = [len([seed for seed in row.records if seed is not None]) for row in (first, second)]
    if not any(counts):
        return ""
    return f", {min(c for c in counts if c)} training seed{'s' if min(c for c in counts if c) > 1 else ''}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
