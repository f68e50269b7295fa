"""Parts of a page that a script writes, between two marks that its readers do not see."""

import re

from paintsundo.errors import UserError


def with_part(text: str, begin: str, end: str, part: str, file: str) -> str:
    """A page with `part` between its two marks. Raises UserError where they are not there once."""
    marked = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.S)
    if len(marked.findall(text)) != 1:
        raise UserError(f"{file} needs the marks {begin} and {end}, once, around what is written there")
    return marked.sub(lambda _: f"{begin}\n{part}\n\n{end}", text)
