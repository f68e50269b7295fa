"""What a pair of models makes of a true process' finished picture: film, states at known steps, in-between frames."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from paintsundo.checkpoints.sources import resolve
from paintsundo.conditioning.tagger import TAGS_FILE
from paintsundo.metrics.films import Film
from paintsundo.pipelines.film import PaintsUndoPipeline
from paintsundo.pipelines.model_set import ModelSet
from paintsundo.pipelines.options import InferOptions, check_keyframes, check_video
from paintsundo.pipelines.sizes import keyframe_multiple, video_multiple
from paintsundo.settings import as_schema, compose
from paintsundo.training.prompts import read_vocabulary
from paintsundo.training.vocabulary import prompt_from_tags
from support.true_processes import TrueProcess

CALIBRATION_STEPS = tuple(range(100, 1000, 100))
CURVE_STATES = 112
"""States of a true process, every ninth step, off which steps are read."""
OWN_STEPS = tuple(range(37, 999, 37))
"""Steps at which a pair's own process is drawn where another seed's states are read off it: 26 equally spaced."""


@dataclass
class Made:
    """Of one process; pictures uint8. Absent parts are None.

    Attributes:
        true_film: true states at the work that each frame of `film` claims.
        keyframes: finished … blank, (K,H,W,3).
        states: generated at CALIBRATION_STEPS, and true_states there. Where they were made with several seeds also
            other_states, those of each further seed one after the other, and own_curve, states of the first seed at
            OWN_STEPS between the blank canvas and the finished picture, in the order of drawing.
        ceilings: PSNR of the finished picture's round trip, "video" (None without a video model) and "keyframe".
        between: in-between frames of all clips made from true keyframes, (N,H,W,3); the true ones, those of a
            cross-fade of the true ends, and the true ones through the autoencoder; where they were made with several
            seeds also those of "another_seed" and the "mean_of_seeds".
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
    other_states: Film | None = None
    own_curve: Film | None = None
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
        prompts: "tagger"; "record": the process' own tags, those that the pair's tagger knows and in its order, as
            models are trained (all as they stand where its list is not on disk); "empty". A `prompt` in the
            options goes before.
        own_size: pictures at the size of their process, or the nearest the models can do; otherwise the options' size.

    With `video.between=none` no video model is loaded, films are the keyframes alone, and nothing can be made between
    true keyframes. Raises UserError: an option is impossible.
    """

    def __init__(self, options: InferOptions, prompts: str = "tagger", own_size: bool = True) -> None:
        check_keyframes(options.keyframes)
        check_video(options.video)
        self.options, self.prompts, self.own_size = options, prompts, own_size
        self.vocabulary = known_tags(options.models.tagger) if prompts == "record" else None
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

    def _prompt(self, true: TrueProcess) -> str:
        if self.prompt is not None:
            return self.prompt
        if self.prompts == "tagger":
            return self.pipe.tag(true.process.finished)
        tags = true.process.tags
        return prompt_from_tags(tags, self.vocabulary or tags) if self.prompts == "record" else ""


def known_tags(tagger: str | None) -> list[str] | None:
    """The tags of a tagger on disk, in its order; None without one."""
    if tagger is None or (tagger != "bundled" and not os.path.isdir(tagger)):
        return None
    file = resolve(tagger, "tagger") / TAGS_FILE
    return read_vocabulary(file) if file.is_file() else None


def claimed_works(frames: int, works: Sequence[float]) -> NDArray[np.float64]:
    """The share of the work that each of so many frames of a film claims to show, (N,), rising.

    works: of its keyframes, finished … blank; work passes evenly between two of them. The blank canvas itself falls
    just before the first frame.
    """
    length = frames // (len(works) - 1)
    places = [frames - 1 - length * number for number in range(len(works))]
    return np.interp(np.arange(frames), places[::-1], list(works)[::-1])
