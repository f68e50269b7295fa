"""The engine from a picture to a film, on the smallest models: keyframes edited, work stopped, resumed, repeated."""

import dataclasses
import json
import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from studios import ANNA, BERT, Gate, eventually, options, png

from paintsundo.app.faults import Crowded, NotThere
from paintsundo.app.making import Making
from paintsundo.app.models import Models
from paintsundo.app.options import AppOptions
from paintsundo.app.record import Record
from paintsundo.app.run import Run
from paintsundo.app.run_settings import RunSettings
from paintsundo.app.state import Status
from paintsundo.app.studio import Studio
from paintsundo.app.watch import Stopped, WatchedPipeline
from paintsundo.errors import UserError
from paintsundo.pipelines.command import main
from paintsundo.pipelines.run_folder import RunFolder
from tiny_models import FRAMES, MODELS, SMALL, drawing

Gated = Callable[..., tuple[Studio, Gate]]


def same_files(first: Path, second: Path, *parts: str) -> None:
    """Named files and folders of two runs are equal, byte for byte."""
    for part in parts:
        ours, theirs = first / part, second / part
        if ours.is_dir():
            names = [file.name for file in sorted(ours.iterdir())]
            assert names == [file.name for file in sorted(theirs.iterdir())], part
            assert names, part
            same_files(ours, theirs, *names)
        else:
            assert ours.read_bytes() == theirs.read_bytes(), f"{ours} and {theirs} differ"


def pixels(file: Path | None) -> np.ndarray:
    assert file is not None
    return np.asarray(Image.open(file).convert("RGB"))


def finished(studio: Studio, run_id: str, stage: str, user: str = ANNA) -> Status:
    status = studio.wait(user, run_id, 120)
    assert status.stage == stage, (status.message, status.error)
    return status


def drawn(studio: Studio, *seeds: int, **changes: Any) -> str:
    """A run with its keyframes."""
    settings = dataclasses.replace(studio.defaults(), **{"operation_steps": [300, 700], **changes})
    run_id = studio.create(ANNA, png(), settings, "drawing.png")
    studio.start_keyframes(ANNA, run_id, seeds or None)
    finished(studio, run_id, "draft")
    return run_id


def command(folder: Path, picture: Path, *others: str) -> Path:
    """What the command line makes of a run's picture; its folder."""
    given = folder / "drawing.png"
    folder.mkdir(parents=True)
    shutil.copyfile(picture, given)
    assert main([f"input={given}", f"output={folder / 'out'}", *MODELS, *SMALL, *others]) == 0
    return folder / "out" / "drawing"


EVERYTHING = ("prompt.txt", "keyframes", "frames", "film.mp4")


