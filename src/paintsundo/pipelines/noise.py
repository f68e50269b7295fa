"""One random stream per sample, so that a film does not depend on what is computed together with it."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def streams(seeds: Sequence[int], device: torch.device | str) -> list[torch.Generator]:
    """One generator per sample on the device where noise is drawn. Equal seeds give equal streams."""
    return [torch.Generator(device=device).manual_seed(seed) for seed in seeds]


def draw(generators: Sequence[torch.Generator], shape: Sequence[int], device: torch.device | str) -> torch.Tensor:
    """Draw standard normal noise (B, *shape), float32, row i as one (1, *shape) draw from stream i."""
    rows = [
        torch.randn((1, *shape), generator=generator, device=generator.device, dtype=torch.float32)
        for generator in generators
    ]
    return torch.cat([row.to(device) for row in rows])
