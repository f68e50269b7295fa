"""REST: the whole way by HTTP, each visitor apart, every error a sentence."""

import dataclasses
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clients import API, HOST, another, client_of, made, told, until
from fastapi.testclient import TestClient
from PIL import Image
from studios import png

from paintsundo.app.options import AppOptions
from paintsundo.app.server import create_app
from paintsundo.app.studio import Studio
from paintsundo.app.visitors import COOKIE, PASS_COOKIE, RateLimit, Visitors
from tiny_models import FRAMES


def test_the_whole_way(anna: TestClient) -> None:
    about = anna.get(f"{API}/about").json()
    assert about["defaults"]["operation_steps"] == [500]
    assert {model["name"] for model in about["models"]} >= {"bundled", "official"}
    run = made(anna, operation_steps=[300, 700], prompt="a boat")
    url = f"{API}/runs/{run['id']}"
    assert anna.get(run["picture"]["url"]).headers["content-type"] == "image/png"
    assert anna.post(f"{url}/tag").json()["prompt"]
    assert anna.post(f"{url}/keyframes", json={"seeds": [1, 2]}).json()["status"]["stage"] in (
        "queued",
        "keyframes",
        "draft",
    )
    status = until(anna, run, "draft")
    assert [candidate["seed"] for candidate in status["candidates"]] == [1, 2]
    shown = anna.get(status["candidates"][1]["keyframes"][1]["url"])
    assert Image.open(io.BytesIO(shown.content)).size == (32, 48)
    assert "immutable" in shown.headers["cache-control"]
    assert anna.post(f"{url}/candidates/1/choose").json()["status"]["chosen"] == 2
    assert anna.post(f"{url}/keyframes/1/regenerate", json={"seed": 9}).status_code == 200
    until(anna, run, "draft")
    assert anna.put(f"{url}/keyframes/2", content=png()).json()["status"]["keyframes"][2]["origin"] == "upload"
    anna.post(f"{url}/keyframes/add", json={"operation_step": 900})
    until(anna, run, "draft")
    assert anna.delete(f"{url}/keyframes/3").status_code == 200
    moved = anna.post(f"{url}/keyframes/1/move", json={"to": 2}).json()["status"]["keyframes"]
    assert [keyframe["operation_step"] for keyframe in moved] == [None, 700, 300, None]
    told(anna.get(f"{url}/export/mp4"), 400)
    anna.post(f"{url}/film")
    status = until(anna, run, "done")
    assert status["frames"] == 45
    assert anna.get(f"{url}/frames/0?v=1").headers["content-type"] == "image/png"
    assert anna.get(f"/files/{run['id']}/frames/00000.png").content == anna.get(f"{url}/frames/0").content
    assert len(anna.get(f"{url}/curves").json()["progress"]) == 45
    for kind, begins in {
        "mp4": b"",
        "webp": b"RIFF",
        "gif": b"GIF89a",
        "zip": b"PK",
        "ora": b"PK",
        "sheet": b"\x89PNG",
    }.items():
        answer = anna.get(f"{url}/export/{kind}")
        assert answer.status_code == 200, answer.text
        assert answer.content.startswith(begins)
        assert 'filename="drawing.' in answer.headers["content-disposition"]
    names = zipfile.ZipFile(io.BytesIO(anna.get(f"{url}/export/zip").content)).namelist()
    assert "frames/00044.png" in names
    assert "run.json" in names
    record = anna.get(f"{url}/run.json").json()
    again = anna.post(f"{API}/runs", json={"repeat": record})
    assert again.status_code == 201
    listed = anna.get(f"{API}/runs").json()
    assert [each["id"] for each in listed] == [again.json()["id"], run["id"]]
    assert anna.get(listed[0]["thumbnail"]).headers["content-type"] == "image/jpeg"
    assert anna.delete(url).json() == {"deleted": run["id"]}
    told(anna.get(url), 404)


