"""Loading a pipeline: both models, their schedulers and the tagger, where and as the options say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import torch

from paintsundo.checkpoints import load_multi_frame, load_single_frame, load_tagger
from paintsundo.checkpoints.lora import merge_lora
from paintsundo.checkpoints.noise import trained_stage
from paintsundo.diffusion import build_scheduler
from paintsundo.pipelines.compile_choice import waiting
from paintsundo.pipelines.film_models import FilmModels
from paintsundo.pipelines.memory_plan import MemoryPlanner
from paintsundo.pipelines.options import InferOptions
from paintsundo.pipelines.placement import Placement, choose_device, choose_dtype, choose_vae_dtype
from paintsundo.pipelines.speed import prepare_network
from paintsundo.settings import as_schema, compose

Source = str | os.PathLike[str] | None
Pipeline = TypeVar("Pipeline", bound=FilmModels)


def default_options(models: str) -> InferOptions:
    """The options that `configs/models/<models>.yaml` gives: "bundled" or "official"."""
    return as_schema(compose("infer", [f"models={models}"]), InferOptions)


def load_pipeline(
    kind: type[Pipeline],
    single_frame: Source,
    multi_frame: Source,
    tagger: Source,
    torch_dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
    options: InferOptions | None = None,
    films: float = 1.0,
) -> Pipeline:
    """A pipeline of a class.

    Args:
        films: how many wait to be made, for `runtime.compile=auto`; the others as in
            `PaintsUndoPipeline.from_pretrained`.
    """
    if options is None:
        options = default_options("bundled" if "bundled" in (single_frame, multi_frame) else "official")
    chosen = choose_device(str(device) if device is not None else options.runtime.device)
    dtype = torch_dtype or choose_dtype(options.runtime.dtype, chosen)
    large_dtype = torch_dtype or choose_dtype(options.runtime.dtype, chosen, options.models.multi_frame_on_cpu)
    memory = MemoryPlanner.from_option(chosen, options.runtime.memory, options.runtime.guidance)
    placement = Placement(chosen, options.runtime.memory, options.runtime.seed_device)
    rest, vae_dtype = placement.rest_device, choose_vae_dtype(dtype)
    single = None if single_frame is None else load_single_frame(single_frame, dtype, rest, vae_dtype)
    multi = None if multi_frame is None else load_multi_frame(multi_frame, dtype, rest, large_dtype)
    if multi is not None and options.video.patch_positions is not None:
        multi.image_encoder.set_patch_positions(options.video.patch_positions)
    keyframe_stage = options.keyframes.noise_schedule.applied_to(trained_stage(single_frame, "single_frame"))
    video_stage = options.video.noise_schedule.applied_to(trained_stage(multi_frame, "multi_frame"))
    pipe = kind(
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
    pipe.decode_batch = options.runtime.decode_batch
    pipe.clips_at_once = options.runtime.clips_at_once
    pipe.graphs = options.runtime.graphs
    pipe.keyframe_options = options.keyframes
    pipe.video_options = options.video
    pipe.tag_options = options.tags
    pipe.fast_options = options.fast
    if options.models.lora is not None:
        unets = [unet for unet in (pipe.keyframe_unet, pipe.video_unet) if unet is not None]
        merge_lora(Path(options.models.lora), unets, options.models.lora_scale)
    for part in (single, multi):
        for network in part.networks().values() if part is not None else ():
            prepare_network(network, options.runtime, chosen, waiting(network, options, films))
    if placement.low and options.runtime.memory != "low":
        pipe.let_networks_stay()
    return pipe
