"""Films and states of several pictures of one size, computed together.

Every picture's noise is its own, so that what comes out is that of one picture after the other but for rounding.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from paintsundo.conditioning.images import crop_to, to_model, to_uint8
from paintsundo.conditioning.text import encode_prompts
from paintsundo.data.process import DrawingProcess, work_of_step
from paintsundo.errors import UserError
from paintsundo.metrics.films import Film
from paintsundo.metrics.report import finite_psnr
from paintsundo.models.token_merging import set_token_merging
from paintsundo.pipelines.graphs import graphed
from paintsundo.pipelines.interpolation import InterpolationConditions, denoise_pairs, join_clips, join_keyframes
from paintsundo.pipelines.keyframes import decode_picture, encode_picture
from paintsundo.pipelines.noise import draw, streams
from paintsundo.pipelines.options import VideoOptions
from paintsundo.pipelines.sampling import denoise
from paintsundo.pipelines.sizes import nearest
from support.pair_maker import CALIBRATION_STEPS, CURVE_STATES, OWN_STEPS, Made, PairMaker, claimed_works
from support.round_trip import round_trip
from support.true_processes import TrueProcess

ROWS = 32
"""Keyframes computed together where several pictures are, unless keyframes.batch says otherwise."""
SEED_STEP = 1000
"""Between the seeds of what is made several times; a film's pairs and keyframes take the seeds next to its own."""