def test_a_reload_finds_the_run_where_it_is(anna: TestClient) -> None:
    run = made(anna)
    anna.post(f"{API}/runs/{run['id']}/film")
    cookie = anna.cookies[COOKIE]
    reloaded = another(anna)
    reloaded.cookies.set(COOKIE, cookie)
    assert [each["id"] for each in reloaded.get(f"{API}/runs").json()] == [run["id"]]
    assert until(reloaded, run, "done")["frames"] == FRAMES


def test_a_run_is_called_what_was_typed(anna: TestClient) -> None:
    url = f"{API}/runs/{made(anna)['id']}"
    for typed, name in (
        ("<b>day</b> / night", "<b>day</b> / night"),
        ("\u202etwo\nlines ", "twolines"),
        ("", "drawing.png"),
    ):
        assert anna.post(f"{url}/name", json={"name": typed}).json()["name"] == name
    told(anna.post(f"{url}/name", json={"name": "x" * 201}), 422)


def test_sizes_are_told_and_the_film_has_the_keyframes_shape(anna: TestClient) -> None:
    models = {model["name"]: model for model in anna.get(f"{API}/about").json()["models"]}
    assert all(model["film_multiple"] % model["size_multiple"] == 0 for model in models.values())
    run = made(anna, width=48, height=32)
    url = f"{API}/runs/{run['id']}"
    assert (run["status"]["size"], run["status"]["film_size"]) == ([48, 32], [32, 32])
    anna.post(f"{url}/keyframes", json={})
    until(anna, run, "draft")
    # What is set after keyframes were made is for the next ones.
    other = anna.patch(url, json={"width": 32, "height": 64, "buckets": [[32, 64], [64, 32]]}).json()["status"]
    assert (other["size"], other["film_size"]) == ([48, 32], [64, 32])
    told(anna.patch(url, json={"buckets": [[33, 32]]}), 400)
    told(anna.patch(url, json={"buckets": [[4096, 4096]]}), 400)


