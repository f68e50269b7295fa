"""Attacks: each refused, logged, and without effect on others."""

import base64
import io
import json
import re
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from starlette.websockets import WebSocketDisconnect
from studios import Gate, eventually, options, png
from test_app_server import API, HOST, another, client_of, made, told, until
from test_app_uploads import BOMB, LARGE, png_of

from paintsundo.app.server import create_app
from paintsundo.app.studio import Studio
from paintsundo.errors import UserError
from tiny_models import drawing

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def anna(studio: Studio) -> Iterator[TestClient]:
    with client_of(studio) as client:
        yield client


@pytest.fixture
def finished_run(anna: TestClient) -> dict:
    run = made(anna)
    anna.post(f"{API}/runs/{run['id']}/film")
    until(anna, run, "done")
    return run


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory, loaded: dict[str, Any]) -> Iterator[tuple[TestClient, str]]:
    """A server that nothing is changed on, and the id of a finished run on it."""
    engine = Studio(options(tmp_path_factory.mktemp("settled")))
    engine.model_choices.loaded.pipelines = loaded
    with client_of(engine) as client:
        run = made(client)
        client.post(f"{API}/runs/{run['id']}/film")
        until(client, run, "done")
        yield client, run["id"]


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in (".lock", ".secret")
    }


TRAVERSALS = [
    "../page.json",
    "..%2fpage.json",
    "%2e%2e/page.json",
    "%2e%2e%2fpage.json",
    "..%5cpage.json",
    "....//page.json",
    "states/../page.json",
    "states/..%2f..%2f.secret",
    "frames/../../../../../../etc/passwd",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "keyframes/00.png%00.jpg",
    "keyframes/00.png/..",
    "previews/../run.json",
    "page.json",
    "run.json",
    "original.png",
    "provenance.json",
    ".unfinished/run.json",
    "states",
    "states/",
    "",
    ".",
    "states/0123456789abcdef.png",
    "states/*.png",
    "keyframes/99999.png",
    "keyframes/-1.png",
    "keyframes/٣.png",
    "C:/windows/win.ini",
    "file:///etc/passwd",
    "x" * 5000,
]


@pytest.mark.parametrize("path", TRAVERSALS, ids=lambda path: path[:30])
def test_no_path_leaves_its_folder(path: str, settled: tuple[TestClient, str]) -> None:
    client, run_id = settled
    assert client.get(f"/files/{run_id}/keyframes/00.png").status_code == 200
    answer = client.get(f"/files/{run_id}/{path}", follow_redirects=False)
    assert answer.status_code in (400, 404), (path, answer.status_code)
    assert b"root:" not in answer.content
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize("run_id", ["..", "%2e%2e", "*", "..%2f..%2f", "0" * 32, "%00", "A" * 32])
def test_no_name_of_a_run_leaves_its_folder(run_id: str, settled: tuple[TestClient, str]) -> None:
    anna, _ = settled
    for path in (f"/files/{run_id}/picture.png", f"{API}/runs/{run_id}", f"{API}/runs/{run_id}/export/mp4"):
        answer = anna.get(path, follow_redirects=False)
        assert answer.status_code in (400, 404, 405), (path, answer.status_code)
    assert anna.delete(f"{API}/runs/{run_id}").status_code in (400, 404, 405)


def test_examples_are_named_never_reached(anna: TestClient) -> None:
    for name in ("..%2fpyproject.toml", "%2e%2e", "%2fetc%2fpasswd", "README.md"):
        assert anna.get(f"{API}/examples/{name}").status_code == 404
        told(anna.post(f"{API}/runs", json={"example": name}), 404)


