"""What a visitor may set of a run, and its way to the options of `infer.py`."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paintsundo.app.options import LimitOptions
from paintsundo.errors import UserError
from paintsundo.pipelines.options import InferOptions
from paintsundo.settings import as_schema, compose, config_directory

OWN_SCHEDULER = "default"  # the one that the server's command line gives


@dataclass
class RunSettings:
    """All that a visitor may set.

    Sizes in pixels, operation steps 0 (finished) … 999 (first stroke). Defaults here are the published ones; what
    suits a model is `Studio.defaults(model)`.

    Attributes:
        model, lora: names of `Studio.models()` and `Studio.loras()`, never paths.
        memory: auto, high or low.
        prompt: None: the tagger's words.
        steps, guidance, negative_prompt, seed, scheduler: of the keyframes.
        video_…: the same of the film; pair i draws from video_seed + i.
        width, height: None, both: the picture's shape with about as many pixels as the model's own size.
        buckets: [[height, width], …]; None: the model's own, or if it has but one, its pixels in the picture's shape.
    """

    model: str = "bundled"
    lora: str | None = None
    lora_scale: float = 1.0
    memory: str = "auto"
    prompt: str | None = None
    general_threshold: float = 0.35
    character_threshold: float = 0.85
    operation_steps: list[int] = field(default_factory=lambda: [400, 600, 800, 900, 950, 999])
    width: int | None = 512
    height: int | None = 640
    fit: str = "crop"
    steps: int = 50
    guidance: float = 3.0
    negative_prompt: str = ""
    seed: int = 12345
    scheduler: str = OWN_SCHEDULER
    noise: str = "same"
    clip_skip: int = 0
    video_prompt: str = ""
    video_negative_prompt: str = ""
    video_steps: int = 50
    video_guidance: float = 7.5
    video_guidance_rescale: float = 0.7
    video_seed: int = 123
    video_scheduler: str = OWN_SCHEDULER
    video_clip_skip: int = 0
    fps: float = 4.0
    frame_stride: int = 3
    attention_window: str = "none"
    buckets: list[list[int]] | None = field(default_factory=lambda: [[320, 512], [384, 448], [448, 384], [512, 320]])

    @classmethod
    def of(cls, options: InferOptions, model: str) -> RunSettings:
        """What `infer.py` would do with these options."""
        values = {ours: getattr(getattr(options, group), theirs) for ours, (group, theirs) in FIELDS.items()}
        values["operation_steps"] = options.keyframes.steps()
        return cls(model=model, **copy.deepcopy(values))

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any], defaults: RunSettings) -> RunSettings:
        """The defaults with what is given in their place, every type checked.

        Raises:
            UserError: an unknown name, or a value of another type.
        """
        hints = typing.get_type_hints(cls)
        values = dataclasses.asdict(defaults)
        for name, value in given.items():
            if name not in values:
                raise UserError(f"unknown setting {str(name)[:60]!r}")
            values[name] = _typed(name, value, hints[name])
        return cls(**values)

    def options(self, base: InferOptions) -> InferOptions:
        """The options of `infer.py` for these settings; `base` is what its command line gives for the same models.

        Raises:
            UserError: a scheduler has no such name.
        """
        options = copy.deepcopy(base)
        options.prompt = self.prompt
        for ours, (group, theirs) in FIELDS.items():
            setattr(getattr(options, group), theirs, copy.deepcopy(getattr(self, ours)))
        options.keyframes.placement = "listed"
        options.models.lora_scale = self.lora_scale
        for stage, name in (("keyframes", self.scheduler), ("video", self.video_scheduler)):
            if name != OWN_SCHEDULER:
                getattr(options, stage).scheduler = copy.deepcopy(scheduler_named(name))
        return options

    @property
    def resolved(self) -> bool:
        """Whether no size is left to the picture's shape."""
        return None not in (self.width, self.height, self.buckets)

    def keyframe_part(self) -> dict[str, Any]:
        """What decides the keyframes."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in _VIDEO_FIELDS | _NEITHER}

    def video_part(self) -> dict[str, Any]:
        """What decides the film between given keyframes."""
        both = ("model", "lora", "lora_scale")
        return {
            name: value for name, value in dataclasses.asdict(self).items() if name in _VIDEO_FIELDS or name in both
        }

    def with_video_of(self, other: RunSettings) -> RunSettings:
        """These settings of keyframes with others' of the film."""
        return dataclasses.replace(
            self, **{name: copy.deepcopy(getattr(other, name)) for name in _VIDEO_FIELDS | _NEITHER}
        )

    def check(self, limits: LimitOptions) -> None:
        """Raise UserError for what is more than a visitor may ask for."""
        if (self.width is None) != (self.height is None):
            raise UserError("width and height are given both or neither")
        if len(self.operation_steps) > limits.keyframes_count:
            raise UserError(f"{len(self.operation_steps)} keyframes are too many: at most {limits.keyframes_count}")
        for name in ("steps", "video_steps"):
            if getattr(self, name) > limits.steps:
                raise UserError(f"{getattr(self, name)} steps of denoising are too many: at most {limits.steps}")
        buckets = self.buckets or []
        for height, width in [(self.height or 1, self.width or 1), *(each for each in buckets if len(each) == 2)]:
            if height * width > limits.keyframe_pixels:
                side = math.isqrt(limits.keyframe_pixels)
                raise UserError(f"{width}x{height} is too large: at most as many pixels as {side}x{side}")
        if len(buckets) > 64:
            raise UserError("at most 64 sizes of the film can be listed")
        for name in ("prompt", "negative_prompt", "video_prompt", "video_negative_prompt"):
            if len(getattr(self, name) or "") > limits.prompt_characters:
                raise UserError(f"the prompt is too long: at most {limits.prompt_characters} characters")


