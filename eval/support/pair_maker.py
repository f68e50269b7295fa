"""What a pair of models makes of a true process' finished picture: film, states at known steps, in-between frames."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from paintsundo.conditioning.images import crop_to, to_model, to_uint8
from paintsundo.data.process import DrawingProcess, work_of_step
from paintsundo.errors import UserError
from paintsundo.metrics.films import Film
from paintsundo.pipelines.film import PaintsUndoPipeline
from paintsundo.pipelines.interpolation import join_clips, join_keyframes
from paintsundo.pipelines.model_set import ModelSet
from paintsundo.pipelines.options import InferOptions, VideoOptions
from paintsundo.pipelines.sizes import keyframe_multiple, nearest, video_multiple
from paintsundo.settings import as_schema, compose
from paintsundo.training.vocabulary import prompt_from_tags
from support.round_trip import round_trip
from support.true_processes import TrueProcess

CALIBRATION_STEPS = tuple(range(100, 1000, 100))
CURVE_STATES = 112
"""States of a true process, every ninth step, off which steps are read."""


@dataclass
class Made:
    """Of one process; pictures uint8. Absent parts are None.

    Attributes:
        true_film: true states at the work that each frame of `film` claims.
        keyframes: finished … blank, (K,H,W,3).
        states: generated at CALIBRATION_STEPS, and true_states there.
        ceilings: PSNR of the finished picture's round trip, "video" (None without a video model) and "keyframe".
        between: in-between frames of all clips made from true keyframes, (N,H,W,3); the true ones, those of a
            cross-fade of the true ends, and the true ones through the autoencoder.
        seconds: part → seconds.
    """

    prompt: str
    finished: NDArray[np.uint8]
    true_curve: Film
    film: Film | None = None
    true_film: Film | None = None
    keyframes: Film | None = None
    states: Film | None = None
    true_states: Film | None = None
    between: dict[str, Film] = field(default_factory=dict)
    ceilings: dict[str, float | None] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def pair_options(models: str | os.PathLike[str], overrides: Sequence[str]) -> InferOptions:
    """Options of infer.py for "bundled", "official", or a folder that holds `single_frame/` and `multi_frame/`.

    Networks stay on their device unless an override says otherwise.

    A folder is run with the bundled models' settings and, where it holds none of its own, their tagger.
    """
    named = str(models) in ("bundled", "official")
    arguments = [f"models={models}" if named else "models=bundled", "runtime.memory=high", "runtime.progress=false"]
    if not named:
        arguments += [f"models.{part}={models}" for part in ("single_frame", "multi_frame")]
        if os.path.isdir(os.path.join(models, "tagger")):
            arguments.append(f"models.tagger={os.path.join(models, 'tagger')}")
    keys = [f"models.{part}" for part in ("single_frame", "multi_frame", "tagger", "lora")]
    literal = [*keys, "prompt", "video.prompt", "video.negative_prompt", "keyframes.negative_prompt"]
    return as_schema(compose("infer", [*arguments, *overrides], literal), InferOptions)


class PairMaker:
    """A pair of models, loaded once.

    Args:
        options: of infer.py.
        prompts: "tagger"; "record": the process' own tags as they stand; "empty". A `prompt` in the options
            goes before.
        own_size: pictures at the size of their process, or the nearest the models can do; otherwise the options' size.

    With `video.between=none` no video model is loaded, films are the keyframes alone, and nothing can be made between
    true keyframes.
    """

    def __init__(self, options: InferOptions, prompts: str = "tagger", own_size: bool = True) -> None:
        self.options, self.prompts, self.own_size = options, prompts, own_size
        if prompts != "tagger" and options.prompt is None:
            options.prompt = ""  # no tagger is loaded
            self.prompt: str | None = None
        else:
            self.prompt = options.prompt
        self.set = ModelSet(options)
        self.pipe: PaintsUndoPipeline = self.set.pipe
        self.keyframes_only = options.video.between == "none"
        self.multiple = keyframe_multiple(self.pipe.keyframe_vae.config)
        if not self.keyframes_only:
            own = video_multiple(self.pipe.video_vae.config, self.pipe.video_unet.config)
            self.multiple = math.lcm(self.multiple, own)
        self.steps = options.keyframes.steps()

    def make(self, true: TrueProcess, parts: Sequence[str]) -> Made:
        """The parts ("film", "calibration", "interpolation") asked for; the ceilings always.

        Raises UserError: interpolation is asked for without a video model.
        """
        if self.keyframes_only and "interpolation" in parts:
            raise UserError("with video.between=none there is no interpolation to measure: leave it out of parts")
        height, width = self._size(true.process)
        process = _Sized(true.process, height, width)
        made = Made(self._prompt(true), process.at(1.0), process.film(np.linspace(0, 1, CURVE_STATES)))
        made.ceilings["video"] = None if self.keyframes_only else round_trip(self.pipe.video_vae, made.finished)
        made.ceilings["keyframe"] = _keyframe_round_trip(self.pipe.keyframe_vae, made.finished)
        video = VideoOptions(**{**vars(self.options.video), "buckets": [[height, width]]})
        if "film" in parts:
            self._film(made, process, video)
        if "calibration" in parts:
            clock = time.perf_counter()
            made.states = self._states(made, CALIBRATION_STEPS)[1:-1]
            made.true_states = process.film([work_of_step(step) for step in CALIBRATION_STEPS])
            made.seconds["calibration"] = time.perf_counter() - clock
        if "interpolation" in parts:
            clock = time.perf_counter()
            self._between(made, process, video)
            made.seconds["interpolation"] = time.perf_counter() - clock
        return made

    def _size(self, process: DrawingProcess) -> tuple[int, int]:
        if not self.own_size:
            return self.options.keyframes.height, self.options.keyframes.width
        height, width = process.size
        return nearest(height, self.multiple), nearest(width, self.multiple)

    def _prompt(self, true: TrueProcess) -> str:
        if self.prompt is not None:
            return self.prompt
        if self.prompts == "tagger":
            return self.pipe.tag(true.process.finished)
        return prompt_from_tags(true.process.tags, true.process.tags) if self.prompts == "record" else ""

    def _states(self, made: Made, steps: Sequence[int]) -> Film:
        """Finished, states at these steps, blank: (K + 2,H,W,3)."""
        height, width = made.finished.shape[:2]
        states = self.pipe.generate_keyframes(
            made.finished, made.prompt, operation_steps=list(steps), height=height, width=width
        )
        return np.stack([np.asarray(state) for state in states])

    def _film(self, made: Made, process: _Sized, video: VideoOptions) -> None:
        clock = time.perf_counter()
        made.keyframes = self._states(made, self.steps)
        made.seconds["keyframes"] = time.perf_counter() - clock
        clock = time.perf_counter()
        works = [1.0, *map(work_of_step, self.steps), 0.0]
        if self.keyframes_only:
            made.film = join_keyframes(list(made.keyframes))
            claimed = np.array(works[::-1])
        else:
            made.film = join_clips(self._clips(made.keyframes, video))
            claimed = claimed_works(len(made.film), works)
        made.seconds["video"] = time.perf_counter() - clock
        made.true_film = process.film(claimed)

    def _clips(self, keyframes: Film, video: VideoOptions) -> list[Film]:
        conditions = self.pipe.prepare_interpolation(list(keyframes), video)
        latents = dict(self.pipe.sample_clips(conditions, video))
        return [clip for _, clip in self.pipe.decode_clips(conditions, latents)]

    def _between(self, made: Made, process: _Sized, video: VideoOptions) -> None:
        works = [1.0, *map(work_of_step, self.steps), 0.0]
        ours = self._clips(process.film(works), video)
        found: dict[str, list[Film]] = {"ours": [], "true": [], "cross_fade": [], "ceiling": []}
        for clip, (first, last) in zip(ours, pairwise(works), strict=True):
            true = process.film(np.linspace(first, last, len(clip)))
            parts = np.linspace(0, 1, len(clip))[:, None, None, None].astype(np.float32)
            fade = np.round(true[0] * (1 - parts) + true[-1] * parts).astype(np.uint8)
            for name, film in (("ours", clip), ("true", true), ("cross_fade", fade), ("ceiling", self._decoded(true))):
                found[name].append(film[1:-1])
        made.between = {name: np.concatenate(films) for name, films in found.items()}

    @torch.inference_mode()
    def _decoded(self, clip: Film) -> Film:
        vae = self.pipe.video_vae
        frames = to_model(clip).transpose(0, 1)[None].to(vae.device, vae.dtype)
        return np.asarray(to_uint8(vae.decode(*vae.encode(frames))[0].transpose(0, 1)))


class _Sized:
    """A process at the size that its film is made in."""

    def __init__(self, process: DrawingProcess, height: int, width: int) -> None:
        self.process, self.height, self.width = process, height, width

    def at(self, work: float) -> NDArray[np.uint8]:
        state = self.process.state(float(min(1.0, max(0.0, work))))
        return state if state.shape[:2] == (self.height, self.width) else crop_to(state, self.width, self.height)

    def film(self, works: Sequence[float] | NDArray[np.float64]) -> Film:
        return np.stack([self.at(work) for work in works])


def claimed_works(frames: int, works: Sequence[float]) -> NDArray[np.float64]:
    """The share of the work that each of so many frames of a film claims to show, (N,), rising.

    works: of its keyframes, finished … blank; work passes evenly between two of them. The blank canvas itself falls
    just before the first frame.
    """
    length = frames // (len(works) - 1)
    places = [frames - 1 - length * number for number in range(len(works))]
    return np.interp(np.arange(frames), places[::-1], list(works)[::-1])


@torch.inference_mode()
def _keyframe_round_trip(vae: torch.nn.Module, picture: NDArray[np.uint8]) -> float:
    from paintsundo.metrics.report import finite_psnr
    from paintsundo.pipelines.keyframes import decode_picture, encode_picture

    return finite_psnr(decode_picture(vae, encode_picture(vae, picture, next(vae.parameters()).device)), picture)
