"""A film in its parts: what is measured of one, and the picture it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from paintsundo import PaintsUndoPipeline
from paintsundo.metrics.films import Film
from paintsundo.pipelines.interpolation import join_clips
from support.stopwatch import Part, Stopwatch, TimedPlacement

PROMPT = "1girl, solo, long hair, dress, smile"
STAGES = ("keyframes", "reading keyframes", "in-between frames", "decoding")
WHOLE = "whole film"
PAIR = "one pair, all its parts"
MOVING = "moving networks, in the above"


@torch.inference_mode()
def measure(pipe: PaintsUndoPipeline, picture: NDArray[np.uint8], steps: int | None = None) -> dict[str, Part]:
    """Make one film and measure its parts; sums and means are added under names of their own."""
    return measured_film(pipe, picture, steps).parts


class MeasuredFilm(NamedTuple):
    """A film's parts (see `measure`), its frames, uint8 (N,H,W,3), and its clips' latents, float32 (pairs,C,T,h,w)."""

    parts: dict[str, Part]
    frames: Film
    latents: NDArray[np.float32]


@torch.inference_mode()
def measured_film(pipe: PaintsUndoPipeline, picture: NDArray[np.uint8], steps: int | None = None) -> MeasuredFilm:
    """Make one film and keep what came of it."""
    device = pipe.placement.device
    watch = Stopwatch(device)
    own, pipe.placement = pipe.placement, TimedPlacement(pipe.placement, watch)
    try:
        with watch.part("keyframes"):
            keyframes = pipe.generate_keyframes(picture, PROMPT, num_inference_steps=steps)
        video = pipe.video_options
        if steps is not None:
            video = type(video)(**{**vars(video), "num_inference_steps": steps})
        with watch.part("reading keyframes"):
            conditions = pipe.prepare_interpolation(keyframes, video)
        with watch.part("in-between frames"):
            latents = dict(pipe.sample_clips(conditions, video))
        with watch.part("decoding"):
            film = join_clips([clip for _, clip in pipe.decode_clips(conditions, latents)])
        moving = pipe.placement.moving
    finally:
        pipe.placement = own
    parts = dict(watch.parts)
    clips = [parts[name] for name in STAGES[1:]]
    parts[PAIR] = _together(clips, 1 / conditions.pairs)
    parts[WHOLE] = _together([parts["keyframes"], *clips])
    parts[MOVING] = Part(moving, None)
    assert len(film) == conditions.pairs * (conditions.frames - 1)
    clips_latents = np.stack([latents[pair].float().numpy() for pair in sorted(latents)])
    return MeasuredFilm(parts, film, clips_latents)


def _together(parts: Sequence[Part], share: float = 1.0) -> Part:
    peaks = [part.peak_GiB for part in parts if part.peak_GiB is not None]
    return Part(share * sum(part.seconds for part in parts), max(peaks) if peaks else None)


def example_picture(width: int, height: int) -> NDArray[np.uint8]:
    """A picture to draw: a few outlined shapes on white, uint8 (height,width,3)."""
    picture = np.full((height, width, 3), 255, np.uint8)
    centre = (width // 2, height // 2)
    for part, colour in ((0.42, (250, 220, 180)), (0.25, (220, 90, 70)), (0.1, (60, 110, 200))):
        radius = round(min(width, height) * part)
        cv2.circle(picture, centre, radius, colour, -1, cv2.LINE_AA)
        cv2.circle(picture, centre, radius, (20, 20, 30), max(1, width // 150), cv2.LINE_AA)
    return picture


def film_psnr(film: Film, other: Film) -> dict[str, Any]:
    """PSNR of each frame of a film to the same of another, dB: mean and least, at most 99."""
    from paintsundo.metrics.report import finite_psnr

    values = [finite_psnr(one, two) for one, two in zip(film, other, strict=True)]
    return {"mean": round(float(np.mean(values)), 2), "least": round(min(values), 2)}
