"""Films of fast settings beside the exact film of the same picture and seeds: how much faster, how far off."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from paintsundo import PaintsUndoPipeline
from paintsundo.checkpoints.noise import trained_stage
from paintsundo.diffusion import build_scheduler
from paintsundo.errors import UserError
from paintsundo.metrics import keyframe_positions, measure_film
from paintsundo.metrics.films import Film
from paintsundo.metrics.report import finite_psnr
from paintsundo.pipelines.fast_mode import share_of_passes
from paintsundo.pipelines.film import fit_picture, read_picture
from paintsundo.pipelines.inputs import find_pictures
from paintsundo.pipelines.interpolation import join_clips
from paintsundo.pipelines.model_set import ModelSet
from paintsundo.pipelines.options import InferOptions, RuntimeOptions
from paintsundo.settings import config_directory
from support.pair_maker import pair_options

EXACT = "off"
OTHER_SEED = "another seed"
GOOD_DB = 30.0
STAGES = {"keyframes": "single_frame", "video": "multi_frame"}


@dataclass
class FastFilm:
    """A film, and the seconds of both samplers: of the processor's work on a CPU, else of the clock."""

    keyframes: Film
    frames: Film
    seconds: dict[str, float]


def fast_settings() -> list[str]:
    """The names of configs/fast but `off`, sorted."""
    return sorted(file.stem for file in (config_directory() / "fast").glob("*.yaml") if file.stem != EXACT)


def setting_overrides(setting: str) -> list[str]:
    """`NAME[+option=value …]`, NAME of configs/fast → overrides of infer.py."""
    name, *others = setting.split("+")
    return [f"fast={name}", *others]


class DriftMaker:
    """A pair of models that makes one picture's film in different settings.

    Args:
        models: "bundled", "official", or a folder with single_frame/ and multi_frame/.
        overrides: of infer.py, for all settings.

    Raises:
        UserError: a model or an option cannot be used.
    """

    def __init__(self, models: str, overrides: Sequence[str]) -> None:
        self.models, self.overrides = models, list(overrides)
        options = self.options(EXACT)
        if options.fast.name != EXACT:
            raise UserError("overrides must not hold fast=: say settings=[…]")
        self.set = ModelSet(options)
        self.pipe: PaintsUndoPipeline = self.set.pipe
        self.pipe.set_progress_bar_config(disable=True)
        self._others: list[tuple[RuntimeOptions, PaintsUndoPipeline]] = []

    def _pipe_for(self, runtime: RuntimeOptions) -> PaintsUndoPipeline:
        """The models computing as a setting's `runtime` says, loaded once."""
        known = [(self.set.options.runtime, self.pipe), *self._others]
        for computed, pipe in known:
            if computed == runtime:
                return pipe
        others = copy.copy(self.set.options)
        others.runtime = runtime
        pipe = ModelSet(others).pipe
        pipe.set_progress_bar_config(disable=True)
        self._others.append((runtime, pipe))
        return pipe

    def options(self, setting: str) -> InferOptions:
        """infer.py's options of a setting."""
        extra: list[str] = []
        if setting == OTHER_SEED:
            plain = pair_options(self.models, self.overrides)
            extra = [f"keyframes.seed={plain.keyframes.seed + 1}", f"video.seed={plain.video.seed + 1000}"]
            setting = EXACT
        options = pair_options(self.models, [*self.overrides, *extra, *setting_overrides(setting)])
        options.input, options.output = "picture", "film"
        options.check()
        return options

    def film(self, picture: NDArray[np.uint8], prompt: str, setting: str) -> FastFilm:
        """The film of a picture uint8 (H,W,3)."""
        options = self.options(setting)
        pipe = copy.copy(self._pipe_for(options.runtime))
        pipe.keyframe_options, pipe.video_options = options.keyframes, options.video
        pipe.fast_options = options.fast
        for stage, kind in STAGES.items():
            chosen = getattr(options, stage)
            trained = chosen.noise_schedule.applied_to(trained_stage(self.set.folders[kind], kind))
            name = "keyframe_scheduler" if stage == "keyframes" else "video_scheduler"
            setattr(pipe, name, build_scheduler(chosen.scheduler, trained))
        clock = _clock(pipe.placement.device)
        began = clock()
        keyframes = pipe.generate_keyframes(picture, prompt)
        seconds = {"keyframes": clock() - began}
        conditions = pipe.prepare_interpolation(keyframes, options.video)
        began = clock()
        latents = dict(pipe.sample_clips(conditions, options.video))
        seconds["clips"] = clock() - began
        frames = join_clips([clip for _, clip in pipe.decode_clips(conditions, latents)])
        return FastFilm(np.stack([np.asarray(k) for k in keyframes]), frames, seconds)

    def passes(self, setting: str) -> dict[str, float]:
        """Network passes of each stage over those of the exact film; those without inner blocks count as whole."""
        options, exact = self.options(setting), self.options(EXACT)
        shares = {}
        for stage in STAGES:
            own, full = getattr(options, stage), getattr(exact, stage)
            share = share_of_passes(getattr(options.fast, stage), own.num_inference_steps, own.guidance_scale != 1)
            shares[stage] = share * own.num_inference_steps / full.num_inference_steps
        return shares


