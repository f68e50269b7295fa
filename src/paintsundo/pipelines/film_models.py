"""The networks of a pipeline: where they compute, how much of them at once, and how a stage calls them."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from paintsundo.checkpoints import MultiFrameComponents, SingleFrameComponents
from paintsundo.diffusion import Guidance
from paintsundo.errors import UserError
from paintsundo.pipelines.fast_mode import FastGuidance
from paintsundo.pipelines.fast_options import FastOptions, FastStageOptions
from paintsundo.pipelines.interpolation import InterpolationConditions
from paintsundo.pipelines.memory_plan import DecodePlan, MemoryPlanner, PassPlan
from paintsundo.pipelines.options import KeyframeOptions, TagOptions, VideoOptions
from paintsundo.pipelines.pictures import Picture, read_picture
from paintsundo.pipelines.placement import Placement

OnStepEnd = Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None]


class FilmModels(DiffusionPipeline):
    """Both models and the tagger as one diffusers pipeline; its subclasses say what is made with them."""

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
        self.decode_batch = 1
        self.clips_at_once: int | None = None
        self.graphs = False
        self.memory = MemoryPlanner(self.placement.device)
        self.fast_options = FastOptions()

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

    def to(self, *args: Any, **kwargs: Any) -> Self:
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

    def keyframe_guidance(self, options: KeyframeOptions, batched: bool = True) -> Guidance:
        """How keyframes are guided, which in fast runs also leaves out work; `batched`: both predictions at once."""
        return self._guidance(options.guidance_scale, 0.0, self.fast_options.keyframes, batched)

    def video_guidance(self, options: VideoOptions, batched: bool = True) -> Guidance:
        """How frames between are guided, as `keyframe_guidance`."""
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


def passes(scheduler: Any, options: KeyframeOptions | VideoOptions) -> int:
    """How often a sampler asks its network: second-order ones do so more often than once a step."""
    scheduler.set_timesteps(options.num_inference_steps)
    return len(scheduler.timesteps)


def changed(options: Any, **changes: Any) -> Any:
    """Options with those that are not None in place of their own."""
    return dataclasses.replace(options, **{key: value for key, value in changes.items() if value is not None})


def _seed_device(placement: Placement) -> str:
    return "cpu" if placement.noise_device.type == "cpu" else "auto"
