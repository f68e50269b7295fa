"""The typed options of `infer.py`, and the checks that need no model."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from paintsundo.errors import UserError
from paintsundo.pipelines.fast_options import FastOptions
from paintsundo.pipelines.keyframe_placement import PLACEMENTS, placed_steps
from paintsundo.settings import compile_option

if TYPE_CHECKING:
    from paintsundo.diffusion.stages import Stage

NUM_TRAIN_TIMESTEPS = 1000
LAST_OPERATION_STEP = 999
FORMATS = ("mp4", "gif", "webp", "sheet")


@dataclass
class ModelOptions:
    """Where the networks come from: "bundled", a folder in the official layout, or a hub id."""

    name: str = "bundled"
    single_frame: str = "bundled"
    multi_frame: str = "bundled"
    tagger: str = "bundled"
    lora: str | None = None
    lora_scale: float = 1.0
    multi_frame_on_cpu: str = "float32"


@dataclass
class TagOptions:
    """Probabilities, 0…1, above which a tag becomes part of the prompt."""

    general_threshold: float = 0.35
    character_threshold: float = 0.85


@dataclass
class NoiseOptions:
    """What a sampler is told of the noise a model was trained on; null is what its checkpoint says."""

    beta_start: float | None = None
    beta_end: float | None = None
    beta_schedule: str | None = None
    zero_terminal_snr: bool | None = None
    dynamic_scale: bool | None = None

    def applied_to(self, stage: Stage) -> Stage:
        """The stage with what is not null in place of its own.

        Raises:
            UserError: the result is impossible.
        """
        given = {name: value for name, value in vars(self).items() if value is not None}
        if not given:
            return stage
        if "zero_terminal_snr" in given:
            given["rescale_betas_zero_snr"] = given.pop("zero_terminal_snr")
        changed = dataclasses.replace(stage, **given)
        if not 0 < changed.beta_start < changed.beta_end < 1:
            raise UserError(
                f"beta_start={changed.beta_start} and beta_end={changed.beta_end}: 0 < start < end < 1 is needed"
            )
        if changed.rescale_betas_zero_snr and changed.prediction_type == "epsilon":
            raise UserError("a model that predicts noise cannot be sampled at zero terminal SNR")
        return changed


@dataclass
class KeyframeOptions:
    """The single-frame stage. Sizes in pixels; operation steps 0 (finished) … 999 (first stroke)."""

    operation_steps: list[int] = field(default_factory=lambda: [400, 600, 800, 900, 950, 999])
    width: int = 512
    height: int = 640
    num_inference_steps: int = 50
    guidance_scale: float = 3.0
    negative_prompt: str = ""
    seed: int = 12345
    fit: str = "crop"
    folder: str | None = None
    placement: str = "listed"
    count: int = 6
    noise: str = "same"
    batch: int | None = None
    clip_skip: int = 0
    noise_schedule: NoiseOptions = field(default_factory=NoiseOptions)
    scheduler: dict[str, Any] = field(default_factory=dict)

    def steps(self) -> list[int]:
        """The operation steps, ascending, each once: those listed, or those of the placement."""
        if self.placement != "listed":
            return placed_steps(self.placement, self.count)
        return sorted(set(self.operation_steps))


@dataclass
class VideoOptions:
    """The multi-frame stage. Buckets are [height, width] in pixels; pair i draws from seed + i."""

    prompt: str = ""
    negative_prompt: str = ""
    num_inference_steps: int = 50
    guidance_scale: float = 7.5
    guidance_rescale: float = 0.7
    seed: int = 123
    fps: float = 4.0
    frame_stride: int = 3
    attention_window: str = "none"
    buckets: list[list[int]] = field(default_factory=lambda: [[320, 512], [384, 448], [448, 384], [512, 320]])
    batch: int | None = None
    between: str = "model"
    clip_skip: int = 0
    patch_positions: str | None = None
    noise_schedule: NoiseOptions = field(default_factory=NoiseOptions)
    formats: list[str] = field(default_factory=lambda: ["mp4"])
    scheduler: dict[str, Any] = field(default_factory=dict)


@dataclass
class RuntimeOptions:
    """Where and how to compute; of it `seed_device` and `weights` alone change the film by more than rounding."""

    device: str = "auto"
    devices: list[str] = field(default_factory=list)
    dtype: str = "auto"
    attention: str = "sdpa"
    layout: str = "auto"
    fused: bool = True
    compile: str = "auto"
    tuned: bool = False
    graphs: bool = False
    memory: str = "auto"
    weights: str = "full"
    guidance: str = "auto"
    decode_batch: int = 1
    clips_at_once: int | None = None
    seed_device: str = "auto"
    progress: bool = True

    def __post_init__(self) -> None:
        self.compile = compile_option(self.compile)

    def check_weights(self) -> None:
        """Raise UserError where `weights` cannot be, or not beside other options."""
        _one_of("runtime.weights", self.weights, ("full", "float8"))
        others = [f"runtime.compile={self.compile}"] if self.compile in ("regional", "full") else []
        others += ["runtime.graphs=true"] if self.graphs else []
        if self.weights == "float8" and others:
            raise UserError(
                f"runtime.weights=float8 does not go with {' and '.join(others)}: "
                "weights that are cast lie at another place each time"
            )


@dataclass
class InferOptions:
    """Everything `infer.py` can be told."""

    input: str | None = None
    output: str | None = None
    prompt: str | None = None
    overwrite: bool = False
    models: ModelOptions = field(default_factory=ModelOptions)
    tags: TagOptions = field(default_factory=TagOptions)
    keyframes: KeyframeOptions = field(default_factory=KeyframeOptions)
    video: VideoOptions = field(default_factory=VideoOptions)
    runtime: RuntimeOptions = field(default_factory=RuntimeOptions)
    fast: FastOptions = field(default_factory=FastOptions)

    def __post_init__(self) -> None:
        self.fast.keyframes.apply(self.keyframes)
        self.fast.video.apply(self.video)

    def check(self) -> None:
        """Raise UserError for values that no model could work with."""
        if not self.input and not self.keyframes.folder:
            raise UserError("input is missing: input=PICTURE, a folder of pictures, or a glob pattern")
        if not self.output:
            raise UserError("output is missing: output=DIR, the folder to write to")
        check_keyframes(self.keyframes)
        check_video(self.video)
        self.fast.check()
        _finite("models.lora_scale", self.models.lora_scale)
        _one_of("models.multi_frame_on_cpu", self.models.multi_frame_on_cpu, ("float32", "bfloat16"))
        _one_of("runtime.attention", self.runtime.attention, ("sdpa", "xformers", "sliced"))
        if self.runtime.memory not in ("auto", "high", "low"):
            memory_size(self.runtime.memory)
        self.runtime.check_weights()
        _one_of("runtime.layout", self.runtime.layout, ("auto", "channels_last", "plain"))
        _one_of("runtime.compile", self.runtime.compile, ("auto", "none", "regional", "full"))
        if self.runtime.decode_batch < 1:
            raise UserError(f"runtime.decode_batch is {self.runtime.decode_batch}: at least one clip at a time")
        if self.runtime.clips_at_once is not None and self.runtime.clips_at_once < 1:
            raise UserError(f"runtime.clips_at_once is {self.runtime.clips_at_once}: at least one")
        _one_of("runtime.guidance", self.runtime.guidance, ("auto", "batched", "sequential"))
        _one_of("runtime.seed_device", self.runtime.seed_device, ("auto", "cpu"))
        _one_of("runtime.dtype", self.runtime.dtype, ("auto", "float32", "float16", "bfloat16"))
        for name, value in vars(self.tags).items():
            if not 0 <= value <= 1:
                raise UserError(f"tags.{name} is {value}: a probability from 0 to 1 is needed")


def memory_size(value: str) -> int:
    """Bytes of a size such as "4GiB", "3.5GB" or "900MiB".

    Raises:
        UserError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([GM])(i?)B", value.strip())
    size = 0 if found is None else int(float(found[1]) * (1024 if found[3] else 1000) ** (3 if found[2] == "G" else 2))
    if size == 0:
        raise UserError(f"runtime.memory cannot be {value!r}: choose auto, high, low, or a size such as 4GiB")
    return size