# Ours → where `infer.py` has it.
FIELDS: dict[str, tuple[str, str]] = {
    "memory": ("runtime", "memory"),
    "general_threshold": ("tags", "general_threshold"),
    "character_threshold": ("tags", "character_threshold"),
    "operation_steps": ("keyframes", "operation_steps"),
    "width": ("keyframes", "width"),
    "height": ("keyframes", "height"),
    "fit": ("keyframes", "fit"),
    "steps": ("keyframes", "num_inference_steps"),
    "guidance": ("keyframes", "guidance_scale"),
    "negative_prompt": ("keyframes", "negative_prompt"),
    "seed": ("keyframes", "seed"),
    "noise": ("keyframes", "noise"),
    "clip_skip": ("keyframes", "clip_skip"),
    "video_prompt": ("video", "prompt"),
    "video_negative_prompt": ("video", "negative_prompt"),
    "video_steps": ("video", "num_inference_steps"),
    "video_guidance": ("video", "guidance_scale"),
    "video_guidance_rescale": ("video", "guidance_rescale"),
    "video_seed": ("video", "seed"),
    "video_clip_skip": ("video", "clip_skip"),
    "fps": ("video", "fps"),
    "frame_stride": ("video", "frame_stride"),
    "attention_window": ("video", "attention_window"),
    "buckets": ("video", "buckets"),
}


_VIDEO_FIELDS = {"video_scheduler", *(ours for ours, (group, _) in FIELDS.items() if group == "video")}
_NEITHER = {"memory"}  # changes no film by more than rounding


@functools.cache
def scheduler_names() -> tuple[str, ...]:
    """All samplers that a run can be made with, the server's own first."""
    return OWN_SCHEDULER, *sorted(file.stem for file in (config_directory() / "scheduler").glob("*.yaml"))


@functools.cache
def scheduler_named(name: str) -> dict[str, Any]:
    """The configuration of a sampler, the same in both stages.

    Raises:
        UserError: there is none of this name.
    """
    if name not in scheduler_names()[1:]:
        raise UserError(f"there is no scheduler {name[:60]!r}: choose from {', '.join(scheduler_names())}")
    composed = compose("infer", [f"scheduler@keyframes.scheduler={name}"])
    return as_schema(composed, InferOptions).keyframes.scheduler


def _typed(name: str, value: Any, hint: Any) -> Any:
    """The value itself, whole numbers made floats where one is wanted."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        if value is None:
            return None
        hint = next(kind for kind in typing.get_args(hint) if kind is not type(None))
    if typing.get_origin(hint) is list:
        if not isinstance(value, (list, tuple)) or len(value) > 1000:
            raise UserError(f"{name}: a list is needed")
        return [_typed(name, item, typing.get_args(hint)[0]) for item in value]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
    if isinstance(value, bool) or not isinstance(value, hint):
        wanted = {int: "a whole number", float: "a number", str: "text"}[hint]
        raise UserError(f"{name}: {wanted} is needed")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{name}: a finite number is needed")
    if isinstance(value, str) and any(0xD800 <= ord(letter) <= 0xDFFF or letter == "\0" for letter in value):
        raise UserError(f"{name}: the text has characters that cannot be written")
    return value