class TestUploads:
    @pytest.mark.parametrize(
        "data",
        [
            BOMB,
            LARGE,
            b"http://169.254.169.254/",
            b"file:///etc/passwd",
            png()[:-200],
            b"\0" * 1000,
            b"GIF89a",
            b"%PDF",
        ],
        ids=["bomb", "large", "http", "file", "cut", "zeros", "gif", "pdf"],
    )
    def test_bad_ones_are_refused_and_leave_nothing(self, data: bytes, anna: TestClient, studio: Studio) -> None:
        good = made(anna)
        before = everything(studio.store.folder)
        told(anna.post(f"{API}/runs?name=a.png", content=data), 400)
        told(anna.put(f"{API}/runs/{good['id']}/keyframes/1", content=data), 400)
        assert everything(studio.store.folder) == before

    def test_too_large_ones_are_refused_unread(self, anna: TestClient, caplog: pytest.LogCaptureFixture) -> None:
        sent = 0

        def endless() -> Iterator[bytes]:
            nonlocal sent
            while sent < 10**9:
                sent += 2**20
                yield b"\0" * 2**20

        told(anna.post(f"{API}/runs", content=endless()), 413)
        told(anna.post(f"{API}/runs", content=b"", headers={"content-length": str(10**12)}), 413)
        told(anna.post(f"{API}/runs", content=b"", headers={"content-length": "-1"}), 413)
        told(anna.post("/login", content=b"x" * 7 * 2**20), 413)
        assert caplog.text.count("refused POST") == 4

    def test_no_address_is_ever_fetched(self, anna: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[Any] = []
        connect = socket.create_connection

        def watching(address: Any, *rest: Any, **options: Any) -> Any:
            asked.append(address)
            return connect(address, *rest, **options)

        monkeypatch.setattr(socket, "create_connection", watching)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **_: asked.append(given))
        run = made(anna)
        for address in ("http://127.0.0.1:22/", "http://169.254.169.254/latest/meta-data", "https://example.com/a.png"):
            for what in ("url", "picture", "example", "repeat", "path"):
                assert anna.post(f"{API}/runs", json={what: address}).status_code in (400, 404)
            told(anna.post(f"{API}/runs", content=address.encode()), 400)
            told(anna.put(f"{API}/runs/{run['id']}/keyframes/0", content=address.encode()), 400)
            told(anna.patch(f"{API}/runs/{run['id']}", json={"model": address}), 400)
            told(anna.patch(f"{API}/runs/{run['id']}", json={"lora": address}), 400)
        assert asked == []

    def test_a_picture_carries_nothing_but_its_pixels_on(self, anna: TestClient) -> None:
        exif = Image.Exif()
        exif[0x8825] = {1: "N", 2: (52.0, 31.0, 0.0)}
        exif[0x010E] = SCRIPT
        stream = io.BytesIO()
        drawing().save(stream, format="JPEG", exif=exif, comment=SCRIPT.encode())
        run = anna.post(f"{API}/runs", content=stream.getvalue()).json()
        for url in (run["picture"]["url"], f"/files/{run['id']}/thumbnail.jpg"):
            content = anna.get(url).content
            assert b"script" not in content
            assert b"Exif" not in content

    @pytest.mark.parametrize(
        "record",
        [
            b"",
            b"[]",
            b'"x"',
            b"[" * 100_000,
            b'{"page": {}}',
            b'{"page": {"settings": {"model": "../../x"}}}',
            b'{"configuration": {"keyframes": {"folder": "/etc"}}}',
            b"{" + b'"a": 1,' * 5 + b"}",
        ],
        ids=range(8),
    )
    def test_hostile_records_are_refused(self, record: bytes, anna: TestClient, studio: Studio) -> None:
        before = everything(studio.store.folder)
        body = b'{"repeat": ' + (record or b"") + b"}"
        told(anna.post(f"{API}/runs", content=body, headers={"content-type": "application/json"}), 400)
        assert everything(studio.store.folder) == before

    def test_a_record_reaches_no_models_but_those_offered(self, anna: TestClient, finished_run: dict) -> None:
        record = anna.get(f"{API}/runs/{finished_run['id']}/run.json").json()
        for change in ({"model": "/etc"}, {"lora": "/etc/passwd"}, {"lora": "../x"}, {"scheduler": "../x"}):
            changed = json.loads(json.dumps(record))
            changed["page"]["made_with"] |= change
            changed["page"]["settings"] |= change
            told(anna.post(f"{API}/runs", json={"repeat": changed}), 400)
        del record["page"]
        record["configuration"]["models"]["single_frame"] = "/etc"
        assert "not offered" in told(anna.post(f"{API}/runs", json={"repeat": record}), 400)

    def test_a_record_names_no_files(self, anna: TestClient, studio: Studio, finished_run: dict) -> None:
        record = anna.get(f"{API}/runs/{finished_run['id']}/run.json").json()
        record["page"]["edited"] = True
        for digest in ("../../../.secret", "/etc/passwd", "0" * 64, "", None, 5):
            record["page"]["keyframes"][1] = {"operation_step": 5, "seed": None, "origin": "upload", "sha256": digest}
            before = len(studio.store.all_runs())
            told(anna.post(f"{API}/runs", json={"repeat": record}), 400)
            assert len(studio.store.all_runs()) == before
        for odd in ({"origin": "generated", "operation_step": 10**6, "seed": 1}, {"origin": "file"}, {}, 5):
            record["page"]["keyframes"][1] = odd
            told(anna.post(f"{API}/runs", json={"repeat": record}), 400)


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


