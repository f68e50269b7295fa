"""Write docs/performance.md, and the table of the README, from measured figures: python eval/performance.py

results=[docs/benchmarks]    folders with what benchmark.py inference, drift.py and int8.py wrote (*.json)
output=docs/performance.md              is replaced
readme=README.md                        between its two marks the table is replaced; null: left alone
check=true                              write nothing; end with 2 where a file is not what the figures say

Everything in the page comes from those files; nothing is written where nothing was measured.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.arguments import parse, run
from support.performance_page import kind_of, page, readme_table, with_table

from paintsundo.errors import UserError


@dataclass
class PerformanceSettings:
    """Options of `performance.py`, explained at the top of this file."""

    results: list[str] = field(default_factory=lambda: ["docs/benchmarks"])
    output: str = "docs/performance.md"
    readme: str | None = "README.md"
    check: bool = False


def main(arguments: Sequence[str]) -> None:
    settings = parse(PerformanceSettings, arguments, literal_keys=("output", "readme"))
    found = read_results(settings.results)
    output = Path(settings.output)
    wanted = {output: page(found, str(output.parent))}
    if settings.readme is not None:
        readme = Path(settings.readme)
        if not readme.is_file():
            raise UserError(f"readme={readme}: there is no such file")
        wanted[readme] = with_table(readme.read_text(encoding="utf-8"), readme_table(found), str(readme))
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if settings.check:
        if stale:
            raise UserError(f"{', '.join(map(str, stale))}: not what the figures say; run python eval/performance.py")
        return
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
        print(f"written: {path}")


def read_results(folders: Sequence[str]) -> dict[str, dict[str, Any]]:
    """File name without suffix → its figures, of all files that are known kinds of results.

    Raises UserError: no folder, or nothing in any.
    """
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        if not Path(folder).is_dir():
            raise UserError(f"results: {folder} is no folder")
        for file in sorted(Path(folder).glob("*.json")):
            try:
                figures = json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise UserError(f"{file} is damaged: {error}") from None
            if isinstance(figures, dict) and kind_of(figures) is not None:
                found[file.as_posix()] = figures
    if not found:
        raise UserError(f"results: nothing that benchmark.py inference or drift.py wrote in {', '.join(folders)}")
    return found


if __name__ == "__main__":
    raise SystemExit(run(main))
