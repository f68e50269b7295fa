"""The whole way: picture → tag → prompt → keyframes → pairs → clips → film."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor

from paintsundo.checkpoints import (
    MultiFrameComponents,
    SingleFrameComponents,
    load_multi_frame,
    load_single_frame,
    load_tagger,
)
from paintsundo.checkpoints.lora import merge_lora
from paintsundo.checkpoints.noise import trained_stage
from paintsundo.conditioning.buckets import choose_bucket
from paintsundo.conditioning.images import crop_to
from paintsundo.diffusion import Guidance, build_scheduler
from paintsundo.errors import UserError
from paintsundo.pipelines.fast_mode import FastGuidance
from paintsundo.pipelines.fast_options import FastOptions, FastStageOptions
from paintsundo.pipelines.interpolation import (
    InterpolationConditions,
    denoise_pairs,
    encode_conditions,
    join_clips,
    join_keyframes,
    start_decoding,
)
from paintsundo.pipelines.keyframes import generate_keyframes
from paintsundo.pipelines.memory_plan import DecodePlan, MemoryPlanner, PassPlan
from paintsundo.pipelines.options import (
    InferOptions,
    KeyframeOptions,
    TagOptions,
    VideoOptions,
    check_keyframes,
    check_video,
)
from paintsundo.pipelines.pictures import Picture, as_arrays, bucket_notice, fit_notice, fit_picture, read_picture
from paintsundo.pipelines.placement import Placement, choose_device, choose_dtype, choose_vae_dtype
from paintsundo.pipelines.sizes import check_buckets, check_keyframe_size, keyframe_multiple, video_multiple
from paintsundo.pipelines.speed import prepare_network
from paintsundo.settings import as_schema, compose

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

OnStepEnd = Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None]


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


class PaintsUndoPipeline(DiffusionPipeline):
    """Turns a finished picture into the film of its making.

    All components are attributes and can be replaced: `pipe.video_unet = torch.compile(pipe.video_unet)`,
    `pipe.keyframe_scheduler = …`. Options not given to a method are those of `keyframe_options`,
    `video_options` and `tag_options`.
    """

    model_cpu_offload_seq = (
        "keyframe_text_encoder->keyframe_vae->keyframe_unet->"
        "video_text_encoder->video_vae->image_encoder->image_projection->video_unet"
    )
    _optional_components = [  # noqa: RUF012 (diffusers' own convention)
        "keyframe_unet",
        "keyframe_vae",
        "keyframe_text_encoder",
        "keyframe_tokenizer",
        "tagger",
        "video_unet",
        "video_vae",
        "video_text_encoder",
        "video_tokenizer",
        "image_encoder",
        "image_projection",
    ]

    def __init__(
        self,
        keyframe_unet: Any,
        keyframe_vae: Any,
        keyframe_text_encoder: Any,
        keyframe_tokenizer: Any,
        keyframe_scheduler: Any,
        video_unet: Any,
        video_vae: Any,
        video_text_encoder: Any,
        video_tokenizer: Any,
        image_encoder: Any,
        image_projection: Any,
        video_scheduler: Any,
        tagger: Any = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            keyframe_unet=keyframe_unet,
            keyframe_vae=keyframe_vae,
            keyframe_text_encoder=keyframe_text_encoder,
            keyframe_tokenizer=keyframe_tokenizer,
            keyframe_scheduler=keyframe_scheduler,
            video_unet=video_unet,
            video_vae=video_vae,
            video_text_encoder=video_text_encoder,
            video_tokenizer=video_tokenizer,
            image_encoder=image_encoder,
            image_projection=image_projection,
            video_scheduler=video_scheduler,
            tagger=tagger,
        )
        unet = keyframe_unet if video_unet is None else video_unet
        self.placement = Placement(torch.device("cpu") if unet is None else unet.device, "high")
        self.keyframe_options = KeyframeOptions()
        self.video_options = VideoOptions()
        self.tag_options = TagOptions()
        self.batched_guidance = True
        self.memory = MemoryPlanner(self.placement.device)
        self.fast_options = FastOptions()

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
        if options is None:
            options = default_options("bundled" if "bundled" in (single_frame, multi_frame) else "official")
        chosen = choose_device(str(device) if device is not None else options.runtime.device)
        dtype = torch_dtype or choose_dtype(options.runtime.dtype, chosen)
        memory = MemoryPlanner.from_option(chosen, options.runtime.memory, options.runtime.guidance)
        placement = Placement(chosen, options.runtime.memory, options.runtime.seed_device)
        rest, vae_dtype = placement.rest_device, choose_vae_dtype(dtype)
        single = None if single_frame is None else load_single_frame(single_frame, dtype, rest, vae_dtype)
        multi = None if multi_frame is None else load_multi_frame(multi_frame, dtype, rest)
        if multi is not None and options.video.patch_positions is not None:
            multi.image_encoder.set_patch_positions(options.video.patch_positions)
        keyframe_stage = options.keyframes.noise_schedule.applied_to(trained_stage(single_frame, "single_frame"))
        video_stage = options.video.noise_schedule.applied_to(trained_stage(multi_frame, "multi_frame"))
        pipe = cls(
            keyframe_unet=single and single.unet,
            keyframe_vae=single and single.vae,
            keyframe_text_encoder=single and single.text_encoder,
            keyframe_tokenizer=single and single.tokenizer,
            keyframe_scheduler=build_scheduler(options.keyframes.scheduler, keyframe_stage),
            video_unet=multi and multi.unet,
            video_vae=multi and multi.vae,
            video_text_encoder=multi and multi.text_encoder,
            video_tokenizer=multi and multi.tokenizer,
            image_encoder=multi and multi.image_encoder,
            image_projection=multi and multi.image_projection,
            video_scheduler=build_scheduler(options.video.scheduler, video_stage),
            tagger=None if tagger is None else load_tagger(tagger),
        )
        pipe.placement, pipe.memory = placement, memory
        pipe.batched_guidance = options.runtime.guidance != "sequential"
        pipe.keyframe_options = options.keyframes
        pipe.video_options = options.video
        pipe.tag_options = options.tags
        pipe.fast_options = options.fast
        if options.models.lora is not None:
            unets = [unet for unet in (pipe.keyframe_unet, pipe.video_unet) if unet is not None]
            merge_lora(Path(options.models.lora), unets, options.models.lora_scale)
        for part in (single, multi):
            for network in part.networks().values() if part is not None else ():
                prepare_network(network, options.runtime, chosen)
        if placement.low and options.runtime.memory != "low":
            pipe.let_networks_stay()
        return pipe

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:  # type: ignore[override]
        """Write both models in the official layout, as `single_frame/` and `multi_frame/`."""
        if self.keyframe_unet is not None:
            self.single_frame.save(Path(folder) / "single_frame")
        if self.video_unet is not None:
            self.multi_frame.save(Path(folder) / "multi_frame")

    def let_networks_stay(self) -> None:
        """Move all networks to the device for good, if the memory planner finds room for the options' sizes."""
        networks: list[torch.nn.Module] = []
        plans: list[Callable[[], PassPlan | DecodePlan]] = []
        if self.keyframe_unet is not None:
            networks += self.single_frame.networks().values()
            plans.append(lambda: self._keyframe_plan(self.keyframe_options))
        if self.video_unet is not None:
            networks += self.multi_frame.networks().values()
            height, width = max(self.video_options.buckets, key=math.prod)
            pairs = len(self.keyframe_options.steps()) + 1
            frames = self.image_projection.config["video_length"]
            plans.append(lambda: self._video_plan(self.video_options, pairs, frames, height, width))
            plans.append(lambda: self.memory.decode(self.video_vae, frames, height, width))
        if self.memory.let_stay(networks, plans):
            self.placement = Placement(self.placement.device, "high", _seed_device(self.placement))
            for network in networks:
                network.to(self.placement.device)

    def to(self, *args: Any, **kwargs: Any) -> PaintsUndoPipeline:
        """Move all networks, as in diffusers; from then on they stay on their device."""
        moved = super().to(*args, **kwargs)
        moved.placement = Placement(moved.device, "high", _seed_device(self.placement))
        moved.memory = MemoryPlanner(moved.device)
        return moved

    def enable_model_cpu_offload(self, *args: Any, **kwargs: Any) -> None:
        """As in diffusers: each network is on the device only while it works."""
        super().enable_model_cpu_offload(*args, **kwargs)
        self.placement = Placement(self._execution_device, "low", _seed_device(self.placement))
        self.memory = MemoryPlanner(self._execution_device)

    @property
    def single_frame(self) -> SingleFrameComponents:
        """The keyframe model's components as they are now."""
        return SingleFrameComponents(
            self.keyframe_unet, self.keyframe_vae, self.keyframe_text_encoder, self.keyframe_tokenizer
        )

    @property
    def multi_frame(self) -> MultiFrameComponents:
        """The video model's components as they are now."""
        return MultiFrameComponents(
            self.video_unet,
            self.video_vae,
            self.video_text_encoder,
            self.video_tokenizer,
            self.image_encoder,
            self.image_projection,
        )

    def tag(self, image: Picture) -> str:
        """The prompt for a picture.

        Raises:
            UserError: the pipeline was loaded without a tagger, or the picture cannot be read.
        """
        if self.tagger is None:
            raise UserError("no tagger was loaded: give a prompt")
        return self.tagger.tag(read_picture(image), **vars(self.tag_options))

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
        options = _with(
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
        batches = math.ceil(len(steps) / plan.batch)
        with self._progress("keyframes", batches * _passes(self.keyframe_scheduler, options)) as bar:
            states = generate_keyframes(
                self.single_frame,
                self.keyframe_scheduler,
                self.placement,
                picture,
                prompt,
                options.negative_prompt,
                steps,
                options.num_inference_steps,
                self._guidance(options.guidance_scale, 0.0, self.fast_options.keyframes, plan.batched_guidance),
                options.seed,
                self._on_step(bar, callback_on_step_end),
                independent_noise=options.noise == "independent",
                batch=plan.batch,
                clip_skip=options.clip_skip,
            )
        blank = np.full_like(picture, 255)
        return [Image.fromarray(state) for state in (picture, *states, blank)]

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
        options = _with(
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
                self._video_guidance(options),
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
        batches = [pairs[start : start + plan.batch] for start in range(0, len(pairs), plan.batch)]
        with (
            self._progress("in-between frames", len(batches) * _passes(self.video_scheduler, options)) as bar,
            self.placement.using(self.video_unet),
        ):
            for batch in batches:
                latents = denoise_pairs(
                    self.multi_frame,
                    self.video_scheduler,
                    self.placement.device,
                    self.placement.noise_device,
                    conditions,
                    batch,
                    options.num_inference_steps,
                    self._video_guidance(options, plan.batched_guidance),
                    options.seed,
                    options.frame_stride,
                    options.attention_window,
                    self._on_step(bar, callback_on_step_end),
                )
                yield from zip(batch, latents.cpu(), strict=True)

    @torch.no_grad()
    def decode_clips(
        self, conditions: InterpolationConditions, latents: Mapping[int, Tensor]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (pair, clip uint8 (T, H, W, 3), finished → blank) in the order of the pairs."""
        self.memory.decode(self.video_vae, conditions.frames, *self._pixels(conditions)).apply(self.video_vae)
        with (
            self._progress("decoding", len(latents)) as bar,
            self.placement.using(self.video_vae),
        ):
            waiting: list[tuple[int, Callable[[], np.ndarray]]] = []
            for pair in sorted(latents):
                clip = start_decoding(self.multi_frame, self.placement.device, conditions, pair, latents[pair])
                waiting.append((pair, clip))
                # A GPU works on a clip while the caller has the one before.
                if len(waiting) > (self.placement.device.type == "cuda"):
                    pair, clip = waiting.pop(0)
                    yield pair, clip()
                    bar.update()
            for pair, clip in waiting:
                yield pair, clip()
                bar.update()

    def _keyframe_plan(self, options: KeyframeOptions) -> PassPlan:
        rows = len(options.steps())
        rows = rows if options.batch is None else min(options.batch, rows)
        guided = options.guidance_scale != 1.0
        return self.memory.keyframes(self.keyframe_unet, self.keyframe_vae, rows, options.height, options.width, guided)

    def _video_plan(self, options: VideoOptions, pairs: int, frames: int, height: int, width: int) -> PassPlan:
        return self.memory.video(
            self.video_unet,
            self.video_vae,
            pairs if options.batch is None else min(options.batch, pairs),
            frames,
            height,
            width,
            options.guidance_scale != 1.0,
            options.attention_window,
            unplanned=options.batch or 1,
        )

    def _pixels(self, conditions: InterpolationConditions) -> tuple[int, int]:
        height, width = conditions.latents.shape[-2:]
        return height * self.video_vae.downsampling, width * self.video_vae.downsampling

    def _video_guidance(self, options: VideoOptions, batched: bool = True) -> Guidance:
        return self._guidance(options.guidance_scale, options.guidance_rescale, self.fast_options.video, batched)

    def _guidance(self, scale: float, rescale: float, fast: FastStageOptions, batched: bool = True) -> Guidance:
        batched = batched and self.batched_guidance
        if fast.changes_steps:
            return FastGuidance(scale, rescale, batched, fast)
        return Guidance(scale, rescale, batched)

    def _progress(self, title: str, total: int) -> Any:
        config = getattr(self, "_progress_bar_config", {})
        self._progress_bar_config = {**config, "desc": title}
        try:
            return self.progress_bar(total=total)
        finally:
            self._progress_bar_config = config

    def _on_step(self, bar: Any, callback: OnStepEnd | None) -> Callable[[int, Tensor, Tensor], Tensor | None]:
        def on_step(index: int, timestep: Tensor, sample: Tensor) -> Tensor | None:
            bar.update()
            if callback is None:
                return None
            return (callback(self, index, timestep, {"latents": sample}) or {}).get("latents")

        return on_step


def default_options(models: str) -> InferOptions:
    """The options that `configs/models/<models>.yaml` gives: "bundled" or "official"."""
    return as_schema(compose("infer", [f"models={models}"]), InferOptions)


def _passes(scheduler: Any, options: KeyframeOptions | VideoOptions) -> int:
    # Second-order samplers call the network more often than once a step.
    scheduler.set_timesteps(options.num_inference_steps)
    return len(scheduler.timesteps)


def _with(options: Any, **changes: Any) -> Any:
    return dataclasses.replace(options, **{key: value for key, value in changes.items() if value is not None})


def _seed_device(placement: Placement) -> str:
    return "cpu" if placement.noise_device.type == "cpu" else "auto"
