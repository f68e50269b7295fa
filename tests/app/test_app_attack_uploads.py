"""Attacks by what is uploaded, pictures and records: refused, and nothing is fetched or left behind."""

import io
import json
import socket
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clients import API, JSON, SCRIPT, filmed, made, told
from fastapi.testclient import TestClient
from PIL import Image
from studios import png
from test_app_uploads import BOMB, LARGE, chunk, png_of

from paintsundo.app.studio import Studio
from tiny_models import drawing


@pytest.fixture
def finished_run(anna: TestClient) -> dict:
    return filmed(anna)


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in (".lock", ".secret")
    }


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
        told(anna.post(f"{API}/runs", content=body, headers=JSON), 400)
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


def test_a_bomb_within_another_kind_is_bounded_by_its_own_pixels(anna: TestClient) -> None:
    side = 9000  # what is within says so; what is around it says 64
    pixels = zlib.compress(b"\0" * (1 + side // 8) * side, 9)
    header = chunk(b"IHDR", struct.pack(">2I5B", side, side, 1, 0, 0, 0, 0))
    inner = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    icon = struct.pack("<3H4B2H2I", 0, 1, 1, 64, 64, 0, 0, 1, 32, len(inner), 22) + inner
    assert len(icon) < 20_000
    assert "9000x9000 pixels" in told(anna.post(f"{API}/runs?name=a.ico", content=icon), 400)


def test_a_bomb_that_unpacks_slowly_is_bounded_by_its_pixels(anna: TestClient) -> None:
    told(anna.post(f"{API}/runs", content=png_of(7000, 7000, zlib.compress(b"\0" * 1000))), 400)
