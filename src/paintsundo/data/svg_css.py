"""Style sheets of SVG files, as far as single elements can be told their paint: plain selectors by specificity.

What a sheet says through other selectors is missing from the stages only: the finished picture is rendered from the
file as it stands.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

_COMPOUND = re.compile(r"(\*|[\w-]+)?((?:[.#][\w-]+)*)$")


@dataclass(frozen=True)
class Rule:
    """Declarations for the elements of a tag, an id and classes; "" and () where any will do."""

    tag: str
    identity: str
    classes: frozenset[str]
    body: dict[str, str]

    def matches(self, node: ElementTree.Element) -> bool:
        return (
            self.tag in ("", str(node.tag))
            and self.identity in ("", node.get("id"))
            and self.classes <= set((node.get("class") or "").split())
        )


def declarations(style: str) -> dict[str, str]:
    """Names and values of a `style` attribute or the body of a rule."""
    pairs = (item.split(":", 1) for item in style.split(";") if ":" in item)
    return {name.strip(): value.replace("!important", "").strip() for name, value in pairs}


def rules(root: ElementTree.Element) -> tuple[list[Rule], bool]:
    """The rules of all sheets, later ones stronger, and whether every selector was understood."""
    found: list[tuple[tuple[int, int, int], Rule]] = []
    complete = True
    for sheet in root.iter("style"):
        for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", sheet.text or ""):
            for selector in (part.strip() for part in selectors.split(",")):
                plain = _COMPOUND.fullmatch(selector)
                if not selector or plain is None:
                    complete = False
                    continue
                tag = "" if plain[1] in (None, "*") else plain[1]
                ids = re.findall(r"#([\w-]+)", plain[2])
                classes = frozenset(re.findall(r"\.([\w-]+)", plain[2]))
                rule = Rule(tag, ids[0] if ids else "", classes, declarations(body))
                found.append(((len(ids), len(classes), bool(tag)), rule))
    found.sort(key=lambda entry: entry[0])
    return [rule for _, rule in found], complete
