"""Attacks by paths: none leaves its folder, and none is told."""

from typing import Any

import pytest
from clients import API, made, told
from fastapi.testclient import TestClient

from paintsundo.app.studio import Studio
from paintsundo.errors import UserError

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


def test_no_sentence_tells_where_things_lie(anna: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(anna)

    def lacking(*_: Any, **__: Any) -> None:
        raise UserError("the file /srv/secret place/models/unet.safetensors is damaged: /srv/models/x/unet")

    monkeypatch.setattr(studio.model_choices, "check", lacking)
    sentence = told(anna.patch(f"{API}/runs/{run['id']}", json={"seed": 5}), 400)
    assert "unet.safetensors is damaged" in sentence
    assert "/srv/" not in sentence
    assert "models/x" not in sentence
