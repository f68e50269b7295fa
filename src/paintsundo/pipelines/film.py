"""The whole way: picture → tag → prompt → keyframes → pairs → clips → film."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor

from paintsundo.conditioning.buckets import choose_bucket
from paintsundo.conditioning.images import crop_to
from paintsundo.errors import UserError
from paintsundo.models.token_merging import set_token_merging
from paintsundo.pipelines.film_models import OnStepEnd, changed, passes
from paintsundo.pipelines.interpolation import (
    InterpolationConditions,
    denoise_pairs,
    encode_conditions,
    join_clips,
    join_keyframes,
    start_decoding,
)
from paintsundo.pipelines.keyframe_stage import KeyframeStage
from paintsundo.pipelines.loading import default_options, load_pipeline
from paintsundo.pipelines.options import InferOptions, VideoOptions, check_video
from paintsundo.pipelines.pictures import Picture, as_arrays, bucket_notice, fit_notice, fit_picture, read_picture
from paintsundo.pipelines.side_by_side import StepsInTurn, clips_at_once, decoder_bytes, in_order, unet_bytes
from paintsundo.pipelines.sizes import check_buckets, video_multiple

__all__ = [
    "PaintsUndoOutput",
    "PaintsUndoPipeline",
    "Picture",
    "bucket_notice",
    "default_options",
    "fit_notice",
    "fit_picture",
    "read_picture",
]


@dataclass
class PaintsUndoOutput(BaseOutput):
    """What the pipeline returns.

    Attributes:
        prompt: the words the keyframes were made with.
        keyframes: finished … blank.
        frames: the film, uint8 (N, H, W, 3), blank … finished.
    """

    prompt: str
    keyframes: list[Image.Image]
    frames: np.ndarray


class PaintsUndoPipeline(KeyframeStage):
    """Turns a finished picture into the film of its making.

    All components are attributes and can be replaced: `pipe.video_unet = torch.compile(pipe.video_unet)`,
    `pipe.keyframe_scheduler = …`. Options not given to a method are those of `keyframe_options`,
    `video_options` and `tag_options`.
    """

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        single_frame: str | os.PathLike[str] | None = "bundled",
        multi_frame: str | os.PathLike[str] | None = "bundled",
        tagger: str | os.PathLike[str] | None = "bundled",
        torch_dtype: torch.dtype | None = None,
        device: str | torch.device | None = None,
        options: InferOptions | None = None,
    ) -> PaintsUndoPipeline:
        """Load both models.

        Args:
            single_frame, multi_frame, tagger: each "bundled", a folder in the official layout, or a hub id;
                None leaves a model or the tagger out.
            torch_dtype: float32 on a CPU and float16 on a GPU by default.
            device: a GPU where there is one by default.
            options: sizes, steps, guidance, schedulers and where to compute; by default those that suit the
                bundled models if one of them is asked for, the published ones otherwise.

        Raises:
            UserError: a checkpoint is missing, damaged, or another model's.
        """
        return load_pipeline(cls, single_frame, multi_frame, tagger, torch_dtype, device, options)

    def interpolate(
        self,
        keyframes: Sequence[Picture],
        prompt: str | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        seed: int | None = None,
        frame_stride: int | None = None,
        attention_window: str | None = None,
        buckets: Sequence[Sequence[int]] | None = None,
        batch: int | None = None,
        between: str | None = None,
        callback_on_step_end: OnStepEnd | None = None,
    ) -> np.ndarray:
        """Make the film between keyframes.

        Args:
            keyframes: finished … blank, both ends included, at least two.
            prompt: of the video model; not the picture's tags.
            seed: pair i draws its noise from seed + i.
            frame_stride: the network's `fs`.
            attention_window: "none", "prv", "first" or "roll".
            buckets: [[height, width], …]; the one nearest to the first keyframe's shape is used for all.
            batch: pairs computed together; does not change the film.
            between: "model", or "none" for a film of the keyframes alone, which needs no video model.

        Returns:
            uint8 (N, H, W, 3), blank … finished; N = pairs × (frames of a clip - 1), or the number of keyframes.

        Raises:
            UserError: an impossible size or option, or fewer than two keyframes.
        """
        options = changed(
            self.video_options,
            prompt=prompt,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            seed=seed,
            frame_stride=frame_stride,
            attention_window=attention_window,
            buckets=None if buckets is None else [list(bucket) for bucket in buckets],
            batch=batch,
            between=between,
        )
        if options.between == "none":
            check_video(options)
            return join_keyframes(as_arrays(keyframes))
        conditions = self.prepare_interpolation(keyframes, options)
        latents = dict(self.sample_clips(conditions, options, callback_on_step_end=callback_on_step_end))
        return join_clips([clip for _, clip in self.decode_clips(conditions, latents)])

    def __call__(
        self,
        image: Picture,
        prompt: str | None = None,
        *,
        keyframes: Mapping[str, Any] | None = None,
        video: Mapping[str, Any] | None = None,
    ) -> PaintsUndoOutput:
        """Make the film of a picture's making.

        Args:
            image: the finished picture: a file, a PIL image, or uint8 (H, W, 3).
            prompt: by default the tagger's.
            keyframes: arguments for `generate_keyframes`.
            video: arguments for `interpolate`.
        """
        picture = read_picture(image)
        prompt = self.tag(picture) if prompt is None else prompt
        states = self.generate_keyframes(picture, prompt, **(keyframes or {}))
        return PaintsUndoOutput(prompt=prompt, keyframes=states, frames=self.interpolate(states, **(video or {})))

    # The interpolation in three parts, for callers that keep what is finished.

    @torch.no_grad()
    def prepare_interpolation(self, keyframes: Sequence[Picture], options: VideoOptions) -> InterpolationConditions:
        """Encode keyframes (finished … blank), each once, at the bucket's size."""
        check_video(options)
        if self.video_unet is None:
            raise UserError("the video model was left out when this pipeline was loaded")
        check_buckets(options.buckets, video_multiple(self.video_vae.config, self.video_unet.config))
        pictures = as_arrays(keyframes)
        height, width = choose_bucket(pictures[0].shape[0], pictures[0].shape[1], options.buckets)
        with self._progress("reading keyframes", len(pictures)) as bar:
            return encode_conditions(
                self.multi_frame,
                self.placement,
                [crop_to(picture, width, height) for picture in pictures],
                options.prompt,
                options.negative_prompt,
                self.video_guidance(options),
                bar.update,
                options.clip_skip,
            )

    @torch.no_grad()
    def sample_clips(
        self,
        conditions: InterpolationConditions,
        options: VideoOptions,
        skip: Sequence[int] = (),
        callback_on_step_end: OnStepEnd | None = None,
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield (pair, scaled latents (z, T, h, w) on the CPU, float32) for all pairs but those to skip."""
        pairs = [pair for pair in range(conditions.pairs) if pair not in skip]
        if not pairs:
            return
        plan = self._video_plan(options, len(pairs), conditions.frames, *self._pixels(conditions))
        plan.apply(self.video_unet, self.placement.device)
        set_token_merging(self.video_unet, self.fast_options.video.merge_tokens)
        batches = [pairs[start : start + plan.batch] for start in range(0, len(pairs), plan.batch)]
        with (
            self._progress("in-between frames", len(batches) * passes(self.video_scheduler, options)) as bar,
            self.placement.using(self.video_unet),
        ):
            on_step = StepsInTurn(self._on_step(bar, callback_on_step_end))

            def sampled(batch: Sequence[int]) -> Tensor:
                latents = denoise_pairs(
                    self.multi_frame,
                    copy.deepcopy(self.video_scheduler),  # they count their steps
                    self.placement.device,
                    self.placement.noise_device,
                    conditions,
                    batch,
                    options.num_inference_steps,
                    self.video_guidance(options, plan.batched_guidance),
                    options.seed,
                    options.frame_stride,
                    options.attention_window,
                    on_step,
                    None,
                    self.graphs,
                )
                return latents.cpu()

            at_once = self._clips_at_once(
                math.ceil(conditions.pairs / plan.batch),
                unet_bytes(self.video_unet, plan.batch, conditions.frames, *conditions.latents.shape[-2:]),
                self.video_unet,
            )
            for batch, latents in zip(batches, in_order(sampled, batches, at_once, on_step.stop), strict=True):
                yield from zip(batch, latents, strict=True)

    @torch.no_grad()
    def decode_clips(
        self, conditions: InterpolationConditions, latents: Mapping[int, Tensor]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (pair, clip uint8 (T, H, W, 3), finished → blank) in the order of the pairs."""
        wanted = max(1, min(self.decode_batch, len(latents)))
        plan = self.memory.decode(self.video_vae, conditions.frames, *self._pixels(conditions), clips=wanted)
        plan.apply(self.video_vae)
        pairs = sorted(latents)
        batches = [pairs[start : start + plan.clips_together] for start in range(0, len(pairs), plan.clips_together)]
        at_once = self._clips_at_once(
            math.ceil(conditions.pairs / plan.clips_together),
            decoder_bytes(self.video_vae, plan.clips_together, conditions.frames, *self._pixels(conditions)),
            self.video_vae,
        )

        def started(some: Sequence[int]) -> Callable[[], np.ndarray]:
            batch = torch.stack([latents[pair] for pair in some])
            return start_decoding(self.multi_frame, self.placement.device, conditions, some, batch)

        with (
            self._progress("decoding", len(latents)) as bar,
            self.placement.using(self.video_vae),
        ):
            waiting: list[tuple[list[int], Callable[[], np.ndarray]]] = []
            for some, clips in zip(batches, in_order(started, batches, at_once), strict=True):
                waiting.append((some, clips))
                # A GPU works on clips while the caller has those before.
                if len(waiting) > (self.placement.device.type == "cuda"):
                    yield from self._decoded(*waiting.pop(0), bar)
            for others in waiting:
                yield from self._decoded(*others, bar)

    def _clips_at_once(self, clips: int, clip_bytes: int, network: torch.nn.Module) -> int:
        if self.memory.budget is not None:  # planned for one clip after the other
            return 1
        return clips_at_once(self.placement.device, clips, self.clips_at_once, clip_bytes, network)

    def _decoded(
        self, pairs: Sequence[int], clips: Callable[[], np.ndarray], bar: Any
    ) -> Iterator[tuple[int, np.ndarray]]:
        for pair, clip in zip(pairs, clips(), strict=True):
            yield pair, clip
            bar.update()
