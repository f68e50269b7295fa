"""What a worker does for a run: keyframes, single keyframes, the film, as the command line would make them."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from paintsundo.app.downloads import write_provenance
from paintsundo.app.models import Models, SharedModelSet
from paintsundo.app.previews import KeyframePreviews, save_frame_previews, save_preview
from paintsundo.app.record import Attempt, Keyframe
from paintsundo.app.run import Run
from paintsundo.app.run_settings import RunSettings
from paintsundo.app.watch import Clock, Stopped, TooLong, WatchedPipeline
from paintsundo.checkpoints.fingerprint import file_hash
from paintsundo.conditioning.images import open_picture
from paintsundo.conditioning.text import prompt_notice
from paintsundo.pipelines.batch import stage_settings
from paintsundo.pipelines.film import bucket_notice, fit_notice, fit_picture
from paintsundo.pipelines.interpolation import frame_positions
from paintsundo.pipelines.job import Job, make_film
from paintsundo.pipelines.options import InferOptions
from paintsundo.pipelines.provenance import Provenance
from paintsundo.pipelines.run_folder import RunFolder
from paintsundo.pipelines.writers import write_png, write_text

_GUESS_DECODING = 1.0  # times a pair's sampling, before it is measured


class Making:
    """The work on one run, by one worker.

    Args:
        device: where to compute; None: where the server's options say.
        seconds: after which the work is stopped.

    All methods raise `Stopped` where the run is cancelled, `TooLong` after `seconds`, and `UserError` for what the
    visitor can mend.
    """

    def __init__(self, run: Run, models: Models, device: str | None, seconds: float) -> None:
        self.run = run
        self.models = models
        self.device = device
        self._until = time.monotonic() + seconds

    def work(self) -> None:
        """Do what the run's task says."""
        task = self.run.record.task
        if task is None:
            return
        self._check()
        if task.kind == "keyframes" or self._none_made():
            self._make_keyframes()
        self._make_single_keyframes()
        if task.kind == "film":
            self._make_film()

    # Keyframes

    def _none_made(self) -> bool:
        """Whether the keyframes are a set that is made at once, and still to be made."""
        record = self.run.record
        ids = [keyframe.id for keyframe in record.keyframes]
        return ids == record.original and not any(keyframe.done for keyframe in record.keyframes)

    def _make_keyframes(self) -> None:
        run, record = self.run, self.run.record
        made_with = record.made_with
        assert made_with is not None
        self._stage("keyframes", "Loading the models …")
        picture = open_picture(run.original)
        pipe = self._set(self._options(made_with)).pipe
        if record.prompt is None or made_with.prompt is not None:
            record.prompt = pipe.tag(picture) if made_with.prompt is None else made_with.prompt
        options = self._options(made_with)
        record.notices = [
            notice
            for notice in (
                fit_notice(picture, options.keyframes),
                prompt_notice(pipe.keyframe_tokenizer, record.prompt),
            )
            if notice is not None
        ]
        attempts = record.candidates or [Attempt(made_with.seed, record.keyframes)]
        passes = options.keyframes.num_inference_steps * len(attempts)
        clock = Clock({"passes": (passes, 0.5), "decoding": (len(attempts), 1.0)})
        for number, attempt in enumerate(attempts):
            if attempt.done:
                clock.skip("passes", options.keyframes.num_inference_steps)
                clock.skip("decoding", 1)
                continue
            seeds = f" of seed {attempt.seed} ({number + 1} of {len(attempts)})" if len(attempts) > 1 else ""
            self._stage("keyframes", f"Drawing keyframes{seeds} …")
            options.keyframes.seed = attempt.seed
            clock.lap()
            states = self._generate(options, picture, record.prompt, attempt.keyframes, clock)
            clock.tick("decoding")
            self._keep(attempt.keyframes, states, options)

    def _make_single_keyframes(self) -> None:
        run, record = self.run, self.run.record
        made_with = record.made_with
        assert made_with is not None
        picture = open_picture(run.original)
        while True:
            with run.lock:
                waiting = [keyframe for keyframe in record.keyframes if not keyframe.done]
            if not waiting:
                return
            if record.prompt is None:
                self._stage("keyframes", "Loading the models …")
                record.prompt = self._set(self._options(made_with)).pipe.tag(picture)
            keyframe = waiting[0]
            options = self._options(made_with)
            options.keyframes.operation_steps = [int(keyframe.operation_step or 0)]
            options.keyframes.seed = int(keyframe.seed or 0)
            self._stage("keyframes", f"Drawing the keyframe at operation step {keyframe.operation_step} …")
            clock = Clock({"passes": (options.keyframes.num_inference_steps * len(waiting), 0.5)})
            clock.lap()
            states = self._generate(options, picture, record.prompt or "", [None, keyframe, None], clock)
            self._keep([keyframe], states[1:2], options)

    def _generate(
        self,
        options: InferOptions,
        picture: Image.Image,
        prompt: str,
        keyframes: Sequence[Keyframe | None],
        clock: Clock,
    ) -> list[Image.Image]:
        pipe = self._set(options).pipe
        rows = list(keyframes[1:-1])
        together = options.keyframes.batch or len(rows)
        done_rows = 0
        shown = 0

        def show(row: int, preview: Image.Image) -> None:
            keyframe = rows[row] if row < len(rows) else None
            if keyframe is not None:
                nonlocal shown
                shown += 1
                self._show(keyframe, preview, shown)

        fitted = fit_picture(picture, options.keyframes)
        with KeyframePreviews(pipe, fitted, show) as previews:

            def on_step(pipe: Any, index: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
                nonlocal done_rows
                self._check()
                clock.tick("passes")
                previews.on_step(values["latents"], done_rows)
                if index == len(pipe.keyframe_scheduler.timesteps) - 1:
                    done_rows += together
                self._progress(clock)
                return {}

            return pipe.generate_keyframes(picture, prompt, callback_on_step_end=on_step)

    def _show(self, keyframe: Keyframe, preview: Image.Image, number: int) -> None:
        run = self.run
        run.previews.mkdir(exist_ok=True)
        file = run.previews / f"{keyframe.id}-{number}.jpg"
        save_preview(file, preview)
        with run.lock:
            before = run.live.previews.get(keyframe.id)
            run.live.previews[keyframe.id] = file
            run.touch()
        # The one before the last may still be on its way to somebody.
        for old in run.previews.glob(f"{keyframe.id}-*.jpg"):
            if old not in (file, before):
                old.unlink(missing_ok=True)

    def _keep(self, keyframes: Sequence[Keyframe], states: Sequence[Image.Image], options: InferOptions) -> None:
        run = self.run
        provenance = self._provenance(options)
        write_provenance(run.folder, provenance)
        with run.lock:
            for keyframe, state in zip(keyframes, states, strict=True):
                write_png(run.file(keyframe), state, provenance)
                keyframe.done = True
                keyframe.before = None
                run.live.previews.pop(keyframe.id, None)
            run.save()

    def _provenance(self, options: InferOptions) -> Provenance:
        models = self._set(options)
        settings = stage_settings(options, [self.run.record.picture.sha256], models)
        return Provenance(models.labels, json.loads(json.dumps(settings)))

    # The film

    def _make_film(self) -> None:
        run, record = self.run, self.run.record
        if run.has_film:
            return
        self._stage("film", "Loading the models …")
        settings = run.film_settings(self.resolved())
        options = self._options(settings)
        options.overwrite = True
        picture = open_picture(run.original)
        hashes, own = [record.picture.sha256], None
        key = run.film_key()
        if run.edited:
            files = self._write_own()
            options.keyframes.folder = str(run.folder / "own")
            options.prompt = record.prompt or ""
            own, hashes = [open_picture(file) for file in files], [file_hash(file) for file in files]
        models = self._set(options)
        folder = RunFolder(run.folder, stage_settings(options, hashes, models))
        if not folder.finished(options.video.formats):
            folder.begin(True, options.video.formats)
            job = Job(run.original, picture if own is None else own[0], hashes, own, folder)
            if own is None and not folder.keyframes.is_dir():
                self._write_keyframes(folder, models, record.prompt or "")
            notice = bucket_notice([Image.open(run.file(each)) for each in record.keyframes], options.video)
            record.notices = [each for each in record.notices if "for the film" not in each]
            record.notices += [] if notice is None else [notice]
            models.watched = lambda pipe: self._watched(pipe, options)
            self._stage("film", "Drawing what lies between the keyframes …")
            make_film(job, options, models)
        self._finish_record()
        write_provenance(run.folder, Provenance(models.labels, folder.settings))
        with run.lock:
            record.film_of = key
            run.remove_previews()
            run.save()

    def _write_own(self) -> list[Path]:
        """Edited keyframes as files in their order: pixels alone, so that equal keyframes are equal files."""
        run = self.run
        folder = run.folder / "own"
        keyframes = run.record.keyframes
        digits = max(2, len(str(len(keyframes) - 1)))
        files = {folder / f"{index:0{digits}d}.png": run.file(each) for index, each in enumerate(keyframes)}
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for file, state in files.items():
            with Image.open(state) as picture:
                pixels = Image.fromarray(np.asarray(picture.convert("RGB")))
            pixels.save(file)
        return list(files)

    def _write_keyframes(self, folder: RunFolder, models: SharedModelSet, prompt: str) -> None:
        """The keyframes as the command line writes them: settings of the film may have changed since they were made."""
        provenance = Provenance(models.labels, folder.settings)
        keyframes = self.run.record.keyframes
        digits = max(2, len(str(len(keyframes) - 1)))
        write_text(folder.prompt, prompt)
        with folder.making(folder.keyframes) as temporary:
            for index, keyframe in enumerate(keyframes):
                with Image.open(self.run.file(keyframe)) as state:
                    write_png(temporary / f"{index:0{digits}d}.png", state.convert("RGB"), provenance)

    def _watched(self, pipe: Any, options: InferOptions) -> WatchedPipeline:
        run, record = self.run, self.run.record
        clock = Clock({})
        pairs, batch_pass = 0, 0

        def on_conditions(count: int, frames: int, skip: Sequence[int]) -> None:
            nonlocal clock, pairs
            pairs = count
            steps = options.video.num_inference_steps
            clock = Clock({"passes": (count * steps, 1.0), "decoding": (count, steps * _GUESS_DECODING)})
            clock.skip("passes", len(skip) * steps)
            if not skip:
                shutil.rmtree(run.preview_frames, ignore_errors=True)
            shown = {file.stem for file in run.preview_frames.glob("*.jpg")}
            with run.lock:
                record.frames_total = count * (frames - 1)
                record.pairs_done = [
                    pair in skip and all(f"{at:05d}" in shown for _, at in frame_positions(pair, count, frames))
                    for pair in range(count)
                ]
                run.save()

        def on_pass(rows: int, passes: int) -> None:
            nonlocal batch_pass
            self._check()
            batch_pass += 1
            # Second-order samplers call the network more often than once a step.
            if batch_pass * options.video.num_inference_steps // passes > (
                (batch_pass - 1) * options.video.num_inference_steps // passes
            ):
                clock.tick("passes", rows)
            self._progress(clock)

        def on_clip(pair: int, clip: np.ndarray) -> None:
            clock.tick("decoding")
            positions = frame_positions(pair, pairs, len(clip))
            save_frame_previews(run.preview_frames, [(number, clip[index]) for index, number in positions])
            with run.lock:
                record.pairs_done[pair] = True
                run.save()
            self._progress(clock)

        # Within a budget there is no room for the autoencoder beside the network.
        early = options.runtime.memory in ("auto", "high")
        return WatchedPipeline(pipe, on_conditions, on_pass, on_clip, run.live.cancel, early)

    def _finish_record(self) -> None:
        """Take the server's own paths out of `run.json`, and put in how the keyframes came to be."""
        run, record = self.run, self.run.record
        file = run.folder / "run.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        content["input"] = {**content["input"], "file": record.picture.name}
        configuration = content["configuration"]
        configuration["input"] = record.picture.name
        configuration["output"] = None
        if configuration["keyframes"]["folder"] is not None:
            configuration["keyframes"]["folder"] = "own"
        for part in configuration["models"]:
            value = configuration["models"][part]
            if isinstance(value, str) and Path(value).is_absolute():
                configuration["models"][part] = Path(value).name
        for checkpoint in content["checkpoints"].values():
            if Path(checkpoint["source"]).is_absolute():
                checkpoint["source"] = Path(checkpoint["source"]).name
        made = record.made_with
        content["page"] = {
            "picture": {"name": record.picture.name, "sha256": record.picture.sha256},
            "settings": vars(record.settings),
            "made_with": None if made is None else vars(made),
            "edited": run.edited,
            "keyframes": [
                {
                    "operation_step": keyframe.operation_step,
                    "seed": keyframe.seed,
                    "origin": keyframe.origin,
                    "sha256": keyframe.source,
                }
                for keyframe in record.keyframes
            ],
        }
        write_text(file, json.dumps(content, ensure_ascii=False, indent=2) + "\n")

    # Both

    def resolved(self) -> RunSettings:
        """The run's settings, sizes following the picture where they are left to it."""
        picture = self.run.record.picture
        return self.models.resolved(self.run.record.settings, (picture.width, picture.height))

    def _options(self, settings: RunSettings) -> InferOptions:
        options = settings.options(self.models.base(settings.model, settings.lora))
        if self.device is not None:
            options.runtime.device = self.device
        return options

    def _set(self, options: InferOptions) -> SharedModelSet:
        return self.models.model_set(options)

    def _stage(self, stage: Any, message: str) -> None:
        with self.run.lock:
            self.run.record.stage = stage
            self.run.record.message = message
            self.run.save()

    def _progress(self, clock: Clock) -> None:
        with self.run.lock:
            self.run.live.progress = clock.progress
            self.run.live.seconds_left = clock.seconds_left
            self.run.touch()

    def _check(self) -> None:
        if self.run.live.cancel.is_set():
            raise Stopped
        if time.monotonic() > self._until:
            raise TooLong
