"""A scheduler from its configuration and the stage it is to sample."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from diffusers.schedulers.scheduling_utils import SchedulerMixin
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from paintsundo.diffusion.dynamic_tsnr import DynamicTSNRScheduler
from paintsundo.diffusion.foreign import STAGE_OPTIONS, ForeignScheduler
from paintsundo.diffusion.karras_dpm_solver import KarrasDPMSolverScheduler
from paintsundo.diffusion.stages import Stage
from paintsundo.errors import UserError

OWN = (KarrasDPMSolverScheduler, DynamicTSNRScheduler)


def build_scheduler(config: Mapping[str, Any] | DictConfig | SchedulerMixin, stage: str | Stage) -> SchedulerMixin:
    """The scheduler that `config` names, with the betas, prediction type and spacing of `stage`.

    Args:
        config: `_target_`, one of this project's schedulers or `diffusers.NAME`, and its options; for a
            diffusers scheduler also `step_options`, arguments for its `step` such as eta. Or an instance of
            a diffusers scheduler, whose class and explicitly set options count.
        stage: "keyframes" (linear betas, epsilon) or "video" (zero-terminal-SNR sqrt-linear betas,
            v-prediction, trailing timesteps, dynamic scale of x0), or the noise of a model trained otherwise. The
            published schedulers exchange places with the settings of the stage; a diffusers scheduler comes inside
            a `ForeignScheduler`.

    Raises:
        UserError: unknown stage, class or option, or an option that the stage decides.
    """
    settings = stage if isinstance(stage, Stage) else Stage.named(stage)
    foreign_stage = asdict(stage) if isinstance(stage, Stage) else stage
    if isinstance(config, (*OWN, ForeignScheduler)):
        return config
    if isinstance(config, SchedulerMixin):
        return ForeignScheduler(type(config).__name__, foreign_stage, _explicit_options(config))
    plain = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    options: dict[str, Any] = {str(key): value for key, value in dict(plain).items()}  # type: ignore[arg-type]
    target = options.pop("_target_", None)
    if not isinstance(target, str):
        raise UserError("a scheduler configuration needs _target_, the scheduler's class")
    if target.startswith("diffusers."):
        step_options = options.pop("step_options", None)
        return ForeignScheduler(target.rsplit(".", 1)[1], foreign_stage, options, step_options)
    try:
        scheduler_class = get_class(target)
    except Exception as error:
        raise UserError(f"no scheduler {target!r}: {' '.join(str(error).split())}") from error
    if scheduler_class not in OWN:
        names = ", ".join(f"paintsundo.diffusion.{own.__name__}" for own in OWN)
        raise UserError(f"{target} is not a scheduler; one of {names}, diffusers.NAME")
    decided = [option for option in STAGE_OPTIONS if option in options]
    if decided:
        raise UserError(f"{target}: {', '.join(decided)} is decided by the stage")
    unknown = sorted(set(options) - set(inspect.signature(scheduler_class).parameters))
    if unknown:
        raise UserError(f"{target} has no option {', '.join(unknown)}")
    return scheduler_class(**(settings.scheduler_options() | options))


def _explicit_options(scheduler: Any) -> dict[str, Any]:
    """Options a diffusers scheduler was given, without its defaults and without what the stage decides."""
    defaulted = scheduler.config.get("_use_default_values", [])
    return {
        key: value
        for key, value in scheduler.config.items()
        if not key.startswith("_") and key not in defaulted and key not in STAGE_OPTIONS
    }
