"""The models of one command: checked at once, hashed when first recorded, loaded when first used."""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from paintsundo.checkpoints.fingerprint import combined, folder_hashes
from paintsundo.checkpoints.layout import component_configs
from paintsundo.checkpoints.noise import trained_stage
from paintsundo.checkpoints.sources import resolve
from paintsundo.conditioning.text import check_clip_skip
from paintsundo.diffusion import build_scheduler
from paintsundo.errors import UserError
from paintsundo.file_hashes import file_hash
from paintsundo.pipelines.film import PaintsUndoPipeline
from paintsundo.pipelines.loading import load_pipeline
from paintsundo.pipelines.options import InferOptions
from paintsundo.pipelines.placement import choose_device
from paintsundo.pipelines.record import peak_memory
from paintsundo.pipelines.sizes import check_buckets, check_keyframe_size, keyframe_multiple, video_multiple
from paintsundo.settings import one_line

NETWORKS = ("keyframe_unet", "keyframe_vae", "video_unet", "video_vae")


class ModelSet:
    """The models of a command: checked at once, hashed when first recorded, loaded when first used.

    Args:
        options: of the command.
        device: where to compute; the options' own without it.
        films: how many wait to be made with them; may be set until they are loaded.

    Raises:
        UserError: a checkpoint is missing or another model's, or a size or scheduler does not suit it.
    """

    def __init__(self, options: InferOptions, device: torch.device | None = None, films: float = 1.0) -> None:
        self.options = options
        self.films = films
        self._device = device
        models = options.models
        self.own_keyframes = options.keyframes.folder is not None
        # A film of keyframes alone needs no video model, own keyframes no keyframe model, a given prompt no tagger.
        self.folders = {}
        if options.video.between == "model":
            self.folders["multi_frame"] = resolve(models.multi_frame, "multi_frame")
        if not self.own_keyframes:
            self.folders["single_frame"] = resolve(models.single_frame, "single_frame")
        if options.prompt is None:
            self.folders["tagger"] = resolve(models.tagger, "tagger")
        if models.lora is not None and not Path(models.lora).is_file():
            raise UserError(f"models.lora: the file {models.lora} does not exist")
        self._check_sizes()
        for stage, kind in (("keyframes", "single_frame"), ("video", "multi_frame")):
            chosen = getattr(options, stage)
            trained = trained_stage(self.folders.get(kind), kind)
            try:
                trained = chosen.noise_schedule.applied_to(trained)
                build_scheduler(chosen.scheduler, trained).set_timesteps(chosen.num_inference_steps)
            except (TypeError, ValueError) as error:
                raise UserError(f"{stage}.scheduler: {one_line(error)}") from error
        self._hashes: dict[str, Any] | None = None
        self._pipe: PaintsUndoPipeline | None = None

    def _check_sizes(self) -> None:
        if "multi_frame" in self.folders:
            multi = component_configs(self.folders["multi_frame"], "multi_frame")
            check_buckets(self.options.video.buckets, video_multiple(multi["vae"], multi["unet"]))
            _check_clip_skip("video", self.options.video.clip_skip, multi)
        if not self.own_keyframes:
            single = component_configs(self.folders["single_frame"], "single_frame")
            size = self.options.keyframes
            check_keyframe_size(size.width, size.height, keyframe_multiple(single["vae"]))
            _check_clip_skip("keyframes", size.clip_skip, single)

    @property
    def hashes(self) -> dict[str, Any]:
        """Part → SHA-256 of each of its files."""
        if self._hashes is None:
            self._hashes = {part: folder_hashes(folder) for part, folder in self.folders.items()}
            if self.options.models.lora is not None:
                self._hashes["lora"] = {"file": file_hash(Path(self.options.models.lora))}
        return self._hashes

    def known_hashes(self, hashes: dict[str, Any]) -> None:
        """Take over what another process has hashed."""
        self._hashes = hashes

    def memory(self) -> dict[str, Any]:
        """Largest memory of the process so far, and of torch on the device, and what was planned."""
        plan = self.pipe.memory.record() if self.loaded else None
        return {"peak_memory": peak_memory(self.device), "memory_plan": plan}

    def dtypes(self) -> dict[str, str] | None:
        """Network → number type of its weights, as `runtime.dtype` and the device decided; None: none was used here."""
        networks = {name: getattr(self.pipe, name, None) for name in NETWORKS} if self.loaded else {}
        used = {
            name: str(network.dtype).removeprefix("torch.") for name, network in networks.items() if network is not None
        }
        return used or None

    def hash_of(self, part: str) -> str | None:
        """One hash for a part; None if it is not used."""
        return combined(self.hashes[part]) if part in self.hashes else None

    @property
    def sources(self) -> dict[str, str]:
        """Part → the source as the user gave it."""
        return {part: getattr(self.options.models, part) for part in sorted(self.hashes)}

    @property
    def labels(self) -> dict[str, str]:
        """Part → what to call it in public: the hub id, or a folder's name (not its path) and hash."""
        return {
            part: f"{Path(source).name} {combined(self.hashes[part])[:12]}" if Path(source).exists() else source
            for part, source in self.sources.items()
        }

    @property
    def configuration(self) -> dict[str, Any]:
        """All options, as composed."""
        return dataclasses.asdict(self.options)

    @property
    def device(self) -> torch.device:
        """Where the models compute."""
        return choose_device(self.options.runtime.device) if self._device is None else self._device

    @property
    def loaded(self) -> bool:
        return self._pipe is not None

    @property
    def pipe(self) -> PaintsUndoPipeline:
        """The loaded pipeline."""
        if self._pipe is None:
            options = copy.deepcopy(self.options)
            options.runtime.device = str(self.device)
            self._pipe = load_pipeline(
                PaintsUndoPipeline,
                single_frame=self.folders.get("single_frame"),
                multi_frame=self.folders.get("multi_frame"),
                tagger=self.folders.get("tagger"),
                options=options,
                films=self.films,
            )
            self._pipe.memory.tell = _tell
            if not self.options.runtime.progress:
                self._pipe.set_progress_bar_config(disable=True)
        return self._pipe


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _check_clip_skip(stage: str, clip_skip: int, configs: Mapping[str, dict[str, Any]]) -> None:
    try:
        check_clip_skip(clip_skip, configs["text_encoder"].get("num_hidden_layers", 12))
    except UserError as error:
        raise UserError(f"{stage}.{error}") from None