def test_two_visitors_do_not_see_each_other(anna: TestClient) -> None:
    run = made(anna)
    url = f"{API}/runs/{run['id']}"
    anna.post(f"{url}/film")
    status = until(anna, run, "done")
    bert = another(anna)
    assert bert.get(f"{API}/runs").json() == []
    files = [
        run["picture"]["url"],
        status["keyframes"][1]["url"],
        f"/files/{run['id']}/frames/00000.png",
        f"/files/{run['id']}/thumbnail.jpg",
        f"/files/{run['id']}/prompt.txt",
    ]
    for file in files:
        assert anna.get(file).status_code == 200, file
        told(bert.get(file), 404)
    for rest in ("", "/status", "/frames/0", "/curves", "/export/mp4", "/export/zip", "/run.json"):
        assert anna.get(url + rest).status_code == 200, rest
        told(bert.get(url + rest), 404)
    for rest in ("/film", "/cancel", "/resume", "/keep", "/tag", "/candidates/0/choose"):
        told(bert.post(url + rest, json={"kept": True} if rest == "/keep" else None), 404)
    told(bert.patch(url, json={"seed": 1}), 404)
    told(bert.put(f"{url}/keyframes/1", content=png()), 404)
    told(bert.delete(f"{url}/keyframes/1"), 404)
    told(bert.delete(url), 404)
    told(bert.post(f"{url}/keyframes/1/regenerate", json={"seed": 1}), 404)
    record = anna.get(f"{url}/run.json").json()
    assert "not among your runs" in told(bert.post(f"{API}/runs", json={"repeat": record}), 400)
    assert anna.get(f"{url}/status").json() == status


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/runs", b"", 400),
        ("POST", "/runs", b"no picture", 400),
        ("POST", "/runs", {"example": "../../etc/passwd"}, 404),
        ("POST", "/runs", {"example": None}, 404),
        ("POST", "/runs", {"url": "http://127.0.0.1/x.png"}, 400),
        ("POST", "/runs", {}, 400),
        ("POST", "/runs", [1], 400),
        ("POST", "/runs", {"repeat": {"page": 5}}, 400),
        ("POST", "/runs", {"repeat": None}, 400),
        ("PATCH", "/runs/RUN", {"nothing": 1}, 400),
        ("PATCH", "/runs/RUN", {"steps": "many"}, 400),
        ("PATCH", "/runs/RUN", {"steps": 10**6}, 400),
        ("PATCH", "/runs/RUN", [1], 422),
        ("POST", "/runs/RUN/keyframes", {"seeds": ["x"]}, 422),
        ("POST", "/runs/RUN/keyframes", {"seeds": [-1]}, 422),
        ("POST", "/runs/RUN/keyframes", {"seeds": [2**70]}, 422),
        ("POST", "/runs/RUN/keyframes", {"seeds": list(range(100))}, 400),
        ("POST", "/runs/RUN/keyframes", {"other": 1}, 422),
        ("POST", "/runs/RUN/keyframes/1/regenerate", {"seed": 1.5}, 422),
        ("POST", "/runs/RUN/keyframes/1/regenerate", {"seed": 1}, 400),
        ("POST", "/runs/RUN/keyframes/x/regenerate", {"seed": 1}, 422),
        ("POST", "/runs/RUN/candidates/0/choose", None, 400),
        ("POST", "/runs/RUN/resume", None, 400),
        ("POST", "/runs/RUN/explode", None, 422),
        ("PUT", "/runs/RUN", b"", 405),
        ("GET", "/runs/RUN/export/exe", None, 422),
        ("GET", "/runs/RUN/export/ora", None, 400),
        ("GET", "/runs/RUN/frames/0", None, 404),
        ("GET", "/runs/RUN/run.json", None, 404),
        ("GET", "/nothing", None, 404),
        ("GET", "/presets/nobody/5", None, 400),
        ("GET", "/presets/uniform/0", None, 400),
    ],
)
def test_every_error_is_a_sentence(method: str, path: str, body: Any, status: int, anna: TestClient) -> None:
    run = made(anna)
    given: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
    told(anna.request(method, API + path.replace("RUN", run["id"]), **given), status)
    assert len(anna.get(f"{API}/runs").json()) == 1


