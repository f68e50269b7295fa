"""Calls of Gradio's endpoints, kept from everything that Gradio would fetch for them."""

from __future__ import annotations

import json
from typing import Any

from starlette.types import Message, Receive

from paintsundo.app.asked import Refused


async def without_files(receive: Receive) -> Receive:
    """`receive` for a call of Gradio's, whose body was read, and refused where it names a file.

    Gradio would fetch what such a name leads to. None of the page's own calls takes files.
    """
    parts = []
    message: Message = {"type": "http.request", "more_body": True}
    while message["type"] == "http.request" and message.get("more_body", False):
        message = await receive()
        parts.append(message.get("body", b""))
    body = b"".join(parts)
    # Readers of JSON take UTF-16 and UTF-32 too, in which the word would not be found.
    if b"\0" in body or not _utf8(body):
        raise Refused(400, "This cannot be understood.", "not UTF-8")
    # The word could be written with escapes.
    if b"meta" in body or b"\\u" in body:
        try:
            named = _names_file(json.loads(body))
        except (ValueError, RecursionError):
            raise Refused(400, "This cannot be understood.") from None
        if named:
            raise Refused(403, "Files and addresses are not taken here: send the picture itself.", "names a file")
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _names_file(value: Any) -> bool:
    """Whether anything in it is what Gradio takes for a file."""
    if isinstance(value, dict):
        return ("path" in value and "meta" in value) or any(map(_names_file, value.values()))
    return isinstance(value, list) and any(map(_names_file, value))
