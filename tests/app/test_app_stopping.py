"""Work that waits, is cancelled, interrupted or at fault: it goes on later, and others go on at once."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from films import filmed, finished
from studios import ANNA, BERT, Gate, eventually, options, png

from paintsundo.app.faults import Crowded, NotThere
from paintsundo.app.making import Making
from paintsundo.app.run import Run
from paintsundo.app.studio import Studio
from paintsundo.app.watch import Stopped
from paintsundo.errors import UserError
from tiny_models import FRAMES

Gated = Callable[..., tuple[Studio, Gate]]


class TestStopping:
    def test_a_waiting_run_is_cancelled_and_goes_on(self, gated_studio: Gated) -> None:
        studio, gate = gated_studio()
        first, second = (studio.create(ANNA, png()) for _ in range(2))
        studio.start_keyframes(ANNA, first)
        eventually(lambda: gate.begun)
        studio.start_keyframes(ANNA, second)
        assert studio.status(ANNA, second).place_in_queue == 0
        studio.cancel(ANNA, second)
        assert studio.status(ANNA, second).stage == "cancelled"
        studio.cancel(ANNA, second)
        studio.resume(ANNA, second)
        assert studio.status(ANNA, second).stage == "queued"
        gate.let_through(2)
        finished(studio, second, "draft")

    def test_what_is_at_work_cannot_be_changed(self, gated_studio: Gated) -> None:
        studio, _ = gated_studio()
        run_id = studio.create(ANNA, png())
        studio.start_keyframes(ANNA, run_id)
        eventually(lambda: studio.status(ANNA, run_id).stage == "keyframes")
        before = studio.status(ANNA, run_id)
        for change in (
            lambda: studio.update(ANNA, run_id, before.settings),
            lambda: studio.start_film(ANNA, run_id),
            lambda: studio.start_keyframes(ANNA, run_id),
            lambda: studio.regenerate(ANNA, run_id, 1, 1),
            lambda: studio.add(ANNA, run_id, 1),
            lambda: studio.replace(ANNA, run_id, 1, png()),
            lambda: studio.remove(ANNA, run_id, 1),
            lambda: studio.resume(ANNA, run_id),
        ):
            with pytest.raises(UserError, match="at work"):
                change()
        assert studio.status(ANNA, run_id) == before
        studio.delete(ANNA, run_id)
        with pytest.raises(NotThere):
            studio.status(ANNA, run_id)

    def test_a_restart_finds_what_was_at_work_and_goes_on(
        self, gated_studio: Gated, make_studio: Callable[..., Studio]
    ) -> None:
        before, gate = gated_studio()
        working, waiting = (before.create(ANNA, png()) for _ in range(2))
        before.start_film(ANNA, working)
        eventually(lambda: gate.begun)
        before.start_keyframes(ANNA, waiting, [4, 5])
        before.close()
        after = make_studio()
        for run_id in (working, waiting):
            assert after.status(ANNA, run_id).stage == "interrupted"
            assert "go on" in after.status(ANNA, run_id).message
            after.resume(ANNA, run_id)
        assert finished(after, working, "done").frames == FRAMES
        assert [each.seed for each in finished(after, waiting, "draft").candidates] == [4, 5]

    def test_candidates_that_are_made_are_not_made_again(self, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        keep = Making._keep
        made: list[int] = []

        def stopping(self: Making, keyframes: Any, states: Any, given: Any) -> None:
            keep(self, keyframes, states, given)
            made.append(given.keyframes.seed)
            if len(made) == 2:
                raise Stopped

        monkeypatch.setattr(Making, "_keep", stopping)
        run_id = studio.create(ANNA, png())
        studio.start_keyframes(ANNA, run_id, [1, 2, 3])
        status = finished(studio, run_id, "cancelled")
        assert [candidate.done for candidate in status.candidates] == [True, True, False]
        studio.choose(ANNA, run_id, 1)
        assert filmed(studio, run_id).chosen == 2
        assert made == [1, 2]

    def test_too_long_work_is_stopped_and_can_go_on(self, studio: Studio) -> None:
        studio.limits.film_seconds = 1e-6
        run_id = studio.create(ANNA, png())
        studio.start_film(ANNA, run_id)
        status = finished(studio, run_id, "cancelled")
        assert "as long as a run may take" in status.message
        studio.limits.film_seconds = 1000
        studio.resume(ANNA, run_id)
        finished(studio, run_id, "done")

    @pytest.mark.parametrize(
        ("fault", "told"),
        [
            (UserError("the picture is odd"), "The picture is odd."),
            (MemoryError(), "There was not enough memory"),
            (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), "There was not enough memory"),
            (FloatingPointError("NaN"), "not numbers"),
            (OSError(28, "No space left", "/secret/place"), "disk is full"),
            (OSError(5, "Input/output error", "/secret/place"), "Something went wrong inside"),
            (ZeroDivisionError("secret"), "Something went wrong inside"),
        ],
    )
    def test_a_fault_is_one_sentence_and_others_go_on(
        self, fault: Exception, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        def work(run: Run, device: str | None) -> None:
            if run.user == ANNA:
                raise fault

        studio = Studio(options(tmp_path / "runs"), work=work)
        bad, good = studio.create(ANNA, png()), studio.create(BERT, png())
        studio.start_keyframes(ANNA, bad)
        studio.start_keyframes(BERT, good)
        status = finished(studio, bad, "failed")
        assert told in str(status.error)
        assert re.fullmatch(r"[A-Z][^\n]*[.!?]", str(status.error))
        assert "secret" not in str(status.error)
        assert ("Traceback" in caplog.text) == ("inside" in told)
        finished(studio, good, "draft", BERT)
        studio.resume(ANNA, bad)
        studio.close()

    def test_a_flood_is_bounded_and_leaves_others_their_turn(self, gated_studio: Gated) -> None:
        studio, gate = gated_studio("limits.queue_per_user=2")
        flood = [studio.create(ANNA, png()) for _ in range(5)]
        modest = studio.create(BERT, png())
        studio.start_keyframes(ANNA, flood[0])
        eventually(lambda: gate.begun)
        for run_id in flood[1:3]:
            studio.start_keyframes(ANNA, run_id)
        for run_id in flood[3:]:
            with pytest.raises(Crowded):
                studio.start_keyframes(ANNA, run_id)
            status = studio.status(ANNA, run_id)
            assert (status.stage, status.keyframes) == ("draft", [])
        studio.start_keyframes(BERT, modest)
        assert studio.status(BERT, modest).place_in_queue == 1
        gate.let_through(4)
        eventually(lambda: len(gate.begun) == 4)
        assert gate.begun == [flood[0], flood[1], modest, flood[2]]
