"""The first stage of a film: the states of a drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from paintsundo.errors import UserError
from paintsundo.models.token_merging import set_token_merging
from paintsundo.pipelines.film_models import FilmModels, OnStepEnd, changed, passes
from paintsundo.pipelines.keyframes import generate_keyframes
from paintsundo.pipelines.options import check_keyframes
from paintsundo.pipelines.pictures import Picture, fit_picture, read_picture
from paintsundo.pipelines.sizes import check_keyframe_size, keyframe_multiple


class KeyframeStage(FilmModels):
    """A pipeline that can make keyframes."""

    @torch.no_grad()
    def generate_keyframes(
        self,
        image: Picture,
        prompt: str | None = None,
        operation_steps: Sequence[int] | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        negative_prompt: str | None = None,
        seed: int | None = None,
        fit: str | None = None,
        noise: str | None = None,
        batch: int | None = None,
        callback_on_step_end: OnStepEnd | None = None,
    ) -> list[Image.Image]:
        """Generate the states of a drawing.

        Args:
            image: the finished picture; scaled to cover the size and centre-cropped (`fit="crop"`), or
                kept whole on white (`fit="pad"`).
            prompt: by default the tagger's.
            operation_steps: 0 (finished) … 999 (first stroke); sorted before use.
            height, width: of the keyframes, pixels.
            seed: of the one noise that all keyframes share.
            noise: "same", or "independent": keyframe i draws from seed + i.
            batch: keyframes computed together; does not change them.
            callback_on_step_end: as in diffusers; sees and may replace `latents`.

        Returns:
            the fitted picture, one keyframe per operation step, a white canvas.

        Raises:
            UserError: an impossible size, step or picture.
        """
        if self.keyframe_unet is None:
            raise UserError("the keyframe model was left out when this pipeline was loaded")
        options = changed(
            self.keyframe_options,
            operation_steps=None if operation_steps is None else list(operation_steps),
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            negative_prompt=negative_prompt,
            seed=seed,
            fit=fit,
            noise=noise,
            batch=batch,
            placement=None if operation_steps is None else "listed",
        )
        check_keyframes(options)
        check_keyframe_size(options.width, options.height, keyframe_multiple(self.keyframe_vae.config))
        picture = fit_picture(read_picture(image), options)
        if prompt is None:
            prompt = self.tag(image)
        steps = options.steps()
        plan = self._keyframe_plan(options)
        plan.apply(self.keyframe_unet, self.placement.device)
        set_token_merging(self.keyframe_unet, self.fast_options.keyframes.merge_tokens)
        batches = math.ceil(len(steps) / plan.batch)
        with self._progress("keyframes", batches * passes(self.keyframe_scheduler, options)) as bar:
            states = generate_keyframes(
                self.single_frame,
                self.keyframe_scheduler,
                self.placement,
                picture,
                prompt,
                options.negative_prompt,
                steps,
                options.num_inference_steps,
                self.keyframe_guidance(options, plan.batched_guidance),
                options.seed,
                self._on_step(bar, callback_on_step_end),
                independent_noise=options.noise == "independent",
                batch=plan.batch,
                clip_skip=options.clip_skip,
                graphs=self.graphs,
            )
        blank = np.full_like(picture, 255)
        return [Image.fromarray(state) for state in (picture, *states, blank)]
