"""The typed options of `fast=…`: which work a film may do without, at the price of small differences."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from paintsundo.errors import UserError

if TYPE_CHECKING:
    from paintsundo.pipelines.options import KeyframeOptions, VideoOptions

# One token of 2 × 2 has to stay.
MOST_MERGED = 0.75


@dataclass
class FastStageOptions:
    """What one stage leaves out; the defaults leave out nothing.

    Steps are counted from the noisiest, 1; shares of a run go from 0, noise, to 1, finished.

    Attributes:
        steps: at most so many steps.
        scheduler: in place of the stage's own.
        predict_every: the network is asked at every n-th step; between, its estimate of the finished latent goes on.
        predict_first, predict_last: so many steps at the beginning and the end, at which it is always asked.
        extrapolate: between, the estimate goes on changing as it did between the last two, 0 (stays) to 1.
        guidance_interval: [from, to], the share of the run in which there is guidance (Kynkäänniemi et al. 2024).
        guidance_every: the pass without conditions is computed at every n-th step at which the network is asked;
            between, its difference from the other pass is that of the last time.
        reuse_every: the inner blocks of the UNet are computed at every n-th step at which the network is asked.
        reuse_blocks: outermost blocks that are computed at each.
        merge_tokens: share of tokens that are merged into like ones for self-attention within a picture or frame, at
            the finest level that has any (`models.token_merging`).
    """

    steps: int | None = None
    scheduler: dict[str, Any] | None = None
    predict_every: int = 1
    predict_first: int = 1
    predict_last: int = 1
    extrapolate: float = 0.0
    guidance_interval: list[float] = field(default_factory=lambda: [0.0, 1.0])
    guidance_every: int = 1
    reuse_every: int = 1
    reuse_blocks: int = 3
    merge_tokens: float = 0.0

    def settings(self) -> dict[str, Any] | None:
        """What changes a film, for its record; None if nothing does but a number of steps and a scheduler."""
        if not self.changes_steps and not self.merge_tokens:
            return None
        chosen = dataclasses.asdict(self)
        if not self.merge_tokens:
            del chosen["merge_tokens"]  # films made before it came are known again
        return chosen

    @property
    def changes_steps(self) -> bool:
        """Whether any step of a run is computed otherwise than in full."""
        return max(self.predict_every, self.guidance_every, self.reuse_every) > 1 or self.guidance_interval != [0, 1]

    def apply(self, stage: KeyframeOptions | VideoOptions) -> None:
        """Bring a stage's number of steps and its scheduler to what is wanted here."""
        if self.steps is not None:
            stage.num_inference_steps = min(stage.num_inference_steps, self.steps)
        if self.scheduler is not None:
            stage.scheduler = dict(self.scheduler)

    def check(self, name: str) -> None:
        """Raise UserError for an impossible value; `name` of this stage is what errors begin with."""
        counts = ("predict_every", "guidance_every", "reuse_every", "reuse_blocks")
        for option in (*counts, *(("steps",) if self.steps is not None else ())):
            if getattr(self, option) < 1:
                raise UserError(f"{name}.{option} is {getattr(self, option)}: it must be at least 1")
        for option in ("predict_first", "predict_last"):
            if getattr(self, option) < 0:
                raise UserError(f"{name}.{option} is {getattr(self, option)}: it cannot be negative")
        if self.predict_first < 1:
            raise UserError(f"{name}.predict_first is 0: the network must be asked at the first step")
        if not 0 <= self.extrapolate <= 1:
            raise UserError(f"{name}.extrapolate is {self.extrapolate}: from 0 to 1 is possible")
        if not 0 <= self.merge_tokens <= MOST_MERGED:
            raise UserError(f"{name}.merge_tokens is {self.merge_tokens}: from 0 to {MOST_MERGED} is possible")
        interval = self.guidance_interval
        if len(interval) != 2 or not 0 <= interval[0] <= interval[1] <= 1:
            raise UserError(f"{name}.guidance_interval is {interval}: [from,to] is needed, 0 ≤ from ≤ to ≤ 1")


@dataclass
class FastOptions:
    """Both stages' shortcuts; `off` takes none, and computes as if this did not exist."""

    name: str = "off"
    keyframes: FastStageOptions = field(default_factory=FastStageOptions)
    video: FastStageOptions = field(default_factory=FastStageOptions)

    def check(self) -> None:
        """Raise UserError for an impossible value."""
        self.keyframes.check("fast.keyframes")
        self.video.check("fast.video")
