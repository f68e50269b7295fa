"""Visitors of a server by HTTP, and what they do again and again."""

import re
import time
from typing import Any

from fastapi.testclient import TestClient
from studios import png

from paintsundo.app.server import create_app
from paintsundo.app.studio import Studio

HOST = "http://127.0.0.1"
API = "/api/v1"
JSON = {"content-type": "application/json"}
SCRIPT = "<script>alert(1)</script>"


def client_of(engine: Studio) -> TestClient:
    return TestClient(
        create_app(engine.options, engine, page=False),
        base_url=HOST,
        raise_server_exceptions=False,
        client=("10.0.0.1", 1),
    )


def another(client: TestClient) -> TestClient:
    """Another visitor of the same server."""
    return TestClient(client.app, base_url=HOST, raise_server_exceptions=False)


def told(answer: Any, status: int) -> str:
    """The one sentence of a refusal."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    sentence = answer.json()["error"]
    assert re.fullmatch(r"[^\n]+[.!?…]", sentence), sentence
    assert sentence[0] == sentence[0].upper()
    assert "Traceback" not in sentence
    return sentence


def made(client: TestClient, **settings: Any) -> dict:
    """A new run."""
    answer = client.post(f"{API}/runs?name=drawing.png", content=png())
    assert answer.status_code == 201, answer.text
    run = answer.json()
    if settings:
        answer = client.patch(f"{API}/runs/{run['id']}", json=settings)
        assert answer.status_code == 200, answer.text
        run = answer.json()
    return run


def until(client: TestClient, run: dict, stage: str) -> dict:
    end = time.monotonic() + 120
    while True:
        status = client.get(f"{API}/runs/{run['id']}/status").json()
        if status["stage"] == stage:
            return status
        assert status["stage"] in ("queued", "keyframes", "film"), status
        assert time.monotonic() < end
        time.sleep(0.02)


def filmed(client: TestClient) -> dict:
    """A new run with its film."""
    run = made(client)
    client.post(f"{API}/runs/{run['id']}/film")
    until(client, run, "done")
    return run
