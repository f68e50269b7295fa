"""Any diffusers scheduler in the place of a published one, by an exact change of variables."""

from __future__ import annotations

import inspect
import math
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin, SchedulerOutput
from torch import Tensor

from paintsundo.diffusion.precision import bounded, narrow, widen
from paintsundo.diffusion.schedules import NoiseSchedule, betas_of_alphas_cumprod, check_num_inference_steps
from paintsundo.diffusion.stages import Stage
from paintsundo.diffusion.targets import velocity_of
from paintsundo.errors import UserError

# Set by the stage; a configuration that sets them itself would sample from another model than was trained.
STAGE_OPTIONS = (
    "trained_betas",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "num_train_timesteps",
    "prediction_type",
    "rescale_betas_zero_snr",
)


class ForeignScheduler(SchedulerMixin, ConfigMixin):
    """A diffusers scheduler sampling one stage's model.

    diffusers schedulers know variance-preserving noise only, z = sqrt(A) x0 + sqrt(1 - A) noise. With the
    dynamic scale s_t of the video model, x_t = sqrt(a) s_t x0 + sqrt(1 - a) noise is not of that form, but
    x_t / rho_t is, with A / (1 - A) = s_t^2 a / (1 - a) and rho_t^2 = s_t^2 a + 1 - a. So the inner scheduler
    is given the betas of A and works on z; the network sees x_t = rho_t z, and its prediction is turned into
    the one that belongs to z. Nothing of the dynamic scale is lost. What does differ from
    `DynamicTSNRScheduler`: the inner scheduler's own stochasticity and last step (most go to clean data, ours
    to timestep 0), and zero terminal SNR is met to alpha_cumprod = 2^-24 (sigma 4096), because most of them
    divide by it.

    Inner arithmetic is float32 whatever the sample's dtype, and step counts whose trailing timesteps
    diffusers rounds to one entry too many (61) use its linspace spacing. Unlike the published samplers, most
    diffusers
    schedulers look timesteps up on the host: one device sync per step.

    Args:
        scheduler: class name in diffusers, e.g. "DDIMScheduler".
        stage: "keyframes" or "video", or the fields of a `Stage`.
        options: further options of that class. step_options: further arguments of its `step` (eta, s_churn,
            …).

    Raises:
        UserError: no such scheduler, an option it does not have, or one that the stage decides.
    """

    @register_to_config
    def __init__(
        self,
        scheduler: str,
        stage: str | dict[str, Any],
        options: dict[str, Any] | None = None,
        step_options: dict[str, Any] | None = None,
    ) -> None:
        self.stage = Stage.named(stage) if isinstance(stage, str) else Stage(**stage)
        self.schedule = self.stage.schedule()
        self.alphas_cumprod = self.schedule.alphas_cumprod.float()
        self._log_sigmas = self.schedule.sigmas.log().numpy()
        self._scale = self.schedule.scale.numpy()
        self._step_options = dict(step_options or {})
        self.scheduler = _inner(scheduler, self.stage, self.schedule, dict(options or {}))
        self._step_takes = frozenset(inspect.signature(self.scheduler.step).parameters)
        unknown = sorted(set(self._step_options) - self._step_takes)
        if unknown:
            raise UserError(f"{scheduler}.step has no option {', '.join(unknown)}")

    @property
    def timesteps(self) -> Tensor:
        """Timesteps of the run; fractional, and more than the number of steps, for some schedulers (Heun)."""
        return self.scheduler.timesteps

    @property
    def order(self) -> int:
        """Network evaluations for each step."""
        return getattr(self.scheduler, "order", 1)

    @property
    def init_noise_sigma(self) -> float:
        """Standard deviation of the sample before the first step."""
        return float(self.scheduler.init_noise_sigma)

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Start the next run at this index into `timesteps`, where the inner scheduler can."""
        self.scheduler.set_begin_index(begin_index)

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Choose the timesteps of a run, none below 0. Raises UserError for an impossible count."""
        check_num_inference_steps(num_inference_steps, self.stage.num_train_timesteps)
        inner, spacing = self.scheduler, self.scheduler.config.get("timestep_spacing")
        try:
            inner.set_timesteps(num_inference_steps, device=device)
            if float(inner.timesteps.min()) < 0:
                inner.register_to_config(timestep_spacing="linspace")
                inner.set_timesteps(num_inference_steps, device=device)
        except ValueError as error:
            raise UserError(f"{self.config.scheduler}: {error}") from error
        finally:
            if spacing is not None:
                inner.register_to_config(timestep_spacing=spacing)

    def _signal(self, timestep: float | Tensor) -> tuple[float, float, float]:
        """(sigma, s, alpha) at or between timesteps: noise to signal, dynamic scale, and x_t = alpha * y."""
        at = float(torch.as_tensor(timestep).reshape(-1)[0])
        every = np.arange(len(self._scale))
        sigma = math.exp(float(np.interp(at, every, self._log_sigmas)))
        scale = float(np.interp(at, every, self._scale))
        return sigma, scale, 1 / math.sqrt(scale**-2 + sigma**2)

    def scale_model_input(self, sample: Tensor, timestep: float | Tensor) -> Tensor:
        """Network input x_t for the sample (B, …), in its dtype."""
        sigma, _, alpha = self._signal(timestep)
        z = self.scheduler.scale_model_input(widen(sample), timestep)
        return narrow(z * (alpha * math.sqrt(1 + sigma**2)), sample.dtype)

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput | tuple[Tensor]:
        """One step of the inner scheduler: sample (B, …) and the network's prediction of the same shape.

        generator: handed on where the inner scheduler draws noise; a list has one per sample.
        Returns the next sample, in the dtype of `sample`.
        """
        state, prediction = widen(sample), bounded(widen(model_output))
        if self.stage.dynamic_scale:
            z = self.scheduler.scale_model_input(state, timestep)
            prediction = self._prediction_of_z(prediction, z, timestep)
        extra = dict(self._step_options)
        if "generator" in self._step_takes:
            extra["generator"] = generator
        previous = self.scheduler.step(prediction, timestep, state, return_dict=False, **extra)[0]
        prev_sample = narrow(previous, sample.dtype)
        return SchedulerOutput(prev_sample=prev_sample) if return_dict else (prev_sample,)

    def _prediction_of_z(self, output: Tensor, z: Tensor, timestep: float | Tensor) -> Tensor:
        """The prediction for z from that for x_t = rho z: both determine the same x0 and noise."""
        if self.stage.prediction_type == "epsilon":
            return output  # the noise is the same
        sigma, scale, alpha = self._signal(timestep)
        if self.stage.prediction_type == "sample":
            return output / scale
        root_a, root_b = alpha / scale, alpha * sigma
        x = z * (alpha * math.sqrt(1 + sigma**2))
        noise = root_a * output + root_b * x
        x0 = (root_a * x - root_b * output) / scale
        return (noise - sigma * x0) / math.sqrt(1 + sigma**2)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """x0 (B, …) noised to the inner scheduler's own space, at timesteps (B,) of the run."""
        noisy = self.scheduler.add_noise(widen(original_samples), widen(noise), timesteps)
        return narrow(noisy, original_samples.dtype)

    def get_velocity(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The network's v target for the clean sample (B, …) at training timesteps (B,)."""
        return narrow(velocity_of(self.schedule, sample, noise, timesteps), sample.dtype)

    def __len__(self) -> int:
        return len(self.schedule)


def _inner(name: str, stage: Stage, schedule: NoiseSchedule, options: dict[str, Any]) -> Any:
    scheduler_class = getattr(diffusers, name, None)
    # diffusers' stand-in for a class whose packages are missing says which it needs.
    missing = getattr(scheduler_class, "_backends", None)
    if missing:
        raise UserError(f"{name} needs packages that are not all installed: {', '.join(missing)}")
    if not (inspect.isclass(scheduler_class) and issubclass(scheduler_class, SchedulerMixin)):
        raise UserError(f"diffusers has no scheduler {name!r}")
    takes = inspect.signature(scheduler_class).parameters
    if "trained_betas" not in takes or "prediction_type" not in takes:
        raise UserError(f"{name} cannot sample these models: it has no betas and prediction type of its own")
    decided = [option for option in STAGE_OPTIONS if option in options]
    if decided:
        raise UserError(f"{name}: {', '.join(decided)} is decided by the stage")
    unknown = sorted(set(options) - set(takes))
    if unknown:
        raise UserError(f"{name} has no option {', '.join(unknown)}")
    # Cumulative alphas of z, from sigma = sqrt(1 - A) / sqrt(A).
    betas = betas_of_alphas_cumprod(1 / (1 + schedule.sigmas**2))
    settings: dict[str, Any] = {
        "trained_betas": betas.tolist(),
        "num_train_timesteps": stage.num_train_timesteps,
        "prediction_type": stage.prediction_type,
        "timestep_spacing": stage.timestep_spacing,
        # Latents are not confined to [-1, 1].
        "clip_sample": False,
    }
    settings = {key: value for key, value in settings.items() if key in takes}
    try:
        return scheduler_class(**(settings | options))
    except (ValueError, NotImplementedError, ImportError, TypeError) as error:
        raise UserError(f"{name}: {' '.join(str(error).split())}") from error
