"""What keyframes are becoming, while they denoise: the network's estimate of the finished latents, as pictures."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from paintsundo.conditioning.images import to_uint8
from paintsundo.diffusion.finished_estimate import FinishedEstimate
from paintsundo.errors import UserError
from paintsundo.pipelines.keyframes import encode_picture

EVERY = 0.8  # seconds between two previews of one keyframe, at least
_SHARE = 0.2  # of the time that decoding previews may take
_RIDGE = 1e-3
_PATCH = 32  # pixels
_CELL = 2  # pixels on a side that one latent is told as


class EstimateTap:
    """Keeps the newest estimate of the finished latents that a scheduler's step was given; changes none of them."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._step = scheduler.step
        self._given: tuple[Tensor, Tensor, int] | None = None
        self._index = 0

    def __enter__(self) -> EstimateTap:
        @functools.wraps(self._step)
        def step(model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **kwargs: Any) -> Any:
            self._given = model_output, self._scheduler.scale_model_input(sample, timestep), self._index
            self._index = (self._index + 1) % len(self._scheduler.timesteps)
            return self._step(model_output, timestep, sample, *args, **kwargs)

        self._scheduler.step = step
        return self

    def __exit__(self, *error: object) -> None:
        del self._scheduler.step

    def estimate(self, sample: Tensor) -> Tensor:
        """x0 (B, …) as the newest prediction has it; `sample` itself where the scheduler does not tell."""
        if self._given is None:
            return sample
        output, model_input, index = self._given
        try:
            return FinishedEstimate(self._scheduler).of(output, model_input, index)
        except (UserError, AttributeError, TypeError, IndexError):
            return sample


class LatentColours:
    """A linear map from an autoencoder's latents to colours: no decoder, a quarter of the size, and at once."""

    def __init__(self, weights: np.ndarray) -> None:
        self._weights = weights

    @classmethod
    def fitted(cls, vae: Any, picture: np.ndarray, device: torch.device) -> LatentColours:
        """Fit it, by least squares, on a picture uint8 (H, W, 3), on patches of all colours, and on white."""
        rows, targets = [], []
        with torch.no_grad():
            for pixels in (picture, _patches(*picture.shape[:2]), np.full_like(picture, 255)):
                latent = encode_picture(vae, pixels, device)[0].float().cpu().numpy()
                height, width = latent.shape[1:]
                small = cv2.resize(pixels, (_CELL * width, _CELL * height), interpolation=cv2.INTER_AREA)
                rows.append(latent.reshape(len(latent), -1).T)
                cells = rearrange(small, "(h y) (w x) c -> (h w) (y x c)", y=_CELL, x=_CELL)
                targets.append(cells.astype(np.float64))
        x = np.concatenate(rows)
        x = np.concatenate([x, np.ones((len(x), 1))], axis=1).astype(np.float64)
        gram = x.T @ x
        weights = np.linalg.solve(gram + _RIDGE * len(x) * np.eye(len(gram)), x.T @ np.concatenate(targets))
        return cls(weights)

    def pictures(self, latents: Tensor, width: int, height: int) -> list[np.ndarray]:
        """Latents (B, C, h, w) → B pictures uint8 (height, width, 3)."""
        values = latents.detach().float().cpu().numpy().astype(np.float64)
        flat = values.transpose(0, 2, 3, 1) @ self._weights[:-1] + self._weights[-1]
        cells = np.nan_to_num(flat).clip(0, 255).astype(np.uint8)
        small = rearrange(cells, "b h w (y x c) -> b (h y) (w x) c", y=_CELL, x=_CELL)
        return [
            cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
            for picture in np.ascontiguousarray(small)
        ]


def _patches(height: int, width: int) -> np.ndarray:
    """Patches of colours chosen at random, every fourth white, uint8 (height, width, 3)."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (-(-height // _PATCH), -(-width // _PATCH), 3), dtype=np.uint8)
    colours[rng.random(colours.shape[:2]) < 0.25] = 255
    return np.ascontiguousarray(colours.repeat(_PATCH, 0).repeat(_PATCH, 1)[:height, :width])


class KeyframePreviews:
    """Pictures of keyframes in the making, through the autoencoder where that is cheap, else by colours alone.

    Args:
        pipe: a loaded pipeline.
        picture: the fitted picture, uint8 (H, W, 3).
        show: called with (row, JPEG-ready picture) for each keyframe.
    """

    def __init__(self, pipe: Any, picture: np.ndarray, show: Callable[[int, Image.Image], None]) -> None:
        self._pipe = pipe
        self._picture = picture
        self._show = show
        self._last = 0.0
        self._decoding: float | None = None  # seconds a keyframe
        self._tap = EstimateTap(pipe.keyframe_scheduler)

    def __enter__(self) -> KeyframePreviews:
        self._tap.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._tap.__exit__(*error)

    def on_step(self, latents: Tensor, first_row: int = 0) -> None:
        """Show all rows (B, C, h, w), unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._last < EVERY:
            return
        estimate = self._tap.estimate(latents)
        height, width = self._picture.shape[:2]
        if self._cheap(estimate):
            pictures = [self._decoded(row[None]) for row in estimate]
        else:
            pictures = self._colours(estimate.device).pictures(estimate, width, height)
        for row, picture in enumerate(pictures):
            self._show(first_row + row, Image.fromarray(picture))
        self._last = time.monotonic()

    def _cheap(self, latents: Tensor) -> bool:
        vae = self._pipe.keyframe_vae
        if self._pipe.placement.low or next(vae.parameters()).device != latents.device:
            return False
        if self._decoding is None:
            began = time.monotonic()
            self._decoded(latents[:1])  # the first time costs more than any other
            if time.monotonic() - began < EVERY:
                began = time.monotonic()
                self._decoded(latents[:1])
            self._decoding = time.monotonic() - began
        return self._decoding * len(latents) <= _SHARE * EVERY

    def _decoded(self, latents: Tensor) -> np.ndarray:
        vae = self._pipe.keyframe_vae
        with torch.no_grad():
            pixels = vae.decode((latents / vae.config.scaling_factor).to(vae.dtype)).sample
        return to_uint8(pixels[0].float().nan_to_num())

    def _colours(self, device: torch.device) -> LatentColours:
        vae = self._pipe.keyframe_vae
        known: LatentColours | None = getattr(self._pipe, "_latent_colours", None)
        if known is None:
            with self._pipe.placement.using(vae):
                known = LatentColours.fitted(vae, self._picture, device)
            self._pipe._latent_colours = known
        return known


def save_preview(file: Path, picture: Image.Image) -> None:
    """Write a preview as a JPEG, as a whole."""
    temporary = file.with_suffix(".part")
    picture.save(temporary, format="JPEG", quality=80)
    temporary.replace(file)


def save_frame_previews(folder: Path, frames: Sequence[tuple[int, np.ndarray]]) -> None:
    """Write frames of the film in the making, each under its number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in frames:
        save_preview(folder / f"{number:05d}.jpg", Image.fromarray(frame))
