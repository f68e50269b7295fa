"""The film between a run's keyframes, as the command line makes it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from paintsundo.app.downloads import write_provenance
from paintsundo.app.loaded_models import SharedModelSet
from paintsundo.app.making_parts import MakingParts
from paintsundo.app.previews import save_frame_previews
from paintsundo.app.watch import Clock, WatchedPipeline
from paintsundo.conditioning.images import open_picture
from paintsundo.file_hashes import file_hash
from paintsundo.pipelines.batch import stage_settings
from paintsundo.pipelines.film import bucket_notice
from paintsundo.pipelines.interpolation import frame_positions
from paintsundo.pipelines.job import Job, make_film
from paintsundo.pipelines.options import InferOptions
from paintsundo.pipelines.provenance import Provenance
from paintsundo.pipelines.run_folder import RunFolder
from paintsundo.pipelines.writers import write_png, write_text

_GUESS_DECODING = 1.0  # times a pair's sampling, before it is measured


class MakingFilm(MakingParts):
    """The film of a run whose keyframes are there."""

    def _make_film(self) -> None:
        run, record = self.run, self.run.record
        if run.has_film:
            return
        self._stage("film", "Loading the models …")
        settings = run.film_settings(self.models.resolved_film(record))
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
