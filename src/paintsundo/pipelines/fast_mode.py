"""Fast mode: a run of a sampler in which the network is asked less often than it could be.

The sampler itself goes through all of its steps and draws all of its noise, so that a fast run follows the path of the
full one: what it leaves out shows as a difference from the same film, not as another film.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from paintsundo.diffusion import Guidance, guide
from paintsundo.diffusion.finished_estimate import FinishedEstimate
from paintsundo.diffusion.precision import widen
from paintsundo.models.feature_reuse import InnerFeatures
from paintsundo.pipelines.fast_options import FastStageOptions


@dataclass(frozen=True)
class PlannedStep:
    """How one step of a run is computed.

    Attributes:
        asks: the network is asked.
        guides: the prediction is guided.
        negative: the pass without conditions is computed; otherwise its difference is that of an earlier step.
        inner: the inner blocks of the network are computed.
    """

    asks: bool = True
    guides: bool = True
    negative: bool = True
    inner: bool = True


def plan_steps(options: FastStageOptions, steps: int) -> list[PlannedStep]:
    """How each of a run's steps is computed, the noisiest first."""
    low, high = options.guidance_interval
    planned: list[PlannedStep] = []
    asked = guided = 0
    both_kept = False  # whether inner blocks were last computed for both halves
    for step in range(steps):
        always = step < options.predict_first or steps - step <= options.predict_last
        if not always and (step - options.predict_first + 1) % options.predict_every:
            planned.append(PlannedStep(asks=False, guides=False, negative=False, inner=False))
            continue
        guides = low <= (step + 0.5) / steps <= high
        negative = guides and guided % options.guidance_every == 0
        inner = asked % options.reuse_every == 0 or (negative and not both_kept)
        both_kept = negative if inner else both_kept
        planned.append(PlannedStep(True, guides, negative, inner))
        asked, guided = asked + 1, guided + guides
    return planned


def share_of_passes(options: FastStageOptions, steps: int, guidance: bool) -> float:
    """Network passes of a fast run over those of a full one; passes without inner blocks count as whole ones."""
    plan = plan_steps(options, steps)
    passes = sum(step.asks + (guidance and step.negative) for step in plan)
    return passes / (steps * (1 + guidance))


class _Run:
    """What one run knows of its earlier steps."""

    def __init__(self, options: FastStageOptions, scheduler: Any) -> None:
        self.plan = plan_steps(options, len(scheduler.timesteps))
        holds = not all(step.asks for step in self.plan)
        self.estimate = FinishedEstimate(scheduler) if holds else None
        self.extrapolate = options.extrapolate
        self.features = InnerFeatures(options.reuse_blocks) if options.reuse_every > 1 else None
        self.difference: Tensor | None = None
        self.estimates: list[tuple[int, Tensor]] = []  # of the last two steps asked
        self.index = 0

    def asked(self, prediction: Tensor, model_input: Tensor) -> None:
        if self.estimate is not None:
            found = self.estimate.of(prediction, model_input, self.index)
            self.estimates = [*self.estimates[-1:], (self.index, found)]

    def carried(self, model_input: Tensor) -> Tensor:
        """The prediction of a step at which the network is not asked."""
        assert self.estimate is not None
        known, x0 = self.estimates[-1]
        if self.extrapolate and len(self.estimates) == 2:
            before, earlier = self.estimates[0]
            # Linear in the logarithm of signal to noise, as multistep solvers are (Lu et al. 2022).
            snr = self.estimate.log_snr
            gone = float(snr[known] - snr[before])  # 0 within a step of some second-order samplers
            ahead = float(snr[self.index] - snr[known]) / gone if gone > 0 else 0.0
            x0 = x0 + self.extrapolate * ahead * (x0 - earlier)
        return self.estimate.prediction(x0, model_input, self.index)


@dataclass(frozen=True)
class FastGuidance(Guidance):
    """Guidance of runs that leave out what `options` says.

    Attributes:
        options: of this stage.
        run: of the run that goes on; `started` begins one.
    """

    options: FastStageOptions = dataclasses.field(default_factory=FastStageOptions)
    run: _Run | None = dataclasses.field(default=None, repr=False, compare=False)

    def started(self, scheduler: Any) -> Guidance:
        """The guidance for one run of a scheduler, whose timesteps are set."""
        return dataclasses.replace(self, run=_Run(self.options, scheduler))

    def __call__(
        self,
        predict: Callable[..., Tensor],
        shared: Mapping[str, Any],
        cond: Mapping[str, Tensor],
        uncond: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """The guided prediction (B, …) of the run's next step; arguments as in `Guidance`, `sample` among `shared`."""
        run = self.run
        if run is None:
            raise RuntimeError("FastGuidance is called between started() and the end of a run")
        step, sample = run.plan[run.index], shared["sample"]
        prediction = self._asked(run, step, predict, shared, cond, uncond) if step.asks else run.carried(sample)
        if step.asks:
            run.asked(prediction, sample)
        run.index += 1
        return prediction

    def _asked(
        self,
        run: _Run,
        step: PlannedStep,
        predict: Callable[..., Tensor],
        shared: Mapping[str, Any],
        cond: Mapping[str, Tensor],
        uncond: Mapping[str, Tensor] | None,
    ) -> Tensor:
        if run.features is not None:
            run.features.begin_step(reuse=not step.inner)
            shared = {**shared, "features": run.features}
        # Without its negative half a step is one of a network that is not guided.
        wanted = uncond if step.negative else None
        positive, negative = self.predictions(predict, shared, cond, wanted)
        if negative is not None:
            if self.options.guidance_every > 1:
                run.difference = widen(positive) - widen(negative)
            return guide(positive, negative, self.scale, self.rescale)
        positive = widen(positive)
        if not step.guides or run.difference is None:
            return positive
        return guide(positive, positive - run.difference, self.scale, self.rescale)