def check_keyframes(options: KeyframeOptions) -> None:
    """Raise UserError for impossible keyframe options (sizes are checked against the models later)."""
    _one_of("keyframes.placement", options.placement, PLACEMENTS)
    _one_of("keyframes.noise", options.noise, ("same", "independent"))
    if options.batch is not None and options.batch < 1:
        raise UserError(f"keyframes.batch is {options.batch}: at least one keyframe at a time, or null for all")
    _clip_skip("keyframes.clip_skip", options.clip_skip)
    if options.placement != "listed":
        placed_steps(options.placement, options.count)
    elif not options.operation_steps:
        raise UserError("keyframes.operation_steps is empty: at least one step from 0 to 999 is needed")
    for step in options.operation_steps:
        if not 0 <= step <= LAST_OPERATION_STEP:
            raise UserError(
                f"operation step {step} does not exist: "
                f"steps go from 0 (finished) to {LAST_OPERATION_STEP} (first stroke)"
            )
    for name in ("width", "height"):
        if getattr(options, name) < 1:
            raise UserError(f"keyframes.{name} is {getattr(options, name)}: it must be at least 1 pixel")
    _steps("keyframes.num_inference_steps", options.num_inference_steps)
    _finite("keyframes.guidance_scale", options.guidance_scale)
    _seed("keyframes.seed", options.seed)
    _one_of("keyframes.fit", options.fit, ("crop", "pad"))


