"""Visitors who send or read slowly, and many of them at one address: nobody else waits for them."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from studios import options, png

from paintsundo.app import guard
from paintsundo.app.server import create_app
from paintsundo.app.studio import Studio
from paintsundo.app.visitors import COOKIE, Visitors

API = "/api/v1"


def completed(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Its result, from a thread of its own: in this one a browser of other tests may have left a running loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


class Server:
    """An application that is asked without a client between, so that a test decides when bytes come and go."""

    def __init__(self, studio: Studio) -> None:
        self.app: FastAPI = create_app(studio.options, studio, page=False)
        self._visitors = Visitors(studio.store.secret(), None)

    def visitor(self) -> str:
        """The cookie of a new one."""
        return f"{COOKIE}={self._visitors.new_token()}"

    async def ask(
        self,
        method: str,
        path: str,
        visitor: str,
        address: str = "10.0.0.1",
        receive: Callable[[], Awaitable[Any]] | None = None,
        reads: asyncio.Event | None = None,
    ) -> int:
        """The status of the answer, once it was read; its body is read when `reads` is set."""
        said = {"host": "127.0.0.1", "cookie": visitor, "content-type": "image/png"}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in said.items()],
            "client": (address, 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        status = 0

        async def nothing() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif reads is not None:
                await reads.wait()

        await self.app(scope, receive or nothing, send)
        return status


async def never() -> Any:
    """A body whose first bytes came, and no more."""
    await asyncio.sleep(0.01)
    return {"type": "http.request", "body": b"\x89", "more_body": True}


async def stuck() -> Any:
    await asyncio.Event().wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    studio = Studio(options(tmp_path))
    yield Server(studio)
    studio.close()


def test_who_sends_nothing_is_given_up(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guard, "_PATIENCE", 0.3)
    for receive in (never, stuck):
        assert completed(server.ask("POST", f"{API}/runs", server.visitor(), receive=receive)) == 408
    assert caplog.text.count("bytes so far") == 2


def test_who_sends_slowly_but_steadily_is_not(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_PATIENCE", 0.3)
    monkeypatch.setattr(guard, "_SLOWEST", 100)
    data = png()
    pieces = [data[start : start + 20] for start in range(0, len(data), 20)]
    assert len(pieces) > 10

    async def steady() -> Any:
        await asyncio.sleep(0.05)
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    assert completed(server.ask("POST", f"{API}/runs", server.visitor(), receive=steady)) == 201


def test_who_reads_slowly_keeps_nobody_waiting(server: Server) -> None:
    async def all_of_them() -> None:
        anna, reads = server.visitor(), asyncio.Event()
        slow = [asyncio.create_task(server.ask("GET", f"{API}/about", anna, reads=reads)) for _ in range(6)]
        for _ in range(1000):
            await asyncio.sleep(0.01)
            if await server.ask("GET", f"{API}/about", anna) == 200:
                break
        else:
            pytest.fail("those who read slowly keep a place for good")
        reads.set()
        assert 200 in await asyncio.gather(*slow)

    completed(all_of_them())


def test_one_address_cannot_take_every_place(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    async def crowd() -> None:
        slow = [
            asyncio.create_task(server.ask("POST", f"{API}/runs", visitor, receive=stuck))
            for visitor in [server.visitor() for _ in range(8)]
            for _ in range(3)
        ]
        await asyncio.sleep(0.1)
        refused = [task for task in slow if task.done()]
        assert [task.result() for task in refused] == [429] * (24 - guard._AT_ONCE_ADDRESS)
        assert await server.ask("GET", f"{API}/about", server.visitor(), "10.0.0.2") == 200
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        # Who went away keeps no place.
        assert await server.ask("GET", f"{API}/about", server.visitor()) == 200

    completed(crowd())
    assert "too many requests at once" in caplog.text


def test_looking_on_has_an_end_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_LOOKS", 0.1)
    small = Server(server.app.state.studio)

    async def looks(visitor: str) -> list[int]:
        return [await small.ask("GET", f"{API}/nothing", visitor) for _ in range(60)]

    answers = completed(looks(small.visitor()))
    assert answers[:20] == [404] * 20
    assert 429 in answers
    assert completed(looks(small.visitor()))[0] == 404
