"""Write the measured parts of the bundled models' card: python eval/card.py

films=docs/embedded/quality.json        what quality.py wrote of films=FOLDER
frozen=docs/embedded/frozen             a folder with what it wrote of the frozen test set: comparison.json (against=),
                                        states.json (summary.json of state_seeds=N), clips.json (of clip_seeds=N)
card=src/paintsundo/bundled/README.md   between its marks it is replaced
check=true                              write nothing; end with 2 where the card is not what the figures say
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.arguments import parse, run
from support.card_parts import PARTS, films_part, frozen_part, open_part
from support.marks import with_part

from paintsundo.errors import UserError


@dataclass
class CardSettings:
    """Options of `card.py`, explained at the top of this file."""

    films: str = "docs/embedded/quality.json"
    frozen: str = "docs/embedded/frozen"
    card: str = "src/paintsundo/bundled/README.md"
    check: bool = False


def main(arguments: Sequence[str]) -> None:
    settings = parse(CardSettings, arguments, literal_keys=("films", "frozen", "card"))
    frozen, card = Path(settings.frozen), Path(settings.card)
    written = {
        "films": films_part(_read(Path(settings.films))["films"]),
        "frozen": frozen_part(_read(frozen / "comparison.json")["differences"]),
        "open": open_part(_read(frozen / "states.json"), _read(frozen / "clips.json")),
    }
    try:
        text = before = card.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"card={card}: {error.strerror}") from None
    for name, (begin, end) in PARTS.items():
        text = with_part(text, begin, end, written[name], str(card))
    if settings.check and text != before:
        raise UserError(f"{card}: not what the figures say; run python eval/card.py")
    if text != before:
        card.write_text(text, encoding="utf-8")
        print(f"written: {card}")


def _read(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: {getattr(error, 'strerror', None) or 'damaged'}") from None
    return found


if __name__ == "__main__":
    raise SystemExit(run(main))
