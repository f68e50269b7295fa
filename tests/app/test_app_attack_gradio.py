"""Attacks on Gradio's page: its own doors are shut but those to the engine."""

import base64
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clients import API, HOST, JSON, told
from fastapi.testclient import TestClient
from studios import options, png

from paintsundo.app.server import create_app
from paintsundo.app.studio import Studio


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The server with Gradio's page."""
    engine = Studio(options(tmp_path_factory.mktemp("page")))
    with TestClient(create_app(engine.options, engine), base_url=HOST, raise_server_exceptions=False) as client:
        yield client


class TestGradio:
    def test_the_page_comes_and_loads_nothing_from_elsewhere(self, page: TestClient) -> None:
        answer = page.get("/")
        assert answer.status_code == 200
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert not re.search(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"?(?:https?:)?//", answer.text)

    @pytest.mark.parametrize(
        "path",
        [
            "/gradio_api/file=/etc/passwd",
            "/gradio_api/file=http://169.254.169.254/",
            "/gradio_api/file/etc/passwd",
            "/file=/etc/passwd",
            "/gradio_api/proxy=http://127.0.0.1:22/",
            "/proxy=https://example.com/",
            "/gradio_api/upload_progress?upload_id=1",
            "/gradio_api/stream/a/b/c/playlist.m3u8",
            "/gradio_api/vibe-code/",
            "/gradio_api/runs",
            "/gradio_api/dev/reload",
            "/custom_component/x/y/z/w",
            "/monitoring",
            "/monitoring/summary",
            "/docs",
            "/redoc",
            "/openapi.json",
            "/static/../../../etc/passwd",
            "/assets/..%2f..%2f..%2fetc/passwd",
            "/ui/..%2f..%2fstudio.py",
            "/ui/../page.py",
            "/ui//etc/passwd",
        ],
    )
    def test_its_other_doors_are_shut(self, path: str, page: TestClient) -> None:
        answer = page.get(path)
        assert answer.status_code == 404, answer.text[:200]
        assert b"root:" not in answer.content

    @pytest.mark.parametrize(
        "path",
        [
            "/gradio_api/upload",
            "/upload",
            "/gradio_api/component_server",
            "/gradio_api/process_recording",
            "/gradio_api/vibe-edit",
        ],
    )
    def test_nothing_is_uploaded_past_the_engine(self, path: str, page: TestClient, tmp_path: Path) -> None:
        answer = page.post(path, files={"files": ("x.png", png())})
        assert answer.status_code == 404
        told(answer, 404)

    def test_no_address_is_fetched_for_it(self, page: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[Any] = []
        monkeypatch.setattr(socket, "create_connection", lambda *given, **_: asked.append(given))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **_: asked.append(given))
        file = {
            "path": "http://169.254.169.254/x.png",
            "url": "http://169.254.169.254/x.png",
            "meta": {"_type": "gradio.FileData"},
        }
        names = [name.strip("/") for name in page.get("/gradio_api/info").json()["named_endpoints"]]
        assert names
        hidden = json.dumps({"data": [{"a": [file]}]}).replace("meta", "\\u006deta")
        encoded = [json.dumps({"data": [file]}).encode(name) for name in ("utf-16", "utf-16-le", "utf-32", "utf-32-be")]
        for name in [*names, "predict"]:
            for body in (json.dumps({"data": [file] * 3}), hidden):
                for path in (f"/gradio_api/call/{name}", "/gradio_api/queue/join"):
                    told(page.post(path, content=body, headers=JSON), 403)
            for given in encoded:  # the word would not be found in these
                told(page.post(f"/gradio_api/call/{name}", content=given, headers=JSON), 400)
        told(page.post("/gradio_api/call/nobody", json={"data": []}), 404)
        told(page.post("/gradio_api/call/film", content=b"\\u" + b"[" * 10**5), 400)
        assert asked == []

    def test_its_calls_still_work(self, page: TestClient) -> None:
        begun = page.post("/gradio_api/call/create", json={"data": [base64.b64encode(png()).decode(), {}]})
        assert begun.status_code == 200
        ended = page.get(f"/gradio_api/call/create/{begun.json()['event_id']}").text
        assert "event: complete" in ended, ended
        assert len(page.get(f"{API}/runs").json()) == 1
