"""Keyframes made, all at once or one by one, and seen while they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from paintsundo.app.downloads import write_provenance
from paintsundo.app.making_parts import MakingParts
from paintsundo.app.previews import KeyframePreviews, save_preview
from paintsundo.app.record import Attempt, Keyframe
from paintsundo.app.watch import Clock
from paintsundo.conditioning.images import open_picture
from paintsundo.conditioning.text import prompt_notice
from paintsundo.pipelines.batch import stage_settings
from paintsundo.pipelines.film import fit_notice, fit_picture
from paintsundo.pipelines.options import InferOptions
from paintsundo.pipelines.provenance import Provenance
from paintsundo.pipelines.writers import write_png


class MakingKeyframes(MakingParts):
    """The keyframes of a run or of its candidates."""

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
        self._make_ends(picture, self._options(made_with))
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

    def _make_ends(self, picture: Image.Image, options: InferOptions) -> None:
        """The finished picture and the blank canvas, where the drawing of their set was stopped."""
        ends = [each for each in self.run.record.keyframes if not each.done and each.origin in ("picture", "blank")]
        fitted = fit_picture(picture, options.keyframes)
        states = {"picture": fitted, "blank": np.full_like(fitted, 255)}
        if ends:
            self._keep(ends, [Image.fromarray(states[each.origin]) for each in ends], options)

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
