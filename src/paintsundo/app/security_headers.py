"""What every answer carries: what a browser may do with it, and the cookies of who asked."""

from __future__ import annotations

from typing import Any

from starlette.types import Message, Send

from paintsundo.app.visitors import PASS_COOKIE

_YEAR = 365 * 86400

_PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self'; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_FILE_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with none, the form of /login would come from "null"
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


def cookie(name: str, value: str, secure: bool) -> str:
    """A `Set-Cookie` for a year, of this site alone and out of scripts' reach."""
    return f"{name}={value}; Path=/; Max-Age={_YEAR}; HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")


def pass_cookie(value: str, secure: bool) -> str:
    """The `Set-Cookie` of who gave the password."""
    return cookie(PASS_COOKIE, value, secure)


def _secured(headers: Any, path: str, cookies: list[str]) -> list[tuple[bytes, bytes]]:
    ours = {**_HEADERS, "content-security-policy": _FILE_POLICY if path.startswith("/files/") else _PAGE_POLICY}
    dropped = (*ours, "access-control-allow-origin", "access-control-allow-credentials", "server")
    kept = [(name, value) for name, value in headers if name.decode("latin-1").lower() not in dropped]
    kept += [(name.encode(), value.encode()) for name, value in ours.items()]
    return kept + [(b"set-cookie", each.encode()) for each in cookies]


def with_headers(send: Send, path: str, cookies: list[str]) -> Send:
    """`send` that puts our headers and these `Set-Cookie`s on an answer to a request for `path`."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = _secured(message.get("headers", []), path, cookies)
        await send(message)

    return answer