class TestFloods:
    @pytest.fixture
    def gated(self, gated_studio: Callable[..., tuple[Studio, Gate]]) -> tuple[Studio, Gate]:
        return gated_studio(
            "limits.queue_per_user=2", "limits.requests_per_minute=30", "limits.new_users_per_minute=10"
        )

    def test_runs_beyond_the_queue_are_refused_and_others_served(
        self, gated: tuple[Studio, Gate], caplog: pytest.LogCaptureFixture
    ) -> None:
        studio, gate = gated
        with client_of(studio) as anna:
            bert = another(anna)
            runs = [made(anna) for _ in range(6)]
            theirs = made(bert)
            anna.post(f"{API}/runs/{runs[0]['id']}/keyframes", json={})
            eventually(lambda: gate.begun)
            answers = [anna.post(f"{API}/runs/{run['id']}/keyframes", json={}) for run in runs[1:]]
            assert [answer.status_code for answer in answers] == [200, 200, 429, 429, 429]
            assert "of your runs wait already" in told(answers[-1], 429)
            accepted = bert.post(f"{API}/runs/{theirs['id']}/keyframes", json={})
            assert accepted.status_code == 200
            assert accepted.json()["status"]["place_in_queue"] == 1
            assert caplog.text.count("of your runs wait already") == 3
            gate.let_through(10)
            eventually(lambda: len(gate.begun) == 4)
            assert gate.begun.index(theirs["id"]) == 2

    def test_requests_beyond_the_rate_are_refused_to_that_visitor_alone(self, gated: tuple[Studio, Gate]) -> None:
        with client_of(gated[0]) as anna:
            bert = another(anna)
            run, theirs = made(anna), made(bert)
            answers = [anna.post(f"{API}/runs/{run['id']}/keep", json={}).status_code for _ in range(40)]
            assert 20 <= answers.count(200) <= 32
            assert answers[-1] == 429
            assert bert.post(f"{API}/runs/{theirs['id']}/keep", json={}).status_code == 200
            # Looking on is free.
            assert all(anna.get(f"{API}/runs/{run['id']}/status").status_code == 200 for _ in range(60))

    def test_new_visitors_beyond_the_rate_are_refused_and_known_ones_not(self, gated: tuple[Studio, Gate]) -> None:
        with client_of(gated[0]) as anna:
            anna.get(f"{API}/runs")
            answers = []
            for _ in range(20):
                anna_ = TestClient(anna.app, base_url=HOST, client=("10.0.0.1", 2))
                answers.append(anna_.get(f"{API}/runs").status_code)
            assert answers.count(429) >= 9
            assert anna.get(f"{API}/runs").status_code == 200
            assert not [file for file in gated[0].store.folder.iterdir() if not file.name.startswith(".")]

    def test_many_uploads_at_once_are_bounded(
        self, gated: tuple[Studio, Gate], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        studio, _ = gated
        within, go = [], threading.Event()

        def slow(user: str, *_: Any, **__: Any) -> str:
            within.append(user)
            go.wait(30)
            raise MemoryError

        monkeypatch.setattr(studio, "create", slow)
        with client_of(studio) as anna:
            anna.get(f"{API}/runs")
            answers: list[int] = []
            threads = [
                threading.Thread(target=lambda: answers.append(anna.post(f"{API}/runs", content=b"x").status_code))
                for _ in range(10)
            ]
            for thread in threads:
                thread.start()
            eventually(lambda: len(answers) == 6)
            assert set(answers) == {429}
            assert len(within) == 4
            go.set()
            for thread in threads:
                thread.join()
            assert sorted(answers) == [429] * 6 + [500] * 4

    def test_a_visitors_disk_is_bounded(self, studio: Studio) -> None:
        studio.limits.user_mib = 0.001
        with client_of(studio) as anna:
            run = made(anna)
            assert "delete some first" in told(anna.post(f"{API}/runs", content=png()), 400)
            assert "delete some first" in told(anna.post(f"{API}/runs/{run['id']}/film"), 400)
            made(another(anna))


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
                    told(page.post(path, content=body, headers={"content-type": "application/json"}), 403)
            for given in encoded:  # the word would not be found in these
                told(
                    page.post(f"/gradio_api/call/{name}", content=given, headers={"content-type": "application/json"}),
                    400,
                )
        told(page.post("/gradio_api/call/nobody", json={"data": []}), 404)
        told(page.post("/gradio_api/call/film", content=b"\\u" + b"[" * 10**5), 400)
        assert asked == []

    def test_its_calls_still_work(self, page: TestClient) -> None:
        begun = page.post("/gradio_api/call/create", json={"data": [base64.b64encode(png()).decode(), {}]})
        assert begun.status_code == 200
        ended = page.get(f"/gradio_api/call/create/{begun.json()['event_id']}").text
        assert "event: complete" in ended, ended
        assert len(page.get(f"{API}/runs").json()) == 1


def test_a_bomb_within_another_kind_is_bounded_by_its_own_pixels(anna: TestClient) -> None:
    side = 9000  # what is within says so; what is around it says 64
    pixels = zlib.compress(b"\0" * (1 + side // 8) * side, 9)
    parts = {b"IHDR": struct.pack(">2I5B", side, side, 1, 0, 0, 0, 0), b"IDAT": pixels, b"IEND": b""}
    chunks = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts.items()]
    inner = b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
    icon = struct.pack("<3H4B2H2I", 0, 1, 1, 64, 64, 0, 0, 1, 32, len(inner), 22) + inner
    assert len(icon) < 20_000
    assert "9000x9000 pixels" in told(anna.post(f"{API}/runs?name=a.ico", content=icon), 400)


def test_no_sentence_tells_where_things_lie(anna: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(anna)

    def lacking(*_: Any, **__: Any) -> None:
        raise UserError("the file /srv/secret place/models/unet.safetensors is damaged: /srv/models/x/unet")

    monkeypatch.setattr(studio.model_choices, "check", lacking)
    sentence = told(anna.patch(f"{API}/runs/{run['id']}", json={"seed": 5}), 400)
    assert "unet.safetensors is damaged" in sentence
    assert "/srv/" not in sentence
    assert "models/x" not in sentence


def test_a_bomb_that_unpacks_slowly_is_bounded_by_its_pixels(anna: TestClient) -> None:
    told(anna.post(f"{API}/runs", content=png_of(7000, 7000, zlib.compress(b"\0" * 1000))), 400)
