"""What is asked, and what goes no further."""

from __future__ import annotations

import re
from http.cookies import CookieError, SimpleCookie

from starlette.types import Scope

SAFE = ("GET", "HEAD", "OPTIONS")
# Reading these is work.
_COSTLY = re.compile(r"/api/v1/about|/api/v1/runs/\w+/(?:export/\w+|curves)")


class Refused(Exception):
    """A request that goes no further.

    Attributes:
        status: of HTTP.
        sentence: what the visitor is told.
        reason: what the log says.
    """

    def __init__(self, status: int, sentence: str, reason: str = "") -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.reason = status, sentence, reason or sentence


class Asked:
    """What is asked of a request here."""

    def __init__(self, scope: Scope) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.address: str = (scope.get("client") or ("unknown", 0))[0]
        self.secure: bool = scope.get("scheme") == "https"
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        self.host = self.headers.get("host", "")
        self.page = "text/html" in self.headers.get("accept", "")

    @property
    def works(self) -> bool:
        """Whether it changes something, or makes work; looking on does not. Gradio's own events are ours in the end."""
        return self.method not in SAFE or bool(_COSTLY.fullmatch(self.path))

    @property
    def cookies(self) -> dict[str, str]:
        try:
            return {name: morsel.value for name, morsel in SimpleCookie(self.headers.get("cookie", "")).items()}
        except CookieError:
            return {}
