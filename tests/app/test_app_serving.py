"""`python -m paintsundo.app` as a process: it starts, says where, serves, stops, and goes on after a kill."""

import contextlib
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
from paintsundo.pipelines.command import main as infer
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

    def ask(
        self, path: str, data: bytes | None = None, kind: str = "application/json", method: str | None = None
    ) -> Any:
        headers = {"content-type": kind}
        request = urllib.request.Request(self.address + path, data=data, headers=headers, method=method)
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
def test_a_film_killed_in_its_middle_becomes_the_film_of_the_command_line(processes: Any, tmp_path: Path) -> None:
    first = processes()
    assert first.address.startswith("http://127.0.0.1:")
    began = time.monotonic()
    assert "<html" in first.ask("/")
    assert time.monotonic() - began < 10  # of two seconds at rest
    run = first.ask("/api/v1/runs?name=drawing.png", png(), "image/png")
    url = f"/api/v1/runs/{run['id']}"
    steps = {"operation_steps": [200, 400, 600, 800], "video_steps": 60}  # long enough to be killed in
    first.ask(url, json.dumps(steps).encode(), method="PATCH")
    first.ask(f"{url}/film", b"{}")
    until = time.monotonic() + 300
    while not any((status := first.ask(f"{url}/status"))["pairs_done"]):
        assert time.monotonic() < until
        time.sleep(0.02)
    first.end(signal.SIGKILL)
    assert not all(status["pairs_done"])

    second = processes()
    cookie = next(iter(first.jar))
    second.opener.addheaders = [("Cookie", f"{cookie.name}={cookie.value}")]
    found = second.ask(f"{url}/status")
    assert found["stage"] == "interrupted"
    assert any(found["pairs_done"])
    assert not all(found["pairs_done"])
    folder = next((tmp_path / "runs").glob("*/*/page.json")).parent
    clips = {file.name: file.stat().st_mtime_ns for file in (folder / ".unfinished" / "clips").glob("*.safetensors")}
    assert 0 < len(clips) < 5
    seen = {}
    second.ask(f"{url}/resume", b"{}")
    while (status := second.ask(f"{url}/status"))["stage"] in ("queued", "keyframes", "film"):
        assert time.monotonic() < until
        now = (folder / ".unfinished" / "clips").glob("*.safetensors")
        with contextlib.suppress(FileNotFoundError):
            seen |= {file.name: file.stat().st_mtime_ns for file in now}
        time.sleep(0.02)
    assert status["stage"] == "done", status
    assert seen.items() >= clips.items()  # what was done before was not done again
    assert "Traceback" not in second.text

    (tmp_path / "drawing.png").write_bytes(png())
    told = ["keyframes.operation_steps=[200,400,600,800]", "video.num_inference_steps=60"]
    assert infer([f"input={tmp_path / 'drawing.png'}", f"output={tmp_path / 'films'}", *MODELS, *SMALL, *told]) == 0
    theirs = tmp_path / "films" / "drawing"
    for part in ("keyframes/*.png", "frames/*.png", "film.mp4"):
        files = sorted(theirs.glob(part))
        assert [file.name for file in files] == [file.name for file in sorted(folder.glob(part))]
        assert files
        for file in files:
            assert file.read_bytes() == (folder / file.relative_to(theirs)).read_bytes(), file.name
    assert second.opener.open(f"{second.address}{url}/export/mp4").read() == (theirs / "film.mp4").read_bytes()


@pytest.mark.slow
def test_what_is_cancelled_as_the_server_is_told_to_stop_is_told(processes: Any) -> None:
    server = processes()
    run = server.ask("/api/v1/runs?name=a.png", png(), "image/png")
    url = f"/api/v1/runs/{run['id']}"
    server.ask(url, json.dumps({"video_steps": 150, "steps": 150}).encode(), method="PATCH")
    server.ask(f"{url}/film", b"{}")
    server.ask(f"{url}/cancel", b"{}")
    assert server.end() == 130
    assert "can go on at the next start" in server.text
    assert "Traceback" not in server.text


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
