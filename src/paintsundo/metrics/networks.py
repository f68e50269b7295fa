"""Measures that need a trained network, from a folder on disk; nothing is ever fetched.

FOLDER/clip: a CLIP model with its image processor as transformers saves it (model.safetensors, config.json,
preprocessor_config.json). KID and the Fréchet distance are torchmetrics' own with CLIP's features in place of
Inception's: figures of papers do not compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from paintsundo.errors import UserError
from paintsundo.metrics.films import Film, at_times

FRAMES = 8
LEAST_FOR_DISTANCE = 2


class NetworkFigures(NamedTuple):
    """Of films against true films: `clip` in [−1,1], one a film; kid (0 = alike) and frechet (≥ 0) of all, None where
    there are too few."""

    clip: list[float]
    kid: float | None
    frechet: float | None


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
    """CLIP similarity, and KID and Fréchet distance on CLIP's features, of films against true films.

    Raises UserError, one line: no such folder, or no usable CLIP in it.
    """

    def __init__(self, weights: str | Path) -> None:
        folder = Path(weights) / "clip"
        needed = ("config.json", "model.safetensors", "preprocessor_config.json")
        if missing := [name for name in needed if not (folder / name).is_file()]:
            raise UserError(f"weights={weights}: no clip/{missing[0]} there, and none is fetched")
        from transformers import CLIPImageProcessor, CLIPModel

        try:
            model = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
            processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # whatever a damaged file leads to
            line = " ".join(str(error).split())[:200]
            raise UserError(f"weights={weights}: clip cannot be loaded: {line}") from error
        self.features = _Features(model, processor)

    def embed(self, frames: Film) -> Tensor:
        """Frames (N,H,W,3) → embeddings (N,D)."""
        found: Tensor = self.features(torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2))
        return found

    def likeness(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
        """Cosine of two pictures' embeddings, in [−1,1]; 1 = equal. Fooled by content without likeness of pixels."""
        a, b = self.embed(np.stack([first])), self.embed(np.stack([second]))
        return float(nn.functional.cosine_similarity(a, b)[0])

    def measure(self, films: Sequence[Film], true_films: Sequence[Film]) -> NetworkFigures:
        """Films against true ones, one each; eight equally spaced frames of both.

        clip: mean cosine of frames at equal times (Radford et al. 2021). kid: polynomial MMD² over all frames
        (Bińkowski et al. 2018), 50 subsets of half of them, seed 0. frechet: over the mean embedding of each film
        (Heusel et al. 2017), at least two films. Both are rough for fewer than hundreds of films.
        """
        if len(films) != len(true_films) or not films:
            raise ValueError(f"{len(films)} films and {len(true_films)} true ones")
        ours, true = ([self.embed(at_times(film, FRAMES)) for film in row] for row in (films, true_films))
        clip = [float(nn.functional.cosine_similarity(a, b).mean()) for a, b in zip(ours, true, strict=True)]
        if len(films) < LEAST_FOR_DISTANCE:
            return NetworkFigures(clip, None, None)
        return NetworkFigures(clip, _kid(torch.cat(ours), torch.cat(true)), _frechet(_means(ours), _means(true)))


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
