"""Attacks by number: floods are bounded, and others are served."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from clients import API, HOST, another, client_of, made, told
from fastapi.testclient import TestClient
from studios import Gate, eventually, png

from paintsundo.app.studio import Studio


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
