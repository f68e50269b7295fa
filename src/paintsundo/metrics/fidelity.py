"""How close pictures are: the film's end to the finished picture, its start to a blank canvas, a clip to its
ends."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from paintsundo.metrics.films import Film, as_float, check_film

BLANK_TOLERANCE = 0.03
SSIM_WINDOW = 11


def psnr(picture: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB, 10·log10(1/MSE) over uint8 pictures of one shape; infinite when
    equal.

    Fooled by blur and by large blank margins, which raise it. Raises ValueError where shapes differ.
    """
    if picture.shape != reference.shape:
        raise ValueError(f"pictures of different shapes: {picture.shape} and {reference.shape}")
    error = float(np.mean((picture.astype(np.float64) - reference.astype(np.float64)) ** 2)) / 255.0**2
    return float("inf") if error == 0 else float(-10.0 * np.log10(error))


def ssim(picture: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """Structural similarity (Wang et al. 2004; 11 px Gaussian window), uint8 (H,W,3), in [−1,1], 1 = equal.

    Fooled by large empty areas, where two blanks agree perfectly. Raises
    ValueError where shapes differ or a side is below 11 pixels.
    """
    import torch
    from torchmetrics.functional.image import structural_similarity_index_measure

    if picture.shape != reference.shape:
        raise ValueError(f"pictures of different shapes: {picture.shape} and {reference.shape}")
    if min(picture.shape[:2]) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs pictures of at least {SSIM_WINDOW} pixels a side, this is {picture.shape}")
    if np.array_equal(picture, reference):
        return 1.0
    ours, theirs = (torch.from_numpy(p / 255.0).permute(2, 0, 1)[None] for p in (picture, reference))
    image = structural_similarity_index_measure(ours, theirs, data_range=1.0, return_full_image=True)[1]
    border = SSIM_WINDOW // 2  # windows that reach over the edge are left out, as the paper's code does
    return float(image[..., border:-border, border:-border].mean())


class Blankness(NamedTuple):
    """Of one picture: mean over pixels and channels, and share of pixels within 0.03 of white; both in
    [0,1]."""

    mean: float
    white_share: float


def blankness(picture: NDArray[np.uint8], tolerance: float = BLANK_TOLERANCE) -> Blankness:
    """How nearly a picture (H,W,3) is a blank white canvas; a pixel is white when all its channels ≥ 1 −
    tolerance.

    The mean is fooled by faint grey all over, the share by a few black strokes: read both.
    """
    pixels = as_float(picture)
    return Blankness(float(pixels.mean()), float((pixels.min(axis=-1) >= 1 - tolerance).mean()))


class InterpolationFidelity(NamedTuple):
    """PSNR in dB of a clip: at its first and last frame, and against the true frames between (None: not
    known)."""

    first: float
    last: float
    between: float | None


def interpolation_fidelity(
    clip: Film, first: NDArray[np.uint8], last: NDArray[np.uint8], true_clip: Film | None = None
) -> InterpolationFidelity:
    """PSNR of a clip (N,H,W,3) against the two frames it was given and, where known, true in-between states.

    The ends say nothing about the way between them; a cross-fade has both ends perfect.
    """
    check_film(clip)
    between = None
    if true_clip is not None:
        if clip.shape != true_clip.shape:
            raise ValueError(f"clips of different shapes: {clip.shape} and {true_clip.shape}")
        if len(clip) > 2:
            between = psnr(clip[1:-1], true_clip[1:-1])
    return InterpolationFidelity(psnr(clip[0], first), psnr(clip[-1], last), between)