def _clock(device: torch.device) -> Callable[[], float]:
    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.process_time() if device.type == "cpu" else time.perf_counter()

    return clock


Previews = dict[str, dict[str, Film]]


def measure_drift(
    maker: DriftMaker, pictures: str, settings: Sequence[str], keep: Callable[[dict[str, Any]], None]
) -> tuple[dict[str, Any], Previews]:
    """All figures, and picture → setting → film. `keep` is given the figures after each film."""
    found = find_pictures(pictures, "pictures")
    rows: dict[str, dict[str, Any]] = {}
    previews: Previews = {}
    report: dict[str, Any] = {
        "models": maker.models,
        "overrides": maker.overrides,
        "pictures": [name for _, name in found.pictures],
        "settings": rows,
    }
    wanted = [EXACT, OTHER_SEED, *(setting for setting in settings if setting not in (EXACT, OTHER_SEED))]
    shares = {setting: maker.passes(setting) for setting in wanted}  # a mistake in one is told before any work
    progress = tqdm(total=len(wanted) * len(found.pictures), desc="films", disable=None)
    for file, name in found.pictures:
        picture = fit_picture(read_picture(file), maker.options(EXACT).keyframes)
        prompt = maker.set.options.prompt if maker.set.options.prompt is not None else maker.pipe.tag(picture)
        exact: FastFilm | None = None
        for setting in wanted:
            made = maker.film(picture, prompt, setting)
            exact = made if exact is None else exact
            row = rows.setdefault(setting, {"passes": shares[setting], "films": {}})
            row["films"][name] = film_figures(made, exact)
            row["summary"] = summary(row["films"], rows[EXACT]["films"])
            previews.setdefault(name, {})[setting] = made.frames
            keep(report)
            progress.update()
    progress.close()
    return report, previews


def film_figures(made: FastFilm, exact: FastFilm) -> dict[str, Any]:
    """Of one film: seconds, PSNR of each keyframe and frame to the exact one, and the measures of a drawing."""
    positions = keyframe_positions(len(made.frames), len(made.keyframes))
    measured = measure_film(made.frames, positions, picture=None)
    between = measured["between_keyframes"]
    return {
        "seconds": made.seconds,
        "keyframes_db": _psnrs(made.keyframes[1:-1], exact.keyframes[1:-1]),  # the first and the last are given
        "frames_db": _psnrs(made.frames, exact.frames),
        "measures": {
            "monotonicity": measured["progress"]["spearman"],
            "backtrack": measured["progress"]["backtrack"],
            "flicker": measured["flicker"],
            "changed_share": measured["effective_changed_share"],
            "abruptness": measured["abruptness"],
            "changed_share_between": None if between is None else between["effective_changed_share"],
            "abruptness_between": None if between is None else between["abruptness"],
        },
    }


def _psnrs(made: Film, exact: Film) -> list[float]:
    return [round(finite_psnr(one, other), 2) for one, other in zip(made, exact, strict=True)]


def summary(films: Mapping[str, Mapping[str, Any]], exact: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Over all pictures: PSNR mean, 5 % quantile and least, share of frames from 30 dB, seconds, mean measures."""
    out: dict[str, Any] = {}
    for part in ("keyframes_db", "frames_db"):
        values = np.concatenate([film[part] for film in films.values()])
        out[part] = {
            "mean": float(values.mean()),
            "low": float(np.quantile(values, 0.05)),
            "least": float(values.min()),
            "good": float((values >= GOOD_DB).mean()),
        }
    seconds = {part: sum(film["seconds"][part] for film in films.values()) for part in ("keyframes", "clips")}
    before = {part: sum(exact[name]["seconds"][part] for name in films) for part in seconds}
    out["seconds"] = {**seconds, "both": sum(seconds.values())}
    out["time"] = {part: seconds[part] / before[part] for part in seconds}
    out["time"]["both"] = sum(seconds.values()) / sum(before.values())
    out["measures"] = {}
    for name in next(iter(films.values()))["measures"]:
        known = [film["measures"][name] for film in films.values() if film["measures"][name] is not None]
        out["measures"][name] = float(np.mean(known)) if known and np.isfinite(known).all() else None
    return out
