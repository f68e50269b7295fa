"""Answers with a file that may be deleted while it is asked for."""

from __future__ import annotations

from pathlib import Path

from fastapi.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from paintsundo.app.faults import NotThere


class RunFile(FileResponse):
    """A file of a run. One that is gone before its first byte raises `NotThere`, so that 404 is answered, not 500."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As of any ASGI application."""
        held: list[Message] = []
        begun = False

        async def send_when_open(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":  # it comes before the file is opened
                held.append(message)
                return
            begun = True
            while held:
                await send(held.pop())
            await send(message)

        try:
            await super().__call__(scope, receive, send_when_open)
        except (FileNotFoundError, RuntimeError) as error:  # Starlette has the second for a file that is not there
            if begun or Path(self.path).is_file():
                raise
            raise NotThere("there is no such file, or not any more") from error
