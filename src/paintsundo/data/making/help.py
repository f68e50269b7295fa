"""`build --help`: the options as their configurations explain them."""

from __future__ import annotations

from collections.abc import Sequence

from paintsundo.settings import config_directory

GROUPS = {"source": "svg", "engine": "local", "behaviours": "none"}  # and what is shown when none is named


def help_text(words: Sequence[str]) -> str:
    """Options of every build, and those of the source, engine and behaviours named among the words."""
    folder = config_directory()
    named = {name: value for name, _, value in (word.partition("=") for word in words) if name in GROUPS}
    parts = ["python -m paintsundo.data build source=NAME input=FILE|FOLDER|ARCHIVE output=DATASET [option=value ...]"]
    parts += ["", (folder / "build.yaml").read_text(encoding="utf-8").strip()]
    for group, usual in GROUPS.items():
        choices = sorted(file.stem for file in (folder / group).glob("*.yaml"))
        chosen = named.get(group, usual)
        if chosen not in choices:
            chosen = usual
        text = (folder / group / f"{chosen}.yaml").read_text(encoding="utf-8").strip()
        lines = [line for line in text.splitlines() if not line.startswith(("name:", "# @", f"{group}:"))]
        parts += ["", f"{group}={'|'.join(choices)}; options of {group}={chosen}, given as {group}.NAME=:"]
        parts += [f"  {line}" for line in lines]
    return "\n".join(parts)
