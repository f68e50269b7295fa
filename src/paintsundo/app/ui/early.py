"""Styles and script in the page as the server sends it: Gradio itself adds them only once its own script runs."""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class EarlyHead:
    """An application whose front page has some more at the beginning of its <head>.

    Args:
        app: what makes the page.
        head: HTML to put there.
    """

    def __init__(self, app: ASGIApp, head: str) -> None:
        self.app = app
        self.head = b"<head>" + head.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        front = scope["type"] == "http" and scope["method"] == "GET" and scope["path"].rstrip("/") == ""
        if not front:
            await self.app(scope, receive, send)
            return
        start: dict[str, Any] = {}
        parts: list[bytes] = []

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    await finish()

        async def finish() -> None:
            body = b"".join(parts).replace(b"<head>", self.head, 1)
            headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
            headers.append((b"content-length", str(len(body)).encode()))
            await send({**start, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, keep)
