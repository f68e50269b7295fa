"""Rows of batches out of the latent cache, for `data.stream.Stream`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from paintsundo.data.process import step_of_work, work_of_step
from paintsundo.data.process_source import ProcessSource
from paintsundo.data.samples import StateRule
from paintsundo.data.stream import Batch
from paintsundo.errors import UserError
from paintsundo.training.latent_cache import CacheRecipe, LatentCache

Row = dict[str, Any]


@dataclass(frozen=True)
class GridClipRule:
    """Clips over a cache's positions: `frames` of them, every n-th, n drawn from `strides`, beginning and ending where
    image tokens are kept (`CacheRecipe.token_every`).
    """

    frames: int
    strides: tuple[int, ...]

    def check(self, recipe: CacheRecipe) -> None:
        """Raises UserError when a stride gives no clip on this grid."""
        if self.frames < 2 or not self.strides or min(self.strides) < 1:
            raise UserError(f"clips need 2 frames and strides of at least 1, not {self.frames}, {list(self.strides)}")
        if recipe.positions <= max(self.strides) * (self.frames - 1):
            raise UserError(
                f"{self.frames} frames {max(self.strides)} apart do not fit into {recipe.positions} positions"
            )
        odd = [n for n in self.strides if recipe.image_encoder and n * (self.frames - 1) % recipe.token_every]
        if odd:
            raise UserError(
                f"clips of {self.frames} frames {odd[0]} apart do not end where image tokens are kept: "
                f"token_every must divide {odd[0] * (self.frames - 1)}, and is {recipe.token_every}"
            )

    def positions(self, recipe: CacheRecipe, random: np.random.Generator) -> list[int]:
        """Positions (T,) of a clip, ascending: the finished end first."""
        stride = self.strides[int(random.random() * len(self.strides))]
        every = recipe.token_every if recipe.image_encoder else 1
        starts = (recipe.positions - 1 - stride * (self.frames - 1)) // every + 1
        # A sixth of the starts beyond either end is pulled onto it: blank and finished ends must be well known.
        start = int(np.clip(np.floor((random.random() * 1.33 - 0.165) * starts), 0, starts - 1)) * every
        return [start + stride * frame for frame in range(self.frames)]


class CachedReader:
    """States or clips as latents.

    `collate` gives {"state_mean", "state_std", "finished_mean", "finished_std" float16 (B, C, h, w),
    "operation_steps" int64 (B,)} or {"clip_mean", "clip_std" float16 (B, C, T, h, w), "works" float32 (B, T)} and
    "image_tokens" float16 (B, 2, L, E) of the clip's ends where kept; with both "token_ids" int64 (B, 77) where
    kept, "tags", "keys".

    Args:
        source: the processes; only their index is used.
        cache: filled with them.
        rule: a state takes the position nearest to the step drawn.

    Raises:
        UserError: the rule does not fit the cache's positions.
    """

    def __init__(self, source: ProcessSource, cache: LatentCache, rule: StateRule | GridClipRule) -> None:
        if isinstance(rule, GridClipRule):
            rule.check(cache.recipe)
        self.source, self.cache, self.rule = source, cache, rule

    def read(self, index: int, bucket: tuple[int, int], randoms: Sequence[np.random.Generator]) -> list[Row]:
        content = str(self.source.index.hashes[index])
        if content not in self.cache:
            raise self.source.fault(index, "is not in the cache of latents")
        try:
            shared: Row = {"tags": list(self.cache.tags(content)), "key": self.source.index.name(index)}
            if self.cache.recipe.tokenizer is not None:
                shared["token_ids"] = self.cache.row(content, "token_ids").long()
            return [{**self._row(content, random), **shared} for random in randoms]
        except OSError as error:
            raise self.source.fault(index, f"cannot be read from the cache of latents ({error})") from error

    def _row(self, content: str, random: np.random.Generator) -> Row:
        recipe, works = self.cache.recipe, self.cache.recipe.works(content)
        if isinstance(self.rule, StateRule):
            position = int(np.abs(works - work_of_step(self.rule.draw(random))).argmin())
            means, stds = (self.cache.row(content, name, (position, 0)) for name in ("mean", "std"))
            row = {"state_mean": means[0], "state_std": stds[0], "finished_mean": means[1], "finished_std": stds[1]}
            return {**row, "operation_steps": torch.tensor(step_of_work(float(works[position])))}
        positions = self.rule.positions(recipe, random)
        clip: Row = {
            f"clip_{name}": self.cache.row(content, name, positions).transpose(0, 1) for name in ("mean", "std")
        }
        clip["works"] = torch.from_numpy(works[positions]).float()
        if recipe.image_encoder is not None:
            ends = [positions[end] // recipe.token_every for end in (0, -1)]
            clip["image_tokens"] = self.cache.row(content, "image_tokens", ends)
        return clip

    def collate(self, rows: Sequence[Row]) -> Batch:
        tensors = [name for name, value in rows[0].items() if isinstance(value, Tensor)]
        return {
            **{name: torch.stack([row[name] for row in rows]) for name in tensors},
            "tags": [row["tags"] for row in rows],
            "keys": [row["key"] for row in rows],
        }