def check_video(options: VideoOptions) -> None:
    """Raise UserError for impossible video options (bucket sizes are checked against the models later)."""
    _one_of("video.between", options.between, ("model", "none"))
    _clip_skip("video.clip_skip", options.clip_skip)
    if options.patch_positions is not None:
        _one_of("video.patch_positions", options.patch_positions, ("nearest", "bilinear", "rotary"))
    _steps("video.num_inference_steps", options.num_inference_steps)
    _finite("video.guidance_scale", options.guidance_scale)
    if not 0 <= options.guidance_rescale <= 1:
        raise UserError(f"video.guidance_rescale is {options.guidance_rescale}: from 0 to 1 is possible")
    _seed("video.seed", options.seed)
    _one_of("video.attention_window", options.attention_window, ("none", "prv", "first", "roll"))
    if not options.buckets:
        raise UserError("video.buckets is empty: [[height,width],…] is needed")
    for bucket in options.buckets:
        if len(bucket) != 2 or min(bucket) < 1:
            raise UserError(f"video.buckets has {list(bucket)}: each must be [height,width] in pixels")
    if options.batch is not None and options.batch < 1:
        raise UserError(f"video.batch is {options.batch}: at least one pair at a time, or null for what fits")
    if not 0 < options.fps <= 240:
        raise UserError(f"video.fps is {options.fps}: frames per second above 0 and up to 240 are possible")
    if options.frame_stride < 0:
        raise UserError(f"video.frame_stride is {options.frame_stride}: it cannot be negative")
    for name in options.formats:
        _one_of("video.formats", name, FORMATS)
    if "mp4" not in options.formats:
        options.formats.insert(0, "mp4")  # always there; the others come beside it


def _steps(name: str, value: int) -> None:
    if not 1 <= value <= NUM_TRAIN_TIMESTEPS:
        raise UserError(f"{name} is {value}: from 1 to {NUM_TRAIN_TIMESTEPS} steps are possible")


def _clip_skip(name: str, value: int) -> None:
    if value < 0:
        raise UserError(f"{name} is {value}: a number of layers is needed, from 0 up")


def _finite(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise UserError(f"{name} is {value}: a finite number is needed")


def _seed(name: str, value: int) -> None:
    if not 0 <= value < 2**63:
        raise UserError(f"{name} is {value}: a whole number from 0 up is needed")


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"{name} cannot be {value!r}: choose from {', '.join(choices)}")
