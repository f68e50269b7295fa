"""Hostile values in every place that takes one: refused in a sentence, and nothing of others reached."""

import dataclasses
import json
import re
from typing import Any

import pytest
from clients import API, JSON, another, made, told
from fastapi.testclient import TestClient
from studios import png

from paintsundo.app.run_settings import RunSettings


def routes(client: TestClient) -> list[tuple[str, str]]:
    """(method, path) of all that the service offers."""
    paths = client.get(f"{API}/openapi.json").json()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


PLACES = {"index": "1", "number": "0", "kind": "mp4", "action": "film", "path": "picture.png"}
OTHER_PLACES = {"name": "nothing.png", "placement": "uniform", "count": "0"}
BODIES = {
    "keep": {"kept": True},
    "name": {"name": "mine"},
    "regenerate": {"seed": 1},
    "add": {"operation_step": 5},
    "move": {"to": 1},
    "keyframes": {"seeds": None},
}


def asked(client: TestClient, method: str, path: str) -> Any:
    body = BODIES.get(path.rsplit("/", 1)[-1]) if method == "POST" else {"seed": 1} if method == "PATCH" else None
    given: dict[str, Any] = {"json": body} if body is not None else {"content": png()} if method == "PUT" else {}
    return client.request(method, path, **given, follow_redirects=False)


def test_no_route_gives_a_run_to_anyone_but_its_owner(settled: tuple[TestClient, str]) -> None:
    anna, run_id = settled
    bert = another(anna)
    bert.get(f"{API}/runs")
    before = anna.get(f"{API}/runs/{run_id}").json()
    tried = 0
    for method, path in routes(anna):
        if "{run_id}" not in path:
            continue
        tried += 1
        told(asked(bert, method, path.format(run_id=run_id, **PLACES)), 404)
    assert tried >= 20
    after = anna.get(f"{API}/runs/{run_id}").json()
    assert after == before


NAMES = [
    "%2e%2e",
    "%2e%2e%2f",
    "%00",
    "-1",
    "9" * 400,
    "١",
    "1e3",
    "<b>",
    "a%0d%0aset-cookie:x=1",
    "' OR 1=1 --",
    "${x}",
]


@pytest.mark.parametrize("name", NAMES)
def test_no_part_of_an_address_breaks_anything(name: str, settled: tuple[TestClient, str]) -> None:
    anna, run_id = settled
    before = anna.get(f"{API}/runs").json()
    for method, path in routes(anna):
        for place in re.findall(r"{(\w+)}", path):
            values = {"run_id": run_id, **PLACES, **OTHER_PLACES, place: name}
            answer = asked(anna, method, path.format(**values))
            assert answer.status_code < 500, (method, path, answer.status_code)
            if place != "count":  # of keyframes, where too many are the most that there may be
                told(answer, answer.status_code)
            assert "x" not in answer.cookies
    assert anna.get(f"{API}/runs").json() == before


NUMBERS: list[Any] = [None, True, -1, 0, 2**63, 10**400, 1e308]
TEXTS: list[Any] = ["", "x" * 5000, "../../etc/passwd", "\ud800", "a\0b", "${oc.env:HOME}"]
LISTS: list[Any] = [[], [None], [[]], [[0, 0]], [[-64, -64]], [[10**9, 1]], [[64]], [[64] * 3], [64], [-1], [5] * 99]
VALUES = [*NUMBERS, *TEXTS, *LISTS, {}, {"a": 1}]


@pytest.mark.parametrize("field", [each.name for each in dataclasses.fields(RunSettings)])
def test_no_value_of_a_setting_breaks_anything(field: str, settled: tuple[TestClient, str]) -> None:
    anna, _ = settled
    run = made(anna)
    url = f"{API}/runs/{run['id']}"
    for value in VALUES:
        answer = anna.patch(url, content=json.dumps({field: value}), headers=JSON)
        if answer.status_code != 200:
            told(answer, answer.status_code)
            assert answer.status_code in (400, 422), (value, answer.status_code)
        assert anna.get(f"{url}/status").status_code == 200, value
        assert anna.patch(url, json=run["settings"]).status_code == 200, value
    for text in ("NaN", "Infinity", "-Infinity", "1e999"):
        answer = anna.patch(url, content=f'{{"{field}": {text}}}', headers=JSON)
        assert answer.status_code in (400, 422), (text, answer.text)
    assert anna.delete(url).status_code == 200


@pytest.mark.parametrize("place", ["settings", "made_with", "picture", "keyframes", "edited", "whole"])
def test_no_value_of_a_record_breaks_anything(place: str, settled: tuple[TestClient, str]) -> None:
    anna, run_id = settled
    record = anna.get(f"{API}/runs/{run_id}/run.json").json()
    if place == "keyframes":
        record["page"]["edited"] = True
    for value in VALUES:
        changes: list[Any] = [value]
        if place in ("settings", "made_with", "picture"):
            changes += [record["page"][place] | {name: value} for name in record["page"][place]]
        if place == "keyframes":
            first, *others = record["page"]["keyframes"]
            changes += [[first | {name: value}, *others] for name in first]
            changes += [[first, {**others[0], name: value}, *others[1:]] for name in others[0]]
        for change in changes:
            sent = {"page": value} if place == "whole" else record | {"page": record["page"] | {place: change}}
            answer = anna.post(f"{API}/runs", content=json.dumps({"repeat": sent}), headers=JSON)
            assert answer.status_code in (201, 400), (change, answer.text)
            if answer.status_code == 201:
                made_run = answer.json()["id"]
                assert anna.get(f"{API}/runs/{made_run}").status_code == 200
                assert anna.delete(f"{API}/runs/{made_run}").status_code == 200
