"""`python -m paintsundo.app` as a process: it starts, says where, serves, stops, and goes on after a kill."""

import http.cookiejar
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from studios import png

from paintsundo.app.server import main
from tiny_models import MODELS, SMALL

SOURCE = Path(__file__).parents[2] / "src"


class Process:
    """A server, and one visitor of it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.log = folder / f"{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "paintsundo.app",
                    *MODELS,
                    *SMALL,
                    "server.port=0",
                    f"runs.folder={folder / 'runs'}",
                    *arguments,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(SOURCE), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
                cwd=folder,
            )
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.jar)
        )
        self.address = self._address()

    def _address(self) -> str:
        until = time.monotonic() + 180
        while time.monotonic() < until:
            found = re.search(r"The page is at (http://\S+)/", self.text)
            if found:
                return found[1]
            assert self.process.poll() is None, self.text
            time.sleep(0.1)
        raise AssertionError(self.text)

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def ask(self, path: str, data: bytes | None = None, kind: str = "application/json") -> Any:
        request = urllib.request.Request(self.address + path, data=data, headers={"content-type": kind})
        with self.opener.open(request, timeout=60) as answer:
            return json.load(answer) if "json" in answer.headers["content-type"] else answer.read().decode()

    def end(self, how: int = signal.SIGINT) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Any]:
    begun: list[Process] = []

    def begin(*arguments: str) -> Process:
        begun.append(Process(tmp_path, *arguments))
        return begun[-1]

    yield begin
    for each in begun:
        each.process.kill()
        each.process.wait()


@pytest.mark.slow
def test_it_serves_the_page_and_goes_on_after_a_kill(processes: Any) -> None:
    first = processes()
    assert first.address.startswith("http://127.0.0.1:")
    began = time.monotonic()
    assert "<html" in first.ask("/")
    assert time.monotonic() - began < 10  # of two seconds at rest
    run = first.ask("/api/v1/runs?name=a.png", png(), "image/png")
    url = f"/api/v1/runs/{run['id']}"
    # Long enough to be killed in.
    request = urllib.request.Request(
        first.address + url,
        json.dumps({"video_steps": 150, "steps": 150}).encode(),
        {"content-type": "application/json"},
    )
    request.method = "PATCH"
    first.opener.open(request, timeout=60).close()
    first.ask(f"{url}/film", b"{}")
    until = time.monotonic() + 120
    while first.ask(f"{url}/status")["progress"] == 0:
        assert time.monotonic() < until
        time.sleep(0.05)
    first.end(signal.SIGKILL)

    second = processes()
    second.jar = first.jar
    cookie = next(iter(first.jar))
    second.opener.addheaders = [("Cookie", f"{cookie.name}={cookie.value}")]
    status = second.ask(f"{url}/status")
    assert status["stage"] == "interrupted"
    second.ask(f"{url}/resume", b"{}")
    second.ask(f"{url}/cancel", b"{}")
    assert second.end() == 130
    assert "can go on at the next start" in second.text
    assert "Traceback" not in second.text


def test_an_interrupted_server_keeps_what_was_at_work(processes: Any) -> None:
    server = processes()
    run = server.ask("/api/v1/runs", png(), "image/png")
    url = f"/api/v1/runs/{run['id']}"
    server.ask(f"{url}/film", b"{}")
    assert server.end(signal.SIGTERM) in (0, -signal.SIGTERM)
    assert "Traceback" not in server.text
    record = json.loads(next((server.log.parent / "runs").glob("*/*/page.json")).read_text(encoding="utf-8"))
    assert record["stage"] in ("interrupted", "done")


class TestCommand:
    def test_help_names_every_option(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--help"]) == 0
        told = capsys.readouterr().out
        for option in ("server.host=127.0.0.1", "server.password=null", "runs.keep_days=", "limits.queue_total="):
            assert option in told

    @pytest.mark.parametrize(
        "argument", ["server.port=99999", "nothing=1", "server.host=no.such.host.invalid", "models=x"]
    )
    def test_mistakes_end_in_one_line(self, argument: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([f"runs.folder={tmp_path}", argument]) == 2
        told = capsys.readouterr().err.strip()
        assert told.startswith("error: ")
        assert "\n" not in told

    def test_a_port_in_use_is_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            assert main([f"server.port={taken.getsockname()[1]}", f"runs.folder={tmp_path}"]) == 2
        assert "choose another port" in capsys.readouterr().err

    def test_a_folder_that_is_none_is_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "file").write_text("", encoding="utf-8")
        assert main(["server.port=0", f"runs.folder={tmp_path / 'file'}"]) == 2
        assert "runs.folder" in capsys.readouterr().err
