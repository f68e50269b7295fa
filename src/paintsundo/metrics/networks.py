"""Measures that need a trained network, from a folder on disk with any of these; nothing is ever fetched.

FOLDER/clip: a CLIP model with its image processor as transformers saves it (model.safetensors, config.json,
preprocessor_config.json). KID and the Fréchet distance are torchmetrics' own with CLIP's features in place of
Inception's: figures of papers do not compare.
FOLDER/lpips: torchvision's AlexNet (alexnet.safetensors or alexnet.pth), for LPIPS.
FOLDER/videomae: a VideoMAE as transformers saves it (model.safetensors, config.json), for Fréchet distance of films.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from paintsundo.errors import UserError
from paintsundo.metrics.films import Film, at_times
from paintsundo.metrics.fvd import FilmFeatures
from paintsundo.metrics.lpips import PerceptualDistance
from paintsundo.metrics.lpips import find as find_alexnet

FRAMES = 8
LEAST_FOR_DISTANCE = 2


class NetworkFigures(NamedTuple):
    """Of films against true films, None where the network is missing or the films are too few.

    Of each film: `clip` in [−1, 1], 1 = alike; `lpips` ≥ 0, 0 = alike. Of all: `kid` (0 = alike) and `frechet` ≥ 0 on
    CLIP's features; `fvd` ≥ 0 on VideoMAE's.
    """

    clip: list[float] | None
    kid: float | None
    frechet: float | None
    lpips: list[float] | None
    fvd: float | None


class _Features(nn.Module):
    """CLIP's image embeddings of uint8 (B,3,H,W), as torchmetrics asks for them."""

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__()
        self.model, self.processor = model, processor
        self.num_features = int(model.config.projection_dim)

    @torch.inference_mode()
    def forward(self, pictures: Tensor) -> Tensor:
        inputs = self.processor(images=list(pictures.cpu()), return_tensors="pt")["pixel_values"]
        found = self.model.get_image_features(pixel_values=inputs.to(self.model.device, self.model.dtype))
        found = found if isinstance(found, Tensor) else found.pooler_output
        return found.float().cpu()


class NetworkMeasures:
    """CLIP similarity, KID, LPIPS and Fréchet distances of films against true films, as far as there are networks.

    Raises:
        UserError: none of them is in the folder, or one cannot be used.
    """

    def __init__(self, weights: str | Path) -> None:
        folder = Path(weights)
        alexnet = find_alexnet(folder / "lpips")
        clip, videomae = (folder / name / "model.safetensors" for name in ("clip", "videomae"))
        if alexnet is None and not clip.is_file() and not videomae.is_file():
            raise UserError(
                f"weights={weights}: no clip/model.safetensors, lpips/alexnet.safetensors or "
                "videomae/model.safetensors there, and none is fetched"
            )
        self.features = _load_clip(clip.parent) if clip.is_file() else None
        self.perceptual = None if alexnet is None else PerceptualDistance(alexnet)
        self.films = FilmFeatures(videomae.parent) if videomae.is_file() else None

    def embed(self, frames: Film) -> Tensor:
        """Frames (N,H,W,3) → CLIP's embeddings (N,D).

        Raises:
            UserError: there is no CLIP.
        """
        if self.features is None:
            raise UserError("this takes a CLIP: clip/model.safetensors in the folder of weights")
        found: Tensor = self.features(torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2))
        return found

    def likeness(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
        """Cosine of two pictures' embeddings, in [−1,1]; 1 = equal. Fooled by content without likeness of pixels."""
        a, b = self.embed(np.stack([first])), self.embed(np.stack([second]))
        return float(nn.functional.cosine_similarity(a, b)[0])

    def measure(self, films: Sequence[Film], true_films: Sequence[Film]) -> NetworkFigures:
        """Films against true ones, one each; eight equally spaced frames of both, for fvd as many as VideoMAE takes.

        clip: mean cosine of frames at equal times (Radford et al. 2021). kid: polynomial MMD² over all frames
        (Bińkowski et al. 2018), 50 subsets of half of them, seed 0. frechet: over the mean embedding of each film
        (Heusel et al. 2017), at least two films. lpips: mean over frames at equal times. fvd: Unterthiner et al. 2018,
        at least two films. All distances of sets are rough for fewer than hundreds of films.
        """
        if len(films) != len(true_films) or not films:
            raise ValueError(f"{len(films)} films and {len(true_films)} true ones")
        enough = len(films) >= LEAST_FOR_DISTANCE
        clip = lpips = kid = frechet = fvd = None
        if self.features is not None:
            ours, true = ([self.embed(at_times(film, FRAMES)) for film in row] for row in (films, true_films))
            clip = [float(nn.functional.cosine_similarity(a, b).mean()) for a, b in zip(ours, true, strict=True)]
            if enough:
                kid, frechet = _kid(torch.cat(ours), torch.cat(true)), _frechet(_means(ours), _means(true))
        if self.perceptual is not None:
            pairs = zip(films, true_films, strict=True)
            lpips = [float(self.perceptual(_signed(ours), _signed(true, ours)).mean()) for ours, true in pairs]
        if self.films is not None and enough:
            fvd = _frechet(*(torch.cat([self.films(film) for film in row]) for row in (films, true_films)))
        return NetworkFigures(clip, kid, frechet, lpips, fvd)


def _load_clip(folder: Path) -> _Features:
    from transformers import CLIPImageProcessor, CLIPModel

    try:
        model = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
        processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # whatever a damaged file leads to
        line = " ".join(str(error).split())[:200]
        raise UserError(f"{folder} is no CLIP with its image processor as transformers saves them: {line}") from error
    return _Features(model, processor)


def _signed(film: Film, like: Film | None = None) -> Tensor:
    """Equally spaced frames as (N, 3, H, W) in [−1, 1], at the size of another film's if given."""
    frames = at_times(film, FRAMES)
    if like is not None and like.shape[1:3] != frames.shape[1:3]:
        size = (like.shape[2], like.shape[1])
        frames = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1


class _Given(nn.Module):
    """Features that are known already, handed through as they are."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size

    def forward(self, features: Tensor) -> Tensor:
        return features


def _kid(ours: Tensor, true: Tensor) -> float:
    from torchmetrics.image.kid import KernelInceptionDistance

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        metric = KernelInceptionDistance(feature=_Given(ours.shape[1]), subsets=50, subset_size=max(2, len(ours) // 2))
        metric.update(true, real=True)
        metric.update(ours, real=False)
        return float(metric.compute()[0])


def _frechet(ours: Tensor, true: Tensor) -> float:
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Given(ours.shape[1])).set_dtype(torch.float64)
    metric.update(true, real=True)
    metric.update(ours, real=False)
    return max(0.0, float(metric.compute()))


def _means(films: Sequence[Tensor]) -> Tensor:
    return torch.stack([film.mean(dim=0) for film in films])
