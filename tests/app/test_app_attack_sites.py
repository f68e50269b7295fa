"""Attacks from other sites: neither their names nor their pages reach the server."""

import pytest
from clients import API, HOST, made, told
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from studios import png

from paintsundo.app.studio import Studio


class TestOtherSites:
    def test_their_names_do_not_lead_here(self, anna: TestClient, caplog: pytest.LogCaptureFixture) -> None:
        for host in (
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:7860",
            "",
            "evil.example@127.0.0.2:x",
        ):
            told(anna.get(f"{API}/about", headers={"host": host}), 421)
        assert "evil.example" in caplog.text
        for host in ("127.0.0.1:7860", "localhost:1", "[::1]:7860"):
            assert anna.get(f"{API}/about", headers={"host": host}).status_code == 200

    def test_their_pages_change_nothing_here(self, anna: TestClient, studio: Studio) -> None:
        run = made(anna)
        url = f"{API}/runs/{run['id']}"
        for headers in (
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"origin": "http://127.0.0.1:1"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
        ):
            told(anna.post(f"{url}/film", headers=headers), 403)
            told(anna.delete(url, headers=headers), 403)
            told(anna.post(f"{API}/runs", content=png(), headers=headers), 403)
        assert anna.get(f"{url}/status").json()["stage"] == "draft"
        own = {"origin": HOST, "sec-fetch-site": "same-origin"}
        assert anna.post(f"{url}/keep", json={"kept": True}, headers=own).status_code == 200

    def test_no_socket_is_opened_for_them(self, anna: TestClient) -> None:
        with pytest.raises(WebSocketDisconnect), anna.websocket_connect("/gradio_api/queue/join"):
            pytest.fail("was opened")
