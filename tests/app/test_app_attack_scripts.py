"""Attacks by text: what a visitor writes is text wherever it comes out."""

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from clients import API, SCRIPT, client_of, until
from fastapi.testclient import TestClient
from studios import png

from paintsundo.app.studio import Studio


class TestScripts:
    NAME = f"../{SCRIPT}\"'&{{7*7}}${{x}}\n.png"

    def test_names_and_prompts_are_text_wherever_they_come_out(self, anna: TestClient, tmp_path: Path) -> None:
        run = anna.post(f"{API}/runs?name={quote(self.NAME)}", content=png()).json()
        prompt = f'{SCRIPT}, "quoted", ${{oc.env:HOME}}, {{{{7*7}}}}, \' OR 1=1 --'
        url = f"{API}/runs/{run['id']}"
        assert anna.patch(url, json={"prompt": prompt}).json()["settings"]["prompt"] == prompt
        anna.post(f"{url}/film")
        assert until(anna, run, "done")["prompt"] == prompt
        for path in (url, f"{API}/runs", f"{url}/status", f"{url}/run.json"):
            assert anna.get(path).headers["content-type"] == "application/json"
        text = anna.get(f"/files/{run['id']}/prompt.txt")
        assert text.text == prompt
        assert text.headers["content-type"].startswith("text/plain")
        assert "sandbox" in text.headers["content-security-policy"]
        told_name = anna.get(f"{url}/export/gif").headers["content-disposition"]
        assert "\n" not in told_name
        assert "<" not in told_name.replace("%3C", "")
        assert not list(tmp_path.rglob("*script*"))
        assert json.loads(anna.get(f"{url}/run.json").text)["prompt"] == prompt

    def test_a_log_line_stays_one_line(self, anna: TestClient, caplog: pytest.LogCaptureFixture) -> None:
        anna.get("/nothing%0d%0aINFO%20forged%1b[31m")
        assert caplog.messages
        assert all("\n" not in message and "\x1b" not in message for message in caplog.messages)

    def test_the_login_page_repeats_nothing(self, make_studio: Callable[..., Studio], studio: Studio) -> None:
        studio.close()
        with client_of(make_studio("server.password=x")) as client:
            answer = client.post("/login", data={"password": SCRIPT})
            assert answer.status_code == 403
            assert SCRIPT not in answer.text
