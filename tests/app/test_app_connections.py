"""Connections over which nothing is asked are closed, and one address cannot have them all."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from studios import eventually

from paintsundo.app import connections

ASK = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Thinks for a while before it answers."""
    await asyncio.sleep(0.7)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of a server with little patience."""
    monkeypatch.setattr(connections, "_SECONDS", 0.3)
    monkeypatch.setattr(connections, "_FROM_ONE", 3)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=connections.Connection, lifespan="off", log_config=None))
    thread = threading.Thread(target=lambda: server.run(sockets=[listening]))
    thread.start()
    eventually(lambda: server.started)
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(20)
    listening.close()


def connected(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10, (source, 0))


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n", ASK + b"GET / HT"])
def test_who_says_no_more_is_not_waited_for(said: bytes, port: int) -> None:
    with connected(port) as slow:
        slow.sendall(said)
        if said.startswith(ASK):
            assert slow.recv(1000).startswith(b"HTTP/1.1 204")
        assert slow.recv(1000) == b""


def test_who_is_being_answered_is_waited_for(port: int) -> None:
    with connected(port) as client:
        for _ in range(2):
            client.sendall(ASK)  # the answer takes longer than the patience
            assert client.recv(1000).startswith(b"HTTP/1.1 204")


def test_one_address_cannot_have_them_all(port: int, caplog: pytest.LogCaptureFixture) -> None:
    there = [connected(port) for _ in range(3)]
    with connected(port) as one_more:
        assert one_more.recv(1000) == b""
    assert "refused a connection from 127.0.0.1" in caplog.text
    try:
        other = connected(port, "127.0.0.2")
    except OSError:
        pytest.skip("this machine has one address for itself")  # as macOS has, unless it is told of others
    with other:
        other.sendall(ASK)
        assert other.recv(1000).startswith(b"HTTP/1.1 204")
    for each in there:
        each.close()
