"""Pictures as the pipeline takes them, brought to the sizes of its stages."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from paintsundo.conditioning.buckets import choose_bucket
from paintsundo.conditioning.images import crop_notice, crop_to, open_picture, pad_to
from paintsundo.conditioning.picture_file import to_rgb
from paintsundo.errors import UserError
from paintsundo.pipelines.options import KeyframeOptions, VideoOptions

Picture = str | os.PathLike[str] | Image.Image | np.ndarray


def read_picture(image: Picture) -> Image.Image:
    """A file, PIL image or uint8 array (H, W, 3) as an RGB PIL image."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    if isinstance(image, Image.Image):
        return image if image.mode == "RGB" else to_rgb(image)
    return open_picture(image)


def fit_picture(image: Image.Image, options: KeyframeOptions) -> np.ndarray:
    """Bring a picture to the keyframes' size, uint8 (H, W, 3)."""
    fit = crop_to if options.fit == "crop" else pad_to
    return fit(np.asarray(image), options.width, options.height)


def fit_notice(image: Image.Image, options: KeyframeOptions) -> str | None:
    """One line saying what a crop removes; None if nothing is."""
    return crop_notice(np.asarray(image), options.width, options.height) if options.fit == "crop" else None


def bucket_notice(keyframes: Sequence[Image.Image], options: VideoOptions) -> str | None:
    """One line saying what the film cuts off its keyframes; None if nothing is."""
    height, width = choose_bucket(keyframes[0].height, keyframes[0].width, options.buckets)
    notices = (crop_notice(np.asarray(keyframe), width, height) for keyframe in keyframes)
    notice = next((found for found in notices if found is not None), None)
    return None if notice is None else f"for the film, keyframes are {notice}"


def as_arrays(keyframes: Sequence[Picture]) -> list[np.ndarray]:
    """Keyframes as uint8 (H, W, 3); UserError where there are fewer than two."""
    if len(keyframes) < 2:
        raise UserError(f"{len(keyframes)} keyframes: at least two are needed, the finished picture and a blank")
    return [np.asarray(read_picture(keyframe)) for keyframe in keyframes]
