"""Keyframes: seen while they are made, made anew, added, replaced, moved, removed."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from films import drawn, filmed, finished, pixels
from PIL import Image
from studios import ANNA, png

from paintsundo.app.making import Making
from paintsundo.app.record import Record
from paintsundo.app.state import Status
from paintsundo.app.studio import Studio
from paintsundo.app.watch import Stopped
from paintsundo.errors import UserError
from tiny_models import FRAMES, drawing


def stop_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is drawn from now on is stopped before it is begun."""

    def stopping(self: Making, *_: Any) -> Any:
        raise Stopped

    monkeypatch.setattr(Making, "_generate", stopping)


class TestKeyframes:
    def test_all_can_be_seen_while_they_are_made(self, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("paintsundo.app.previews.EVERY", 0.0)
        seen: list[Status] = []
        progress = Making._progress

        def looking(self: Making, clock: Any) -> None:
            progress(self, clock)
            seen.append(studio.status(ANNA, self.run.id))

        monkeypatch.setattr(Making, "_progress", looking)
        run_id = drawn(studio, steps=4)
        assert len(seen) == 4
        for number, status in enumerate(seen, start=1):
            assert status.stage == "keyframes"
            made = status.keyframes[1:-1]
            assert [keyframe.preview_path is not None for keyframe in made] == [True, True]
            assert status.progress > 0
            assert not any(keyframe.done for keyframe in made)
            names = {str(keyframe.preview_path) for keyframe in made}
            assert len(names) == 2, number
        assert [status.progress for status in seen] == sorted(status.progress for status in seen)
        assert seen[-1].seconds_left is not None
        assert len({status.revision for status in seen}) == 4
        # The last estimate of what it becomes is close to what it became.
        run = studio.store.open(ANNA, run_id)
        assert not list(run.previews.glob("*.jpg")) or run.live.previews == {}

    def test_one_is_made_anew_with_another_seed(self, studio: Studio) -> None:
        run_id = drawn(studio)
        before = studio.status(ANNA, run_id)
        old = pixels(before.keyframes[1].path)
        studio.regenerate(ANNA, run_id, 1, 99)
        after = finished(studio, run_id, "draft")
        assert [keyframe.seed for keyframe in after.keyframes] == [None, 99, before.keyframes[2].seed, None]
        assert after.keyframes[0] == before.keyframes[0]
        assert after.keyframes[2] == before.keyframes[2]
        assert (pixels(after.keyframes[1].path) != old).any()
        assert after.edited
        assert not before.keyframes[1].path.exists()

    def test_with_the_old_seed_it_is_the_old_one(self, studio: Studio) -> None:
        run_id = drawn(studio)
        before = studio.status(ANNA, run_id)
        old = pixels(before.keyframes[1].path)
        studio.regenerate(ANNA, run_id, 1, before.settings.seed)
        after = finished(studio, run_id, "draft")
        # Computed alone in place of beside another: equal up to rounding.
        assert np.abs(pixels(after.keyframes[1].path).astype(int) - old).max() <= 1

    def test_several_are_made_anew_in_one_go(self, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        run_id = drawn(studio)
        generate = Making._generate
        asked: list[None] = []

        def asking(self: Making, *given: Any) -> Any:
            if not asked:
                asked.append(studio.regenerate(ANNA, run_id, 2, 8))
            return generate(self, *given)

        monkeypatch.setattr(Making, "_generate", asking)
        studio.regenerate(ANNA, run_id, 1, 7)
        status = finished(studio, run_id, "draft")
        assert [keyframe.seed for keyframe in status.keyframes[1:-1]] == [7, 8]
        assert all(keyframe.done for keyframe in status.keyframes)

    def test_a_cancelled_one_is_the_old_one_again(self, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        run_id = drawn(studio)
        before = studio.status(ANNA, run_id)
        stop_drawing(monkeypatch)
        studio.regenerate(ANNA, run_id, 1, 7)
        after = finished(studio, run_id, "draft")
        assert after.keyframes == before.keyframes
        assert all(keyframe.path.is_file() for keyframe in after.keyframes)
        assert not after.edited
        studio.add(ANNA, run_id, 500)
        assert len(finished(studio, run_id, "draft").keyframes) == 4

    def test_new_ones_that_are_cancelled_leave_the_old_ones(
        self, studio: Studio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run_id = drawn(studio)
        studio.replace(ANNA, run_id, 1, png(drawing(64, 64)))
        before = studio.status(ANNA, run_id)
        stop_drawing(monkeypatch)
        for seeds in ([5], [5, 6]):
            studio.start_keyframes(ANNA, run_id, seeds)
            after = finished(studio, run_id, "draft")
            assert after.keyframes == before.keyframes
            assert (after.candidates, after.prompt) == ([], before.prompt)
            assert all(keyframe.path.is_file() for keyframe in after.keyframes)
            assert "from before" in after.message
        run = studio.store.open(ANNA, run_id)
        assert Record.read(run.folder) == run.record
        monkeypatch.undo()
        studio.start_keyframes(ANNA, run_id, [5])
        assert finished(studio, run_id, "draft").keyframes[1].seed == 5
        assert len(list((run.folder / "states").iterdir())) == 4

    def test_one_of_a_set_whose_drawing_was_stopped_brings_the_others(
        self, studio: Studio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stop_drawing(monkeypatch)
        settings = dataclasses.replace(studio.defaults(), operation_steps=[300, 700])
        run_id = studio.create(ANNA, png(), settings, "drawing.png")
        studio.start_keyframes(ANNA, run_id)
        assert not any(keyframe.done for keyframe in finished(studio, run_id, "cancelled").keyframes)
        monkeypatch.undo()
        studio.regenerate(ANNA, run_id, 1, 7)
        status = finished(studio, run_id, "draft")
        assert [keyframe.seed for keyframe in status.keyframes] == [None, 7, settings.seed, None]
        # The ends are the picture and the canvas, not drawings of operation step 0.
        whole = studio.status(ANNA, drawn(studio)).keyframes
        for place in (0, -1):
            assert pixels(status.keyframes[place].path).tolist() == pixels(whole[place].path).tolist()
        assert pixels(status.keyframes[-1].path).min() == 255

    def test_more_are_put_where_they_belong(self, studio: Studio) -> None:
        run_id = drawn(studio)
        for step in (500, 10, 900):
            studio.add(ANNA, run_id, step, seed=step)
            finished(studio, run_id, "draft")
        keyframes = studio.status(ANNA, run_id).keyframes
        assert [keyframe.operation_step for keyframe in keyframes] == [None, 10, 300, 500, 700, 900, None]
        assert [keyframe.origin for keyframe in keyframes] == ["picture", *["generated"] * 5, "blank"]

    def test_one_is_replaced_by_an_upload_of_any_size(self, studio: Studio) -> None:
        run_id = drawn(studio)
        studio.replace(ANNA, run_id, 2, png(Image.new("RGB", (200, 90), (10, 200, 30))))
        status = studio.status(ANNA, run_id)
        assert status.stage == "draft"
        replaced = status.keyframes[2]
        assert (replaced.origin, replaced.operation_step, replaced.seed) == ("upload", 700, None)
        assert pixels(replaced.path).shape == (48, 32, 3)
        assert (pixels(replaced.path) == (10, 200, 30)).all()
        with pytest.raises(UserError, match="not a picture"):
            studio.replace(ANNA, run_id, 1, b"no picture")
        assert studio.status(ANNA, run_id).keyframes == status.keyframes

    def test_they_are_moved_and_removed_but_not_the_ends(self, studio: Studio) -> None:
        run_id = drawn(studio)
        before = studio.status(ANNA, run_id)
        studio.move(ANNA, run_id, 1, 2)
        assert studio.status(ANNA, run_id).edited
        studio.move(ANNA, run_id, 2, 1)
        assert studio.status(ANNA, run_id).keyframes == before.keyframes
        assert not studio.status(ANNA, run_id).edited
        for index, to in ((0, 1), (3, 1), (1, 0), (1, 3)):
            with pytest.raises(UserError, match="stay at the ends"):
                studio.move(ANNA, run_id, index, to)
        for index in (0, 3):
            with pytest.raises(UserError, match="stay at the ends"):
                studio.remove(ANNA, run_id, index)
        for index in (-1, 4, 10**9):
            with pytest.raises(UserError, match="there is no keyframe"):
                studio.remove(ANNA, run_id, index)
        studio.remove(ANNA, run_id, 1)
        studio.remove(ANNA, run_id, 1)
        assert [keyframe.origin for keyframe in studio.status(ANNA, run_id).keyframes] == ["picture", "blank"]
        assert filmed(studio, run_id).frames == FRAMES // 2

    def test_settings_changed_since_are_told(self, studio: Studio) -> None:
        run_id = drawn(studio)
        settings = studio.status(ANNA, run_id).settings
        assert not studio.status(ANNA, run_id).settings_dirty
        studio.update(ANNA, run_id, dataclasses.replace(settings, video_seed=1))
        assert not studio.status(ANNA, run_id).settings_dirty
        studio.update(ANNA, run_id, dataclasses.replace(settings, steps=2))
        assert studio.status(ANNA, run_id).settings_dirty

    def test_sizes_left_open_follow_the_picture(self, studio: Studio) -> None:
        wide = png(Image.fromarray(np.tile(np.arange(160, dtype=np.uint8)[None, :, None], (80, 1, 3))))
        settings = dataclasses.replace(studio.defaults(), width=None, height=None, buckets=None)
        run_id = studio.create(ANNA, wide, settings)
        size = studio.status(ANNA, run_id).size
        assert size is not None
        assert size[0] > size[1]
        status = filmed(studio, run_id)
        assert pixels(status.keyframes[1].path).shape == (size[1], size[0], 3)
        frame = pixels(studio.frame(ANNA, run_id, 0))
        assert frame.shape[1] > frame.shape[0]
        assert status.settings.width is None
        assert not status.settings_dirty
        # What is cut off would be told.
        assert not [notice for notice in status.notices if "the film" in notice]
