"""The page as the server sends it, and what `gradio_client` can call."""

import base64
import io
import re
from collections.abc import Callable
from typing import Any

import pytest

gradio = pytest.importorskip("gradio")

from fastapi.testclient import TestClient  # noqa: E402
from PIL import Image  # noqa: E402

from paintsundo.app.server import create_app  # noqa: E402
from paintsundo.app.studio import Studio  # noqa: E402
from paintsundo.app.ui import endpoints  # noqa: E402
from paintsundo.app.ui.early import EarlyHead  # noqa: E402
from paintsundo.app.ui.page import ASSETS, assets_path, build, scripts  # noqa: E402
from paintsundo.errors import UserError  # noqa: E402

HTML = {"accept": "text/html"}


@pytest.fixture
def client(studio: Studio) -> TestClient:
    return TestClient(create_app(studio.options, studio), base_url="http://127.0.0.1")


def small_picture() -> str:
    told = io.BytesIO()
    Image.new("RGB", (32, 24), "teal").save(told, "PNG")
    return base64.b64encode(told.getvalue()).decode()


def test_styles_and_script_come_before_those_of_gradio(client: TestClient) -> None:
    answer = client.get("/", headers=HTML)
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(answer.content)
    page = answer.text
    ours, theirs = page.index(f'src="{assets_path()}/main.js"'), page.index('src="./assets/')
    assert 0 < ours < theirs
    assert page.count("main.js") == 2  # the script, and its preloading
    for address in re.findall(r'(?:src|href)="(/ui/[^"]+)"', page):
        assert client.get(address).status_code == 200, address


def test_nothing_is_fetched_from_elsewhere(client: TestClient) -> None:
    page = client.get("/", headers=HTML).text
    fetched = re.findall(r'<(?:script|link|img|iframe)\b[^>]*(?:src|href)="([^"]*)"', page)
    assert fetched
    assert [address for address in fetched if "//" in address] == []


def test_assets_may_be_kept_for_ever_because_their_address_changes_with_them(client: TestClient) -> None:
    answer = client.get(f"{assets_path()}/main.js")
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/javascript")
    assert client.get("/ui/000000000000/main.js").status_code == 404
    assert client.get(f"{assets_path()}/..%2f..%2fpage.py").status_code == 404


def test_the_page_is_few_components(studio: Studio) -> None:
    config: dict[str, Any] = build(studio).get_config_file()
    kinds = [component["type"] for component in config["components"] if component["type"] != "api"]
    assert kinds.count("column") == 1
    assert not {"html", "image", "file", "gallery", "video"} & set(kinds)  # their files and templates are not ours
    names = {dependency["api_name"] for dependency in config["dependencies"]}
    assert names == {"create", "tag", "keyframes", "film", "cancel", "status", "runs"}


def test_modules_are_asked_for_all_at_once(client: TestClient) -> None:
    page = client.get("/", headers=HTML).text
    for file in scripts():
        assert f'<link rel="modulepreload" href="{assets_path()}/{file.name}">' in page
    assert sum(file.stat().st_size for file in ASSETS.iterdir() if file.is_file()) < 200_000


def call(client: TestClient, name: str, *data: Any) -> Any:
    """What `gradio_client` does: ask, then read the stream of what comes of it."""
    asked = client.post(f"/gradio_api/call/{name}", json={"data": list(data)})
    assert asked.status_code == 200, asked.text
    with client.stream("GET", f"/gradio_api/call/{name}/{asked.json()['event_id']}") as stream:
        lines = [line for line in stream.iter_lines() if line]
    return lines[-2:]


def test_endpoints_work_for_the_visitor_and_tell_errors_as_sentences(studio: Studio) -> None:
    with TestClient(create_app(studio.options, studio), base_url="http://127.0.0.1") as client:
        client.get("/api/v1/about")  # brings the cookie
        event, told = call(client, "create", small_picture(), {"prompt": "<b>hat</b>"})
        assert event == "event: complete"
        run_id = re.search(r"[0-9a-f]{16,}", told)
        assert run_id is not None
        assert client.get(f"/api/v1/runs/{run_id[0]}").json()["settings"]["prompt"] == "<b>hat</b>"
        event, told = call(client, "status", run_id[0])
        assert event == "event: complete"
        assert '"stage": "draft"' in told
        event, told = call(client, "create", "http://127.0.0.1/x.png", {})
        assert event == "event: error"
        assert "base64" in told
        client.cookies.clear()
        client.get("/api/v1/about")
        event, told = call(client, "status", run_id[0])  # somebody else
        assert event == "event: error"
        assert "does not exist" in told


@pytest.mark.parametrize("text", ["http://127.0.0.1/picture.png", "file:///etc/passwd", "/etc/passwd", "é", "a b"])
def test_addresses_and_paths_are_no_pictures(text: str) -> None:
    with pytest.raises(UserError, match="base64"):
        endpoints._bytes(text)


def test_pictures_may_be_data_urls() -> None:
    assert endpoints._bytes("data:image/png;base64,AAEC") == b"\x00\x01\x02"


def test_only_what_is_meant_for_people_is_told_by_endpoints() -> None:
    def fails(error: Exception) -> None:
        raise error

    guarded: Callable[[Exception], None] = endpoints.in_sentences(fails)
    with pytest.raises(gradio.Error, match=r"Too large\."):
        guarded(UserError("too large"))
    with pytest.raises(ValueError, match="secret"):
        guarded(ValueError("secret"))  # Gradio, told not to show errors, keeps it


async def answered(app: EarlyHead, path: str, method: str = "GET") -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    await app({"type": "http", "method": method, "path": path}, receive, send)
    return sent


async def pieces(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"13"), (b"x", b"y")]})
    await send({"type": "http.response.body", "body": b"<he", "more_body": True})
    await send({"type": "http.response.body", "body": b"ad></head>"})


@pytest.mark.parametrize("path", ["/", ""])
def test_the_front_page_alone_gets_more_in_its_head(path: str) -> None:
    import asyncio

    app = EarlyHead(pieces, "<b>")
    start, body = asyncio.run(answered(app, path))
    assert body["body"] == b"<head><b></head>"
    assert sorted(start["headers"]) == [(b"content-length", b"16"), (b"x", b"y")]
    assert len(asyncio.run(answered(app, "/config"))) == 3
    assert len(asyncio.run(answered(app, "/", "HEAD"))) == 3
