"""JSON that is on disk whole or not at all."""

import json
from pathlib import Path
from typing import Any


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write strict JSON; a killed run leaves no half file that a later one takes for finished."""
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(text + "\n", encoding="utf-8")
    unfinished.replace(path)
