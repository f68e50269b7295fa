"""Counts over processes, added up from shard to shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from paintsundo.data.process import DrawingProcess
from paintsundo.data.staged import StagedProcess

COUNTED = ("splits", "stages", "licences", "work_rules", "sources", "reasons")
Facts = dict[str, Any]  # what one process adds


def facts_of(process: DrawingProcess, split: str, source: str) -> Facts:
    """What a process adds to the counts."""
    licences = [word for word in process.licence.split("; ") if word]
    return {
        "splits": [split],
        "stages": list(dict.fromkeys(span.name for span in process.spans() if span.name)),
        "licences": licences,
        "work_rules": [process.work_rule],
        "sources": [source],
        "most_stages": len(process.stages) if isinstance(process, StagedProcess) else 0,
        "credits": [[licence, _sets(process.source), process.author] for licence in licences or [""]],
    }


def _sets(source: str) -> str:
    """The sets that a process is of: what stands before the first slash; "" for single files."""
    return ", ".join(dict.fromkeys(part.split("/")[0] for part in source.split("+") if "/" in part))


class Tally:
    """Sums of facts.

    Attributes:
        kept, rejected: processes.
        most_stages: of one process.
        counts: by what is counted, then by value.
        credits: processes by (licence, sets, author).
    """

    def __init__(self) -> None:
        self.kept = self.rejected = self.most_stages = 0
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in COUNTED}
        self.credits: Counter[tuple[str, str, str]] = Counter()

    def keep(self, facts: Facts) -> None:
        """Count a process that is kept."""
        self.kept += 1
        self.most_stages = max(self.most_stages, facts["most_stages"])
        for name in COUNTED:
            self.counts[name].update(facts.get(name, ()))
        self.credits.update(tuple(credit) for credit in facts["credits"])

    def reject(self, reason: str) -> None:
        """Count one that is not; reasons are counted up to their first colon."""
        self.rejected += 1
        self.counts["reasons"][reason.split(":")[0]] += 1

    def add(self, other: Mapping[str, Any]) -> None:
        """Add the counts of `as_dict`."""
        self.kept += other["kept"]
        self.rejected += other["rejected"]
        self.most_stages = max(self.most_stages, other["most_stages"])
        for name in COUNTED:
            self.counts[name].update(other["counts"][name])
        for *credit, count in other["credits"]:
            self.credits[tuple(credit)] += count  # type: ignore[index]

    def as_dict(self) -> dict[str, Any]:
        """For files; always in the same order."""
        return {
            "kept": self.kept,
            "rejected": self.rejected,
            "most_stages": self.most_stages,
            "counts": {name: dict(sorted(counter.items())) for name, counter in self.counts.items()},
            "credits": [[*credit, count] for credit, count in sorted(self.credits.items())],
        }


def licences_text(credits: Iterable[tuple[tuple[str, str, str], int]]) -> str:
    """All licences with their sets and authors, as Markdown."""
    tree: dict[str, dict[str, Counter[str]]] = {}
    for (licence, sets, author), count in credits:
        tree.setdefault(licence, {}).setdefault(sets, Counter())[author] += count
    lines = ["# Licences of what this data set is made of", ""]
    for licence in sorted(tree, key=lambda name: (not name, name)):
        by_set = tree[licence]
        total = sum(sum(authors.values()) for authors in by_set.values())
        lines += [f"## {licence or 'No licence stated'}", "", f"{_number(total)}", ""]
        for name in sorted(by_set):
            authors = [author for author in sorted(by_set[name]) if author]
            by = f"; authors: {', '.join(authors)}" if authors else ""
            lines.append(f"- {name or 'single files'}: {_number(sum(by_set[name].values()))}{by}")
        lines.append("")
    return "\n".join(lines)


def _number(count: int) -> str:
    return f"{count:,} process{'es' if count != 1 else ''}"
