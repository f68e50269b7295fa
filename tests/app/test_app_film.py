"""A film: a draft again by a change, repeated by its record, measured by its curves."""

import dataclasses
import json
from pathlib import Path

import pytest
from films import EVERYTHING, command, drawn, filmed, finished, same_files
from studios import ANNA, BERT, png

from paintsundo.app.studio import Studio
from paintsundo.errors import UserError
from tiny_models import MODELS, drawing


class TestFilm:
    def test_a_change_makes_it_a_draft_and_taking_it_back_does_not(self, studio: Studio) -> None:
        run_id = drawn(studio)
        done = filmed(studio, run_id)
        with pytest.raises(UserError, match="finished already"):
            studio.start_film(ANNA, run_id)
        studio.update(ANNA, run_id, dataclasses.replace(done.settings, fps=9.0))
        changed = studio.status(ANNA, run_id)
        assert (changed.stage, changed.has_film, changed.frames) == ("draft", False, 0)
        with pytest.raises(UserError, match="not finished"):
            studio.export(ANNA, run_id, "mp4")
        studio.update(ANNA, run_id, done.settings)
        assert studio.status(ANNA, run_id).has_film
        assert studio.export(ANNA, run_id, "mp4").name == "film.mp4"

    def test_another_rate_keeps_the_frames(self, studio: Studio) -> None:
        run_id = drawn(studio)
        done = filmed(studio, run_id)
        frames = studio.store.open(ANNA, run_id).frames
        before = (frames / "00000.png").stat().st_mtime_ns
        studio.update(ANNA, run_id, dataclasses.replace(done.settings, fps=9.0))
        filmed(studio, run_id)
        assert (frames / "00000.png").stat().st_mtime_ns == before

    def test_its_record_tells_no_path_and_repeats_it(self, studio: Studio, tmp_path: Path) -> None:
        run_id = drawn(studio)
        filmed(studio, run_id)
        run = studio.store.open(ANNA, run_id)
        text = (run.folder / "run.json").read_text(encoding="utf-8")
        assert str(tmp_path) not in text
        assert str(Path(MODELS[1].split("=")[1]).parent) not in text
        record = json.loads(text)
        assert record["input"]["file"] == "drawing.png"
        assert record["complete"] is True
        again = studio.repeat(ANNA, text.encode())
        assert again != run_id
        filmed(studio, again)
        same_files(run.folder, studio.store.open(ANNA, again).folder, *EVERYTHING)

    def test_an_edited_one_is_repeated_too(self, studio: Studio) -> None:
        run_id = drawn(studio)
        studio.regenerate(ANNA, run_id, 1, 31)
        finished(studio, run_id, "draft")
        studio.replace(ANNA, run_id, 2, png(drawing(64, 64)))
        studio.add(ANNA, run_id, 100)
        finished(studio, run_id, "draft")
        filmed(studio, run_id)
        run = studio.store.open(ANNA, run_id)
        again = studio.repeat(ANNA, (run.folder / "run.json").read_bytes())
        status = filmed(studio, again)
        assert [keyframe.origin for keyframe in status.keyframes] == [
            "picture",
            "generated",
            "generated",
            "upload",
            "blank",
        ]
        same_files(run.folder, studio.store.open(ANNA, again).folder, *EVERYTHING)

    def test_one_of_the_command_line_is_repeated(self, studio: Studio, tmp_path: Path) -> None:
        first = studio.create(ANNA, png(), None, "drawing.png")
        original = studio.store.open(ANNA, first).original
        theirs = command(tmp_path / "command", original, "video.seed=4", "scheduler@video.scheduler=ddim")
        again = studio.repeat(ANNA, (theirs / "run.json").read_bytes())
        assert studio.status(ANNA, again).settings.video_scheduler == "ddim"
        filmed(studio, again)
        same_files(studio.store.open(ANNA, again).folder, theirs, *EVERYTHING)

    def test_another_visitors_picture_is_not_found_by_its_hash(self, studio: Studio) -> None:
        run_id = drawn(studio)
        filmed(studio, run_id)
        record = (studio.store.open(ANNA, run_id).folder / "run.json").read_bytes()
        with pytest.raises(UserError, match="not among your runs"):
            studio.repeat(BERT, record)
        again = studio.repeat(BERT, record, png())
        assert studio.status(BERT, again).stage == "draft"

    def test_curves_are_of_the_film(self, studio: Studio) -> None:
        run_id = drawn(studio)
        with pytest.raises(UserError, match="not finished"):
            studio.curves(ANNA, run_id)
        filmed(studio, run_id)
        curves = studio.curves(ANNA, run_id)
        assert {name: len(values) for name, values in curves.items()} == dict.fromkeys(
            ("progress", "edges", "colour", "operation_steps"), 45
        )
        for name in ("progress", "edges", "colour"):
            assert all(0 <= value <= 1 for value in curves[name])
        steps = curves["operation_steps"]
        # The first frame of a pair's clip is the keyframe nearer to the finished one; the blank canvas is left out.
        assert (steps[44], steps[29], steps[14]) == (0, 300, 700)
        assert steps[0] == pytest.approx(999 - 299 / 15, abs=0.01)
        assert steps == sorted(steps, reverse=True)
        assert curves == studio.curves(ANNA, run_id)
