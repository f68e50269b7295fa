"""The nodes. Each is one method of `PaintsUndoPipeline`; 0, -1 or nothing in a field is what suits the models.

Conventions: https://docs.comfy.org/custom-nodes/backend/server_overview
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image

from paintsundo import PaintsUndoPipeline
from paintsundo.errors import UserError
from paintsundo.pipelines.film import default_options
from paintsundo.pipelines.options import LAST_OPERATION_STEP
from paintsundo.pipelines.provenance import Provenance
from paintsundo.pipelines.writers import WRITERS, write_png

from .host import on_step, one_picture, output_folder, to_images, to_pictures

PIPELINE = "PAINTSUNDO_PIPELINE"
CATEGORY = "paintsundo"
SEED = ("INT", {"default": 12345, "min": 0, "max": 2**63 - 1, "control_after_generate": True})
STEPS = ("INT", {"default": 0, "min": 0, "max": 1000, "tooltip": "denoising steps; 0: what suits the model"})
GUIDANCE = ("FLOAT", {"default": -1.0, "min": -1.0, "max": 30.0, "step": 0.1, "tooltip": "-1: what suits the model"})


def read_steps(text: str) -> list[int] | None:
    """Numbers 0 … 999 separated by commas or spaces; None for an empty text.

    Raises:
        UserError: something else.
    """
    words = text.replace(",", " ").split()
    if not all(word.isascii() and word.isdigit() and int(word) <= LAST_OPERATION_STEP for word in words):
        raise UserError(
            f"operation steps are whole numbers from 0 (finished) to {LAST_OPERATION_STEP} (first stroke), "
            f"as in 200, 500, 800; this is {text!r}"
        )
    return [int(word) for word in words] or None


class PaintsUndoLoader:
    """Both models and the tagger."""

    CATEGORY, FUNCTION = CATEGORY, "load"
    RETURN_TYPES, RETURN_NAMES = (PIPELINE,), ("pipeline",)
    DESCRIPTION = 'Each model is "bundled", a folder in the official layout, or a hub id.'

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "single_frame": ("STRING", {"default": "bundled"}),
                "multi_frame": ("STRING", {"default": "bundled"}),
                "tagger": ("STRING", {"default": "bundled"}),
                "device": (["auto", "cuda", "cpu"],),
                "dtype": (["auto", "float32", "float16", "bfloat16"],),
                "memory": (["auto", "high", "low"],),
            },
            "optional": {
                "lora": ("STRING", {"default": "", "tooltip": "a .safetensors file; empty: none"}),
                "lora_scale": ("FLOAT", {"default": 1.0, "min": -4.0, "max": 4.0, "step": 0.05}),
            },
        }

    def load(
        self,
        single_frame: str,
        multi_frame: str,
        tagger: str,
        device: str,
        dtype: str,
        memory: str,
        lora: str = "",
        lora_scale: float = 1.0,
    ) -> tuple[PaintsUndoPipeline]:
        options = default_options("bundled" if "bundled" in (single_frame, multi_frame) else "official")
        options.runtime.device, options.runtime.dtype, options.runtime.memory = device, dtype, memory
        options.models.lora, options.models.lora_scale = lora or None, lora_scale
        if lora and not Path(lora).is_file():
            raise UserError(f"the file {lora} does not exist")
        return (PaintsUndoPipeline.from_pretrained(single_frame, multi_frame, tagger, options=options),)


class PaintsUndoTag:
    """The tagger's words for a picture."""

    CATEGORY, FUNCTION = CATEGORY, "tag"
    RETURN_TYPES, RETURN_NAMES = ("STRING",), ("prompt",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"pipeline": (PIPELINE,), "image": ("IMAGE",)}}

    def tag(self, pipeline: PaintsUndoPipeline, image: torch.Tensor) -> tuple[str]:
        return (pipeline.tag(one_picture(image)),)