def test_a_fault_of_the_server_is_a_sentence_too(
    anna: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(studio, "runs", lambda user: 1 / 0)
    assert "inside" in told(anna.get(f"{API}/runs"), 500)
    assert "ZeroDivisionError" in caplog.text


def test_settings_that_are_not_given_stay(anna: TestClient) -> None:
    run = made(anna, video_seed=4)
    changed = anna.patch(f"{API}/runs/{run['id']}", json={"seed": 7}).json()["settings"]
    assert (changed["seed"], changed["video_seed"]) == (7, 4)
    assert {**run["settings"], "seed": 7} == changed


def test_examples_can_be_taken(anna: TestClient) -> None:
    examples = anna.get(f"{API}/about").json()["examples"]
    assert examples
    assert anna.get(examples[0]["url"]).status_code == 200
    run = anna.post(f"{API}/runs", json={"example": examples[0]["name"]}).json()
    assert run["name"] == examples[0]["name"]


def test_routes_are_documented_without_anything_from_elsewhere(anna: TestClient) -> None:
    page = anna.get("/api")
    assert "/api/v1/runs/{run_id}/film" in page.text or "/api/v1/runs/{run_id}/{action}" in page.text
    assert not re.search(r"(src|href)=\"?https?:", page.text)
    paths = anna.get(f"{API}/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for told_ in methods.values():
            assert told_["summary"], path


def test_every_answer_carries_the_headers_that_keep_it_apart(anna: TestClient) -> None:
    run = made(anna)
    for path in (f"{API}/about", run["picture"]["url"], "/nothing", "/api"):
        headers = anna.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers
    assert "sandbox" in anna.get(run["picture"]["url"]).headers["content-security-policy"]


def test_the_cookie_is_the_servers_own_and_hidden_from_scripts(anna: TestClient) -> None:
    given = anna.get(f"{API}/runs").headers["set-cookie"]
    assert given.startswith(f"{COOKIE}=")
    assert "HttpOnly" in given
    assert "SameSite=Strict" in given
    assert "set-cookie" not in anna.get(f"{API}/runs").headers
    run = made(anna)
    for forged in ("", "x", anna.cookies[COOKIE] + "0", "a." + "0" * 64, anna.cookies[COOKIE].split(".")[0]):
        bert = another(anna)
        bert.cookies.set(COOKIE, forged)
        answer = bert.get(f"{API}/runs")
        assert answer.json() == []
        assert "set-cookie" in answer.headers
        told(another(anna).get(f"{API}/runs/{run['id']}"), 404)


class TestPassword:
    @pytest.fixture
    def locked(self, make_studio: Callable[..., Studio]) -> Iterator[TestClient]:
        with client_of(make_studio("server.password=open, sésame")) as client:
            yield client

    def test_nothing_is_told_without_it(self, locked: TestClient) -> None:
        assert "password" in told(locked.get(f"{API}/about"), 401)
        told(locked.post(f"{API}/runs", content=png()), 401)
        told(locked.get("/files/" + "0" * 32 + "/picture.png"), 401)
        told(locked.get("/api"), 401)
        page = locked.get("/", headers={"accept": "text/html"}, follow_redirects=False)
        assert (page.status_code, page.headers["location"]) == (303, "/login")
        assert 'type="password"' in locked.get("/login").text

    def test_with_it_the_visitor_comes_in_and_no_other(self, locked: TestClient) -> None:
        assert locked.post("/login", data={"password": "wrong"}).status_code == 403
        told(locked.get(f"{API}/about"), 401)
        answer = locked.post("/login", data={"password": "open, sésame"}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert locked.get(f"{API}/about").status_code == 200
        thief = another(locked)
        thief.cookies.set(PASS_COOKIE, locked.cookies[PASS_COOKIE])
        told(thief.get(f"{API}/about"), 401)

    def test_it_cannot_be_guessed_at_speed(self, locked: TestClient, caplog: pytest.LogCaptureFixture) -> None:
        answers = [locked.post("/login", data={"password": str(number)}).status_code for number in range(15)]
        assert answers.count(403) == 10
        assert answers[-1] == 429
        assert locked.post("/login", data={"password": "open, sésame"}).status_code == 429
        assert "too many attempts" in caplog.text

    @pytest.mark.parametrize("body", ["", "password", "password=" + "x" * 5000, "a=1&" * 500, "\x00", "password=%ff"])
    def test_odd_forms_are_wrong_passwords(self, body: str, locked: TestClient) -> None:
        answer = locked.post("/login", content=body, headers={"content-type": "application/x-www-form-urlencoded"})
        assert answer.status_code in (400, 403), answer.text
        assert "Traceback" not in answer.text

    def test_a_pass_ends_with_its_password(self) -> None:
        before, after = (Visitors(b"secret", password) for password in ("one", "two"))
        user = before.user(before.new_token())
        assert user is not None
        assert before.may_enter(user, before.pass_for(user))
        assert not after.may_enter(user, before.pass_for(user))
        assert not before.may_enter(user, None)
        assert not before.may_enter("0" * 32, before.pass_for(user))
        assert before.right("one")
        assert not before.right("ONE")


def test_rates_recover_with_time() -> None:
    rate = RateLimit(60)
    assert sum(rate.allows("a", now=0) for _ in range(100)) == 60
    assert rate.allows("b", now=0)
    assert sum(rate.allows("a", now=10) for _ in range(100)) == 10
    assert sum(rate.allows("a", now=1000) for _ in range(100)) == 60


def test_options_of_the_server_are_those_of_the_engine(studio: Studio) -> None:
    about = TestClient(create_app(studio.options, studio, page=False), base_url=HOST).get(f"{API}/about").json()
    assert about["limits"] == dataclasses.asdict(AppOptions().limits)
    assert json.dumps(about)