class TestEqualToTheCommandLine:
    def test_keyframes_film_and_downloads(self, studio: Studio, tmp_path: Path) -> None:
        run_id = drawn(studio)
        studio.start_film(ANNA, run_id)
        status = finished(studio, run_id, "done")
        run = studio.store.open(ANNA, run_id)
        theirs = command(
            tmp_path / "command",
            run.original,
            "keyframes.operation_steps=[300,700]",
            "video.formats=[mp4,gif,webp,sheet]",
        )
        same_files(run.folder, theirs, *EVERYTHING)
        for kind, name in (("gif", "film.gif"), ("webp", "film.webp"), ("sheet", "contact_sheet.png")):
            assert studio.export(ANNA, run_id, kind).read_bytes() == (theirs / name).read_bytes()  # type: ignore[arg-type]
        assert status.frames == status.frames_total == 45
        assert status.pairs_done == [True] * 3
        assert not status.edited
        # What is shown is what is written.
        shown = [keyframe.path for keyframe in status.keyframes]
        written = sorted((theirs / "keyframes").iterdir())
        assert [pixels(file).tolist() for file in shown] == [pixels(file).tolist() for file in written]

    def test_with_every_setting_changed(self, studio: Studio, tmp_path: Path) -> None:
        changes = {
            "prompt": 'a ${x}, <b>"quoted"</b>',
            "fit": "pad",
            "width": 48,
            "height": 32,
            "steps": 3,
            "guidance": 2.0,
            "negative_prompt": "bad",
            "seed": 5,
            "scheduler": "euler_ancestral",
            "noise": "independent",
            "video_prompt": "lines",
            "video_steps": 2,
            "video_guidance": 3.0,
            "video_guidance_rescale": 0.3,
            "video_seed": 9,
            "video_scheduler": "ddim",
            "fps": 8.0,
            "frame_stride": 5,
            "attention_window": "roll",
            "buckets": [[32, 64], [64, 32]],
        }
        settings = dataclasses.replace(studio.defaults(), **changes)
        run_id = studio.create(ANNA, png(), settings, "drawing.png")
        studio.start_film(ANNA, run_id)  # makes the keyframes first
        finished(studio, run_id, "done")
        run = studio.store.open(ANNA, run_id)
        theirs = command(
            tmp_path / "command",
            run.original,
            f"prompt={changes['prompt']}",
            "keyframes.fit=pad",
            "keyframes.width=48",
            "keyframes.height=32",
            "keyframes.num_inference_steps=3",
            "keyframes.guidance_scale=2",
            "keyframes.negative_prompt=bad",
            "keyframes.seed=5",
            "scheduler@keyframes.scheduler=euler_ancestral",
            "keyframes.noise=independent",
            "video.prompt=lines",
            "video.num_inference_steps=2",
            "video.guidance_scale=3",
            "video.guidance_rescale=0.3",
            "video.seed=9",
            "scheduler@video.scheduler=ddim",
            "video.fps=8",
            "video.frame_stride=5",
            "video.attention_window=roll",
            "video.buckets=[[32,64],[64,32]]",
        )
        same_files(run.folder, theirs, *EVERYTHING)

    def test_settings_of_the_film_changed_after_the_keyframes(self, studio: Studio, tmp_path: Path) -> None:
        run_id = drawn(studio)
        settings = dataclasses.replace(studio.status(ANNA, run_id).settings, video_seed=77)
        studio.update(ANNA, run_id, settings)
        studio.start_film(ANNA, run_id)
        finished(studio, run_id, "done")
        run = studio.store.open(ANNA, run_id)
        theirs = command(tmp_path / "command", run.original, "keyframes.operation_steps=[300,700]", "video.seed=77")
        same_files(run.folder, theirs, *EVERYTHING)

    def test_a_chosen_candidate_is_its_seeds_film(self, studio: Studio, tmp_path: Path) -> None:
        run_id = drawn(studio, 1, 2, 3)
        status = studio.status(ANNA, run_id)
        assert [candidate.seed for candidate in status.candidates] == [1, 2, 3]
        assert all(candidate.done for candidate in status.candidates)
        assert status.keyframes == []
        with pytest.raises(UserError, match="choose one"):
            studio.start_film(ANNA, run_id)
        studio.choose(ANNA, run_id, 2)
        studio.start_film(ANNA, run_id)
        status = finished(studio, run_id, "done")
        assert status.chosen == 3
        assert status.settings.seed == 3
        run = studio.store.open(ANNA, run_id)
        theirs = command(tmp_path / "command", run.original, "keyframes.operation_steps=[300,700]", "keyframes.seed=3")
        same_files(run.folder, theirs, *EVERYTHING)
        # Another can still be taken.
        studio.choose(ANNA, run_id, 0)
        assert studio.status(ANNA, run_id).stage == "draft"
        assert len(studio.status(ANNA, run_id).candidates) == 3

    def test_edited_keyframes_are_those_of_a_folder(self, studio: Studio, tmp_path: Path) -> None:
        run_id = drawn(studio)
        studio.replace(ANNA, run_id, 1, png(drawing(70, 70).rotate(90)))
        studio.start_film(ANNA, run_id)
        status = finished(studio, run_id, "done")
        assert status.edited
        run = studio.store.open(ANNA, run_id)
        theirs = command(
            tmp_path / "command", run.original, f"keyframes.folder={run.folder / 'own'}", f"prompt={status.prompt}"
        )
        same_files(run.folder, theirs, *EVERYTHING)

    def test_an_interrupted_film_ends_as_one_that_was_not(
        self, studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run_id = drawn(studio)
        run = studio.store.open(ANNA, run_id)
        shown = WatchedPipeline._shown

        def stopping(self: WatchedPipeline, pair: int, clip: np.ndarray) -> None:
            shown(self, pair, clip)
            if pair == 0:
                studio.cancel(ANNA, run_id)

        monkeypatch.setattr(WatchedPipeline, "_shown", stopping)
        studio.start_film(ANNA, run_id)
        status = finished(studio, run_id, "cancelled")
        assert status.pairs_done == [True, False, False]
        assert status.frames == 15
        assert studio.frame_numbers(ANNA, run_id) == list(range(30, 45))
        assert studio.frame(ANNA, run_id, 44).suffix == ".jpg"
        assert (run.folder / ".unfinished" / "clips" / "0000.safetensors").is_file()
        monkeypatch.undo()
        reopened = Run(run.folder, Record.read(run.folder)).status()
        assert (reopened.pairs_done, reopened.frames, reopened.frames_total) == ([True, False, False], 15, 45)
        sampled: list[int] = []
        save = RunFolder.save_clip
        monkeypatch.setattr(
            RunFolder, "save_clip", lambda self, pair, clip: (sampled.append(pair), save(self, pair, clip))[1]
        )
        studio.resume(ANNA, run_id)
        finished(studio, run_id, "done")
        assert sampled == [1, 2]
        theirs = command(tmp_path / "command", run.original, "keyframes.operation_steps=[300,700]")
        same_files(run.folder, theirs, *EVERYTHING)
        assert studio.frame(ANNA, run_id, 44).suffix == ".png"
        assert not run.previews.exists()

    def test_frames_of_a_film_that_will_not_be_are_shown_no_more(
        self, studio: Studio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run_id = drawn(studio)
        shown = WatchedPipeline._shown

        def stopping(self: WatchedPipeline, pair: int, clip: np.ndarray) -> None:
            shown(self, pair, clip)
            studio.cancel(ANNA, run_id)

        monkeypatch.setattr(WatchedPipeline, "_shown", stopping)
        studio.start_film(ANNA, run_id)
        assert finished(studio, run_id, "cancelled").frames == 15
        studio.rename(ANNA, run_id, "another name")
        assert studio.status(ANNA, run_id).frames == 15
        studio.remove(ANNA, run_id, 1)
        status = studio.status(ANNA, run_id)
        assert (status.frames, status.frames_total, status.pairs_done) == (0, 0, [False, False])

    def test_with_the_models_that_come_with_the_package(self, tmp_path: Path) -> None:
        side = 8 * Models(AppOptions.composed()).multiples("bundled")[0]
        small = [
            "keyframes.operation_steps=[300,700]",
            f"keyframes.width={side}",
            f"keyframes.height={side}",
            "keyframes.num_inference_steps=2",
            "video.num_inference_steps=1",
            f"video.buckets=[[{side},{side}]]",
            "runtime.device=cpu",
            "runtime.progress=false",
        ]
        studio = Studio(AppOptions.composed(["models=bundled", *small, f"runs.folder={tmp_path / 'runs'}"]))
        run_id = studio.create(ANNA, png(), None, "drawing.png")
        studio.start_film(ANNA, run_id)
        finished(studio, run_id, "done")
        run = studio.store.open(ANNA, run_id)
        (tmp_path / "drawing.png").write_bytes(run.original.read_bytes())
        out = tmp_path / "out"
        assert main([f"input={tmp_path / 'drawing.png'}", f"output={out}", *small]) == 0
        same_files(run.folder, out / "drawing", *EVERYTHING)
        studio.close()


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
        assert not before.keyframes[1].path.exists()  # type: ignore[union-attr]

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

        def stopping(self: Making, *_: Any) -> Any:
            raise Stopped

        monkeypatch.setattr(Making, "_generate", stopping)
        studio.regenerate(ANNA, run_id, 1, 7)
        after = finished(studio, run_id, "draft")
        assert after.keyframes == before.keyframes
        assert all(keyframe.path.is_file() for keyframe in after.keyframes)  # type: ignore[union-attr]
        assert not after.edited
        studio.add(ANNA, run_id, 500)
        assert len(finished(studio, run_id, "draft").keyframes) == 4

    def test_new_ones_that_are_cancelled_leave_the_old_ones(
        self, studio: Studio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run_id = drawn(studio)
        studio.replace(ANNA, run_id, 1, png(drawing(64, 64)))
        before = studio.status(ANNA, run_id)

        def stopping(self: Making, *_: Any) -> Any:
            raise Stopped

        monkeypatch.setattr(Making, "_generate", stopping)
        for seeds in ([5], [5, 6]):
            studio.start_keyframes(ANNA, run_id, seeds)
            after = finished(studio, run_id, "draft")
            assert after.keyframes == before.keyframes
            assert (after.candidates, after.prompt) == ([], before.prompt)
            assert all(keyframe.path.is_file() for keyframe in after.keyframes)  # type: ignore[union-attr]
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
        def stopping(self: Making, *_: Any) -> Any:
            raise Stopped

        monkeypatch.setattr(Making, "_generate", stopping)
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
        studio.start_film(ANNA, run_id)
        assert finished(studio, run_id, "done").frames == FRAMES // 2

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
        studio.start_film(ANNA, run_id)
        status = finished(studio, run_id, "done")
        assert pixels(status.keyframes[1].path).shape == (size[1], size[0], 3)
        frame = pixels(studio.frame(ANNA, run_id, 0))
        assert frame.shape[1] > frame.shape[0]
        assert status.settings.width is None
        assert not status.settings_dirty
        # What is cut off would be told.
        assert not [notice for notice in status.notices if "the film" in notice]


class TestFilm:
    def test_a_change_makes_it_a_draft_and_taking_it_back_does_not(self, studio: Studio) -> None:
        run_id = drawn(studio)
        studio.start_film(ANNA, run_id)
        done = finished(studio, run_id, "done")
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
        studio.start_film(ANNA, run_id)
        done = finished(studio, run_id, "done")
        frames = studio.store.open(ANNA, run_id).frames
        before = (frames / "00000.png").stat().st_mtime_ns
        studio.update(ANNA, run_id, dataclasses.replace(done.settings, fps=9.0))
        studio.start_film(ANNA, run_id)
        finished(studio, run_id, "done")
        assert (frames / "00000.png").stat().st_mtime_ns == before

    def test_its_record_tells_no_path_and_repeats_it(self, studio: Studio, tmp_path: Path) -> None:
        run_id = drawn(studio)
        studio.start_film(ANNA, run_id)
        finished(studio, run_id, "done")
        run = studio.store.open(ANNA, run_id)
        text = (run.folder / "run.json").read_text(encoding="utf-8")
        assert str(tmp_path) not in text
        assert str(Path(MODELS[1].split("=")[1]).parent) not in text
        record = json.loads(text)
        assert record["input"]["file"] == "drawing.png"
        assert record["complete"] is True
        again = studio.repeat(ANNA, text.encode())
        assert again != run_id
        studio.start_film(ANNA, again)
        finished(studio, again, "done")
        same_files(run.folder, studio.store.open(ANNA, again).folder, *EVERYTHING)

    def test_an_edited_one_is_repeated_too(self, studio: Studio) -> None:
        run_id = drawn(studio)
        studio.regenerate(ANNA, run_id, 1, 31)
        finished(studio, run_id, "draft")
        studio.replace(ANNA, run_id, 2, png(drawing(64, 64)))
        studio.add(ANNA, run_id, 100)
        finished(studio, run_id, "draft")
        studio.start_film(ANNA, run_id)
        finished(studio, run_id, "done")
        run = studio.store.open(ANNA, run_id)
        again = studio.repeat(ANNA, (run.folder / "run.json").read_bytes())
        studio.start_film(ANNA, again)
        status = finished(studio, again, "done")
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
        studio.start_film(ANNA, again)
        finished(studio, again, "done")
        same_files(studio.store.open(ANNA, again).folder, theirs, *EVERYTHING)

    def test_another_visitors_picture_is_not_found_by_its_hash(self, studio: Studio) -> None:
        run_id = drawn(studio)
        studio.start_film(ANNA, run_id)
        finished(studio, run_id, "done")
        record = (studio.store.open(ANNA, run_id).folder / "run.json").read_bytes()
        with pytest.raises(UserError, match="not among your runs"):
            studio.repeat(BERT, record)
        again = studio.repeat(BERT, record, png())
        assert studio.status(BERT, again).stage == "draft"

    def test_curves_are_of_the_film(self, studio: Studio) -> None:
        run_id = drawn(studio)
        with pytest.raises(UserError, match="not finished"):
            studio.curves(ANNA, run_id)
        studio.start_film(ANNA, run_id)
        finished(studio, run_id, "done")
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
        studio.start_film(ANNA, run_id)
        assert finished(studio, run_id, "done").chosen == 2
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


class TestBefore:
    def test_words_are_the_taggers(self, studio: Studio) -> None:
        from paintsundo.conditioning import Tagger

        tagger = Tagger.from_pretrained(MODELS[3].split("=", 1)[1])
        assert studio.tag(ANNA, png()) == tagger.tag(drawing())
        assert studio.tag(ANNA, drawing(), RunSettings(model="official", general_threshold=1.0)) != tagger.tag(
            drawing()
        )

    def test_the_preview_dims_what_is_cut_off_and_nothing_else(self, studio: Studio) -> None:
        picture = Image.new("RGB", (120, 60), (200, 0, 0))
        settings = dataclasses.replace(studio.defaults(), width=32, height=32)
        shown = np.asarray(studio.crop_preview(picture, settings))
        kept = (shown == (200, 0, 0)).all(axis=-1)
        assert kept[:, 31:89].all()
        assert not kept[:, :29].any()
        assert not kept[:, 91:].any()
        padded = np.asarray(studio.crop_preview(picture, dataclasses.replace(settings, fit="pad")))
        assert padded.shape == (32, 32, 3)
        assert (padded[0] == 255).all()

    @pytest.mark.parametrize(
        ("change", "part"),
        [
            ({"width": 33}, "multiple of"),
            ({"buckets": [[33, 32]]}, "multiples of"),
            ({"operation_steps": [1000]}, "operation step 1000"),
            ({"operation_steps": []}, "operation_steps is empty"),
            ({"steps": 0}, "num_inference_steps"),
            ({"seed": -1}, "seed"),
            ({"attention_window": "all"}, "attention_window"),
            ({"fit": "stretch"}, "fit"),
            ({"fps": 0.0}, "fps"),
            ({"memory": "much"}, "memory"),
            ({"scheduler": "nobody"}, "no scheduler"),
            ({"model": "nobody"}, "no model"),
            ({"lora": "nobody"}, "no LoRA"),
        ],
    )
    def test_impossible_settings_are_refused_at_once(self, change: dict, part: str, studio: Studio) -> None:
        settings = dataclasses.replace(studio.defaults(), **change)
        with pytest.raises(UserError, match=part):
            studio.create(ANNA, png(), settings)
        assert studio.runs(ANNA) == []
        run_id = studio.create(ANNA, png())
        with pytest.raises(UserError, match=part):
            studio.update(ANNA, run_id, settings)
        assert studio.status(ANNA, run_id).settings == studio.defaults()

    def test_settings_changed_at_the_same_time_all_hold(self, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
        run_id = studio.create(ANNA, png())
        check = studio.check

        def slow(*given: Any) -> None:
            time.sleep(0.2)
            check(*given)

        monkeypatch.setattr(studio, "check", slow)
        changes: list[dict[str, Any]] = [{"seed": 5}, {"steps": 3}, {"prompt": "a boat"}]
        with ThreadPoolExecutor(len(changes)) as pool:
            list(pool.map(lambda change: studio.change(ANNA, run_id, change), changes))
        settings = studio.status(ANNA, run_id).settings
        assert (settings.seed, settings.steps, settings.prompt) == (5, 3, "a boat")

    def test_seeds_are_checked_before_anything_is_lost(self, studio: Studio) -> None:
        run_id = drawn(studio)
        before = studio.status(ANNA, run_id)
        with pytest.raises(UserError, match="too many side by side"):
            studio.start_keyframes(ANNA, run_id, range(9))
        with pytest.raises(UserError, match="seed"):
            studio.start_keyframes(ANNA, run_id, [1, -1])
        assert studio.status(ANNA, run_id).keyframes == before.keyframes
        assert all(keyframe.path.is_file() for keyframe in before.keyframes)  # type: ignore[union-attr]

    def test_runs_are_listed_newest_first(self, studio: Studio) -> None:
        made = [studio.create(ANNA, png(), title=f"{number}.png") for number in range(3)]
        studio.keep(ANNA, made[1])
        listed = studio.runs(ANNA)
        assert [summary.run_id for summary in listed] == made[::-1]
        assert [summary.title for summary in listed] == ["2.png", "1.png", "0.png"]
        assert [summary.kept for summary in listed] == [False, True, False]
        assert all(summary.thumbnail.is_file() for summary in listed)
        assert studio.runs(BERT) == []