class PairBatch:
    """A pair of models at work on several pictures at once.

    Args:
        maker: the pair.
        together: pictures, and clips, computed at once.
        size: pictures at the area of a square of this side, in their process' shape; None: as `maker` has it.
        clips: of how many pairs of true keyframes frames between are made, spread evenly; None: of all.
        clip_seeds: how often those are made, each time with another seed.
        state_seeds: how often states at known steps are.
    """

    def __init__(
        self,
        maker: PairMaker,
        together: int = 1,
        size: int | None = None,
        clips: int | None = None,
        clip_seeds: int = 1,
        state_seeds: int = 1,
    ) -> None:
        self.maker, self.pipe, self.together, self.clip_count = maker, maker.pipe, together, clips
        self.clip_seeds, self.state_seeds = clip_seeds, state_seeds
        self.side = size
        self.works = [1.0, *map(work_of_step, maker.steps), 0.0]

    def size(self, process: DrawingProcess) -> tuple[int, int]:
        """(height, width) that the pictures of a process are made in."""
        height, width = process.size
        if self.side is not None:
            scale = self.side / (height * width) ** 0.5
            height, width = (
                max(self.maker.multiple, nearest(round(s * scale), self.maker.multiple)) for s in (height, width)
            )
            return height, width
        if not self.maker.own_size:
            return self.maker.options.keyframes.height, self.maker.options.keyframes.width
        return nearest(height, self.maker.multiple), nearest(width, self.maker.multiple)

    def make(self, trues: Sequence[TrueProcess], parts: Sequence[str]) -> list[Made]:
        """The parts ("film", "calibration", "interpolation") of processes whose pictures are of one size.

        Seconds are those of all divided by their number. Raises UserError: interpolation without a video model.
        """
        if self.maker.keyframes_only and "interpolation" in parts:
            raise UserError("with video.between=none there is no interpolation to measure: leave it out of parts")
        size = self.size(trues[0].process)
        made = [self._begun(true, size) for true in trues]
        finished, prompts = [m.finished for m in made], [m.prompt for m in made]
        video = self.video_options(size)

        def timed(part: str, began: float) -> None:
            for one in made:
                one.seconds[part] = (time.perf_counter() - began) / len(made)

        if "film" in parts:
            clock = time.perf_counter()
            for one, keyframes in zip(made, self.states(finished, prompts, self.maker.steps), strict=True):
                one.keyframes = keyframes
            timed("keyframes", clock)
            clock = time.perf_counter()
            films = self.films([m.keyframes for m in made if m.keyframes is not None], video)
            timed("video", clock)
            for one, true, film in zip(made, trues, films, strict=True):
                one.film, one.true_film = film, states_of(true.process, self.claimed(len(film)), size)
        if "calibration" in parts:
            clock = time.perf_counter()
            for one, states in zip(made, self.states(finished, prompts, CALIBRATION_STEPS), strict=True):
                one.states = states[1:-1]
            timed("calibration", clock)
            if self.state_seeds > 1:
                self._drawn_again(made)
            for one, true in zip(made, trues, strict=True):
                one.true_states = states_of(true.process, [work_of_step(step) for step in CALIBRATION_STEPS], size)
        if "interpolation" in parts:
            clock = time.perf_counter()
            self._between(made, trues, video, size)
            timed("interpolation", clock)
        return made

    def video_options(self, size: tuple[int, int]) -> VideoOptions:
        return VideoOptions(**{**vars(self.maker.options.video), "buckets": [list(size)]})

    def claimed(self, frames: int) -> NDArray[np.float64]:
        """The share of the work that each frame of a film claims to show."""
        return np.array(self.works[::-1]) if self.maker.keyframes_only else claimed_works(frames, self.works)

    def _begun(self, true: TrueProcess, size: tuple[int, int]) -> Made:
        prompt = self.maker._prompt(true)
        film = states_of(true.process, np.linspace(0, 1, CURVE_STATES), size)
        made = Made(prompt, film[-1], film)
        with torch.inference_mode():
            made.ceilings["video"] = (
                None if self.maker.keyframes_only else round_trip(self.pipe.video_vae, made.finished)
            )
            vae = self.pipe.keyframe_vae
            latents = encode_picture(vae, made.finished, self.pipe.placement.device)
            made.ceilings["keyframe"] = finite_psnr(decode_picture(vae, latents), made.finished)
        return made

    @torch.no_grad()
    def states(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        prompts: Sequence[str],
        steps: Sequence[int],
        seeds: Sequence[int] | None = None,
    ) -> list[Film]:
        """Of each picture: finished, states at these steps, blank, (K + 2,H,W,3). `seeds`: one a picture, by default
        keyframes.seed."""
        parts, options, placement = self.pipe.single_frame, self.pipe.keyframe_options, self.pipe.placement
        guidance = self.pipe.keyframe_guidance(options)
        set_token_merging(parts.unet, self.pipe.fast_options.keyframes.merge_tokens)
        dtype, device = parts.unet.dtype, placement.device
        with placement.using(parts.text_encoder):
            words = {
                prompt: encode_prompts(parts.tokenizer, parts.text_encoder, [prompt], options.clip_skip)
                for prompt in {*prompts, options.negative_prompt}
            }
        with placement.using(parts.vae):
            conditions = [encode_picture(parts.vae, picture, device).to(dtype) for picture in pictures]
        rows = [
            (picture, step, (options.seed if seeds is None else seeds[picture]) + order * (options.noise != "same"))
            for picture in range(len(pictures))
            for order, step in enumerate(steps)
        ]

        def predict(sample: Tensor, timestep: Tensor, **inputs: Tensor) -> Tensor:
            found: Tensor = parts.unet(sample.to(dtype), timestep, **inputs).sample
            return found

        predict = graphed(predict, parts.unet, device, self.pipe.graphs)

        def sample(chunk: Sequence[tuple[int, int, int]]) -> Tensor:
            generators = streams([seed for _, _, seed in chunk], placement.noise_device)
            text = torch.cat([words[prompts[picture]] for picture, _, _ in chunk]).to(dtype)
            negative = words[options.negative_prompt].to(dtype).expand_as(text)
            return denoise(
                self.pipe.keyframe_scheduler,
                draw(generators, conditions[0].shape[1:], device),
                predict,
                shared={
                    "operation_steps": torch.as_tensor([step for _, step, _ in chunk], device=device),
                    "concat_conds": torch.cat([conditions[picture] for picture, _, _ in chunk]),
                },
                cond={"encoder_hidden_states": text},
                uncond={"encoder_hidden_states": negative} if guidance.active else None,
                guidance=guidance,
                generators=generators,
                num_inference_steps=options.num_inference_steps,
                on_step=lambda *_: None,
            )

        many = options.batch or (ROWS if len(pictures) > 1 else len(rows))
        with placement.using(parts.unet):
            latents = torch.cat([sample(rows[first : first + many]) for first in range(0, len(rows), many)])
        with placement.using(parts.vae):
            decoded = [decode_picture(parts.vae, row[None]) for row in latents]
        found = []
        for number, picture in enumerate(pictures):
            mine = decoded[number * len(steps) : (number + 1) * len(steps)]
            found.append(np.stack([picture, *mine, np.full_like(picture, 255)]))
        return found

    def films(self, keyframes: Sequence[Film], video: VideoOptions, seeds: Sequence[int] | None = None) -> list[Film]:
        """The film through each row of keyframes (finished … blank), blank → finished."""
        if self.maker.keyframes_only:
            return [join_keyframes(list(row)) for row in keyframes]
        return [join_clips(clips) for clips in self.clips(keyframes, video, seeds=seeds)]

    @torch.no_grad()
    def clips(
        self,
        keyframes: Sequence[Film],
        video: VideoOptions,
        pairs: Sequence[int] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> list[list[Film]]:
        """The clips of these pairs (all by default) of each row of keyframes, finished → blank."""
        conditions = [self.pipe.prepare_interpolation(list(row), video) for row in keyframes]
        merged, begins = _merged(conditions)
        wanted = [
            (film, pair, (video.seed if seeds is None else seeds[film]) + pair)
            for film in range(len(conditions))
            for pair in (range(conditions[film].pairs) if pairs is None else pairs)
        ]
        latents: dict[tuple[int, int], Tensor] = {}
        many = max(self.together, video.batch or 1)
        set_token_merging(self.pipe.video_unet, self.pipe.fast_options.video.merge_tokens)
        with self.pipe.placement.using(self.pipe.video_unet):
            for first in range(0, len(wanted), many):
                chunk = wanted[first : first + many]
                found = denoise_pairs(
                    self.pipe.multi_frame,
                    self.pipe.video_scheduler,
                    self.pipe.placement.device,
                    self.pipe.placement.noise_device,
                    merged,
                    [begins[film] + pair for film, pair, _ in chunk],
                    video.num_inference_steps,
                    self.pipe.video_guidance(video),
                    video.seed,
                    video.frame_stride,
                    video.attention_window,
                    lambda *_: None,
                    seeds=[seed for _, _, seed in chunk],
                    graphs=self.pipe.graphs,
                )
                latents.update({(film, pair): row.cpu() for (film, pair, _), row in zip(chunk, found, strict=True)})
        return [
            [
                clip
                for _, clip in self.pipe.decode_clips(
                    condition, {pair: row for (film, pair), row in latents.items() if film == number}
                )
            ]
            for number, condition in enumerate(conditions)
        ]

    def _drawn_again(self, made: Sequence[Made]) -> None:
        """States of further seeds, and what they are read off."""
        finished, prompts = [m.finished for m in made], [m.prompt for m in made]
        for one, states in zip(made, self.states(finished, prompts, OWN_STEPS), strict=True):
            one.own_curve = states[::-1]
        first = self.maker.options.keyframes.seed
        again = [
            self.states(finished, prompts, CALIBRATION_STEPS, [first + number * SEED_STEP] * len(made))
            for number in range(1, self.state_seeds)
        ]
        for one, states in zip(made, zip(*again, strict=True), strict=True):
            one.other_states = np.concatenate([each[1:-1] for each in states])

    def _between(
        self, made: Sequence[Made], trues: Sequence[TrueProcess], video: VideoOptions, size: tuple[int, int]
    ) -> None:
        ends = list(pairwise(self.works))
        count = min(self.clip_count or len(ends), len(ends))
        chosen = (
            [round(place) for place in np.linspace(0, len(ends) - 1, count + 2)[1:-1]] if count < len(ends) else None
        )
        chosen = sorted(set(chosen)) if chosen is not None else list(range(len(ends)))
        keyframes = [states_of(true.process, self.works, size) for true in trues]
        seeds = [video.seed + number * SEED_STEP for number in range(self.clip_seeds)]
        ours, *others = (self.clips(keyframes, video, chosen, [seed] * len(keyframes)) for seed in seeds)
        for number, (one, true, clips) in enumerate(zip(made, trues, ours, strict=True)):
            found: dict[str, list[Film]] = {"ours": [], "true": [], "cross_fade": [], "ceiling": []}
            for clip, pair in zip(clips, chosen, strict=True):
                states = states_of(true.process, np.linspace(*ends[pair], len(clip)), size)
                parts = {"ours": clip, "true": states, "cross_fade": faded(states), "ceiling": self._decoded(states)}
                for name, film in parts.items():
                    found[name].append(film[1:-1])
            one.between = {name: np.concatenate(films) for name, films in found.items()}
            if others:
                again = [np.concatenate([clip[1:-1] for clip in other[number]]) for other in others]
                mean = np.mean([one.between["ours"], *again], axis=0, dtype=np.float32)
                one.between |= {"another_seed": again[0], "mean_of_seeds": np.round(mean).astype(np.uint8)}

    @torch.inference_mode()
    def _decoded(self, clip: Film) -> Film:
        vae = self.pipe.video_vae
        frames = to_model(clip).transpose(0, 1)[None].to(vae.device, vae.dtype)
        return np.asarray(to_uint8(vae.decode(*vae.encode(frames))[0].transpose(0, 1)))


def states_of(process: DrawingProcess, works: Sequence[float] | NDArray[np.float64], size: tuple[int, int]) -> Film:
    """States of a process at shares of the work, (N,H,W,3), scaled and cropped to (height, width)."""
    height, width = size
    states = [process.state(float(min(1.0, max(0.0, work)))) for work in works]
    return np.stack([state if state.shape[:2] == size else crop_to(state, width, height) for state in states])


def faded(clip: Film) -> Film:
    """The linear cross-fade of a clip's own ends, of its length."""
    parts = np.linspace(0, 1, len(clip))[:, None, None, None].astype(np.float32)
    return np.round(clip[0] * (1 - parts) + clip[-1] * parts).astype(np.uint8)


def _merged(conditions: Sequence[InterpolationConditions]) -> tuple[InterpolationConditions, list[int]]:
    """Conditions of several films as those of one, and where each film's pairs begin; the pairs across are not used."""
    begins = np.cumsum([0, *(len(c.latents) for c in conditions[:-1])]).tolist()
    contexts = [torch.cat([c.image_contexts, c.image_contexts[-1:]]) for c in conditions]
    first: Any = conditions[0]
    return (
        InterpolationConditions(
            latents=torch.cat([c.latents for c in conditions]),
            hidden=[],
            image_contexts=torch.cat(contexts),
            grey_context=first.grey_context,
            text=first.text,
        ),
        begins,
    )