class PaintsUndoKeyframes:
    """States of the drawing at the operation steps, finished … blank."""

    CATEGORY, FUNCTION = CATEGORY, "generate"
    RETURN_TYPES, RETURN_NAMES = ("IMAGE", "STRING"), ("keyframes", "prompt")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "pipeline": (PIPELINE,),
                "image": ("IMAGE",),
                "operation_steps": (
                    "STRING",
                    {"default": "", "tooltip": "0 finished … 999 first stroke; empty: what suits the model"},
                ),
                "width": ("INT", {"default": 0, "min": 0, "max": 4096, "step": 8}),
                "height": ("INT", {"default": 0, "min": 0, "max": 4096, "step": 8}),
                "steps": STEPS,
                "guidance": GUIDANCE,
                "seed": SEED,
                "fit": (["crop", "pad"],),
            },
            "optional": {
                "prompt": ("STRING", {"default": "", "multiline": True, "tooltip": "empty: the tagger's"}),
                "negative_prompt": ("STRING", {"default": "", "multiline": True}),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, operation_steps: str = "") -> bool | str:
        try:
            read_steps(operation_steps)
        except UserError as error:
            return str(error)
        return True

    def generate(
        self,
        pipeline: PaintsUndoPipeline,
        image: torch.Tensor,
        operation_steps: str,
        width: int,
        height: int,
        steps: int,
        guidance: float,
        seed: int,
        fit: str,
        prompt: str = "",
        negative_prompt: str = "",
    ) -> tuple[torch.Tensor, str]:
        picture = one_picture(image)
        prompt = prompt.strip() or pipeline.tag(picture)
        keyframes = pipeline.generate_keyframes(
            picture,
            prompt,
            operation_steps=read_steps(operation_steps),
            width=width or None,
            height=height or None,
            num_inference_steps=steps or None,
            guidance_scale=None if guidance < 0 else guidance,
            negative_prompt=negative_prompt or None,
            seed=seed,
            fit=fit,
            callback_on_step_end=on_step(steps or pipeline.keyframe_options.num_inference_steps),
        )
        return to_images(keyframes), prompt


class PaintsUndoInterpolate:
    """The film between keyframes, blank … finished."""

    CATEGORY, FUNCTION = CATEGORY, "interpolate"
    RETURN_TYPES, RETURN_NAMES = ("IMAGE", "INT"), ("frames", "count")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "pipeline": (PIPELINE,),
                "keyframes": ("IMAGE", {"tooltip": "finished … blank, both ends included"}),
                "steps": STEPS,
                "guidance": GUIDANCE,
                "seed": SEED,
                "frame_stride": ("INT", {"default": 3, "min": 0, "max": 64}),
                "attention_window": (["none", "prv", "first", "roll"],),
            },
            "optional": {"prompt": ("STRING", {"default": "", "multiline": True})},
        }

    def interpolate(
        self,
        pipeline: PaintsUndoPipeline,
        keyframes: torch.Tensor,
        steps: int,
        guidance: float,
        seed: int,
        frame_stride: int,
        attention_window: str,
        prompt: str = "",
    ) -> tuple[torch.Tensor, int]:
        frames = pipeline.interpolate(
            to_pictures(keyframes),
            prompt=prompt or None,
            num_inference_steps=steps or None,
            guidance_scale=None if guidance < 0 else guidance,
            seed=seed,
            frame_stride=frame_stride,
            attention_window=attention_window,
            callback_on_step_end=on_step((len(keyframes) - 1) * (steps or pipeline.video_options.num_inference_steps)),
        )
        return to_images(frames), len(frames)


class PaintsUndoSaveFilm:
    """Frames and film in ComfyUI's output folder, marked as synthetic."""

    CATEGORY, FUNCTION = CATEGORY, "save"
    OUTPUT_NODE = True
    RETURN_TYPES, RETURN_NAMES = ("STRING",), ("folder",)
    MADE_BY: ClassVar[dict[str, str]] = {"nodes": "paintsundo in ComfyUI"}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "frames": ("IMAGE",),
                "fps": ("FLOAT", {"default": 4.0, "min": 0.1, "max": 240.0, "step": 0.1}),
                "format": (sorted(WRITERS),),
                "filename_prefix": ("STRING", {"default": "paintsundo"}),
            },
            "hidden": {"workflow": "PROMPT"},
        }

    def save(
        self, frames: torch.Tensor, fps: float, format: str, filename_prefix: str, workflow: Any = None
    ) -> dict[str, Any]:
        provenance = Provenance(self.MADE_BY, {"film": {"fps": fps}, "workflow": workflow})
        folder, name = output_folder(filename_prefix)
        (folder / "frames").mkdir()
        pictures: list[Image.Image] = to_pictures(frames)
        files = [folder / "frames" / f"{index:05d}.png" for index in range(len(pictures))]
        for file, picture in zip(files, pictures, strict=True):
            write_png(file, picture, provenance)
        film, write = WRITERS[format]
        write(folder / film, files, fps, provenance)
        shown = {"filename": film, "subfolder": name, "type": "output"}
        return {"ui": {"images": [shown], "animated": (format != "sheet",)}, "result": (str(folder),)}


NODE_CLASS_MAPPINGS = {
    node.__name__: node
    for node in (PaintsUndoLoader, PaintsUndoTag, PaintsUndoKeyframes, PaintsUndoInterpolate, PaintsUndoSaveFilm)
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "PaintsUndoLoader": "Load PaintsUndo models",
    "PaintsUndoTag": "Tag picture (PaintsUndo)",
    "PaintsUndoKeyframes": "Keyframes of a drawing (PaintsUndo)",
    "PaintsUndoInterpolate": "Film between keyframes (PaintsUndo)",
    "PaintsUndoSaveFilm": "Save film (PaintsUndo)",
}
