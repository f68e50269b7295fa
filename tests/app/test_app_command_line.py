"""The engine's films are those of the command line, to the byte."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from films import EVERYTHING, command, drawn, filmed, finished, pixels, same_files
from studios import ANNA, png

from paintsundo.app.models import Models
from paintsundo.app.options import AppOptions
from paintsundo.app.record import Record
from paintsundo.app.run import Run
from paintsundo.app.studio import Studio
from paintsundo.app.watch import WatchedPipeline
from paintsundo.errors import UserError
from paintsundo.pipelines.command import main
from paintsundo.pipelines.run_folder import RunFolder
from tiny_models import drawing


class TestEqualToTheCommandLine:
    def test_keyframes_film_and_downloads(self, studio: Studio, tmp_path: Path) -> None:
        run_id = drawn(studio)
        status = filmed(studio, run_id)
        run = studio.store.open(ANNA, run_id)
        theirs = command(
            tmp_path / "command",
            run.original,
            "keyframes.operation_steps=[300,700]",
            "video.formats=[mp4,gif,webp,sheet]",
        )
        same_files(run.folder, theirs, *EVERYTHING)
        for kind, name in (("gif", "film.gif"), ("webp", "film.webp"), ("sheet", "contact_sheet.png")):
            assert studio.export(ANNA, run_id, kind).read_bytes() == (theirs / name).read_bytes()
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
        filmed(studio, run_id)
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
        status = filmed(studio, run_id)
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
        status = filmed(studio, run_id)
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
        filmed(studio, run_id)
        run = studio.store.open(ANNA, run_id)
        (tmp_path / "drawing.png").write_bytes(run.original.read_bytes())
        out = tmp_path / "out"
        assert main([f"input={tmp_path / 'drawing.png'}", f"output={out}", *small]) == 0
        same_files(run.folder, out / "drawing", *EVERYTHING)
        studio.close()
