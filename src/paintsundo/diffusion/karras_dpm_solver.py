"""The published keyframe sampler: DPM-Solver++(2M) over Karras sigmas."""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers, SchedulerMixin, SchedulerOutput
from torch import Tensor

from paintsundo.diffusion.precision import bounded, narrow, widen
from paintsundo.diffusion.schedules import (
    SMALLEST_ALPHA_CUMPROD,
    NoiseSchedule,
    check_num_inference_steps,
    karras_sigmas,
)
from paintsundo.diffusion.targets import velocity_of
from paintsundo.errors import UserError


class KarrasDPMSolverScheduler(SchedulerMixin, ConfigMixin):
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2) over the sigmas of Karras et al. 2022, then 0.

    The sample lives in sigma space, y = x0 + sigma * noise, starting at noise * init_noise_sigma; the network
    sees scale_model_input(y) = x_t at the training timestep whose sigma is nearest in logarithm (an integer).
    Sigmas are kept in float32, step coefficients in float64, tensor arithmetic in float32 or better. With
    dynamic_scale the network's x0 is s_t * x0; the solver then runs over sigma / s_t, where its formulas hold
    unchanged, and the sample returned at the end is x0 itself.

    Args:
        num_train_timesteps, beta_start, beta_end, beta_schedule ("linear" | "scaled_linear"), trained_betas,
        rescale_betas_zero_snr: the noise schedule, as in diffusers; by default the published keyframe
            schedule.
        prediction_type: "epsilon", "v_prediction" or "sample".
        rho: bend of the Karras sigmas. solver_order: 2, or 1 for Euler (DDIM) steps.
        dynamic_scale, turning_step, base_scale: scale of x0 by timestep (`schedules.dynamic_scale`).
    """

    _compatibles = [e.name for e in KarrasDiffusionSchedulers]  # noqa: RUF012 (diffusers' own convention)
    order = 1

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.020,
        beta_schedule: str = "linear",
        trained_betas: list[float] | None = None,
        prediction_type: str = "epsilon",
        rescale_betas_zero_snr: bool = False,
        rho: float = 7.0,
        solver_order: int = 2,
        dynamic_scale: bool = False,
        turning_step: int = 400,
        base_scale: float = 0.7,
    ) -> None:
        if prediction_type not in ("epsilon", "v_prediction", "sample"):
            raise UserError(f"prediction_type must be epsilon, v_prediction or sample, not {prediction_type!r}")
        if solver_order not in (1, 2):
            raise UserError(f"solver_order must be 1 or 2, not {solver_order}")
        self.schedule = NoiseSchedule.from_options(
            num_train_timesteps,
            beta_start,
            beta_end,
            beta_schedule,
            trained_betas,
            rescale_betas_zero_snr,
            dynamic_scale,
            turning_step,
            base_scale,
        )
        self.alphas_cumprod = self.schedule.alphas_cumprod.float()
        # In float32 from float32 on, as published: the timestep of a sigma is a matter of the nearest one.
        alphas = self.alphas_cumprod.clamp(min=SMALLEST_ALPHA_CUMPROD)
        self.train_sigmas = ((1 - alphas) / alphas) ** 0.5 / self.schedule.scale.float()
        self.sigmas = self.train_sigmas.flip(0)
        self.timesteps = torch.arange(num_train_timesteps - 1, -1, -1)
        self.num_inference_steps: int | None = None
        self._restart()

    def _restart(self) -> None:
        self._begin_index: int | None = None
        self._step_index: int | None = None
        self._previous_denoised: Tensor | None = None

    @property
    def init_noise_sigma(self) -> float:
        """Standard deviation of the sample before the first step: the largest sigma."""
        return float(self.train_sigmas[-1])

    @property
    def step_index(self) -> int | None:
        """Index of the next step into `timesteps`; None before the first call."""
        return self._step_index

    @property
    def begin_index(self) -> int | None:
        """First step of a run that does not start from pure noise."""
        return self._begin_index

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Start the next run at this index into `timesteps` (a sample that is already partly denoised)."""
        self._begin_index = begin_index

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Choose `sigmas` (n + 1,) on the CPU and integer `timesteps` (n,) on `device`, falling.

        Raises UserError unless 1 <= num_inference_steps <= num_train_timesteps.
        """
        check_num_inference_steps(num_inference_steps, len(self.schedule))
        low, high = float(self.train_sigmas[0]), float(self.train_sigmas[-1])
        self.sigmas = karras_sigmas(num_inference_steps, low, high, self.config.rho)
        distance = self.sigmas[:-1, None].log() - self.train_sigmas.log()
        self._integer_timesteps = distance.abs().argmin(dim=1)
        self.timesteps = self._integer_timesteps.to(device)
        self.num_inference_steps = num_inference_steps
        self._restart()

    def index_for_timestep(self, timestep: float | Tensor) -> int:
        """Index of the first step at this timestep. Raises ValueError if the run has none."""
        wanted = torch.as_tensor(timestep).flatten()
        if (wanted != wanted[0]).any():
            raise ValueError("all samples of a batch must be at the same timestep")
        found = (self.timesteps.cpu() == wanted[0].cpu()).nonzero()
        if len(found) == 0:
            raise ValueError(f"timestep {wanted[0].item()} is not one of this run; iterate over `timesteps`")
        return int(found[0])

    def _current_index(self, timestep: float | Tensor) -> int:
        # Counted, not looked up: at many steps two neighbours share a timestep, and a look-up would sync the
        # device.
        if self.num_inference_steps is None:
            raise ValueError("call set_timesteps first")
        if self._step_index is None:
            begin = self._begin_index
            self._step_index = self.index_for_timestep(timestep) if begin is None else begin
        if self._step_index >= len(self.timesteps):
            raise ValueError("the run is finished; call set_timesteps for another one")
        return self._step_index

    def _signal(self, index: int) -> tuple[float, float, float]:
        """(sigma, s, alpha) of a step: its noise-to-signal ratio, dynamic scale, and x_t / y."""
        sigma = float(self.sigmas[index])
        scale = float(self.schedule.scale[self._integer_timesteps[index]])
        # From alpha = sqrt(a) * s and sigma = sqrt(1 - a) / alpha; 1 / sqrt(1 + sigma^2) where s = 1.
        return sigma, scale, 1 / math.sqrt(scale**-2 + sigma**2)

    def scale_model_input(self, sample: Tensor, timestep: float | Tensor) -> Tensor:
        """Network input x_t for the sample (B, …) of the current step, in the sample's dtype."""
        _, _, alpha = self._signal(self._current_index(timestep))
        return narrow(widen(sample) * alpha, sample.dtype)

    def _denoised(self, model_output: Tensor, sample: Tensor, index: int) -> Tensor:
        sigma, scale, alpha = self._signal(index)
        if self.config.prediction_type == "epsilon":
            return sample - sigma * model_output
        if self.config.prediction_type == "sample":
            return model_output / scale
        return (alpha / scale) ** 2 * sample - (sigma * alpha / scale) * model_output

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        return_dict: bool = True,
        generator: Any = None,
    ) -> SchedulerOutput | tuple[Tensor]:
        """One step from sigma to the next: sample (B, …) and the network's prediction of the same shape.

        generator: taken, as all schedulers' steps do here, and not used: this sampler draws no noise.
        Returns the next sample, in the dtype of `sample`.
        """
        index = self._current_index(timestep)
        x = widen(sample)
        denoised = bounded(self._denoised(widen(model_output), x, index))
        sigma, sigma_next = float(self.sigmas[index]), float(self.sigmas[index + 1])
        target = denoised
        if self._previous_denoised is not None and sigma_next > 0 and self.config.solver_order == 2:
            # h = lambda' - lambda with lambda = -log sigma; r = h_previous / h.
            ratio = math.log(float(self.sigmas[index - 1]) / sigma) / math.log(sigma / sigma_next)
            target = (1 + 0.5 / ratio) * denoised - (0.5 / ratio) * self._previous_denoised
        shrink = sigma_next / sigma
        prev_sample = narrow(shrink * x + (1 - shrink) * target, sample.dtype)
        self._previous_denoised = denoised
        self._step_index = index + 1
        return SchedulerOutput(prev_sample=prev_sample) if return_dict else (prev_sample,)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """x0 (B, …) noised to the sampler's own space, x0 + sigma_t * noise, at training timesteps (B,)."""
        x0 = widen(original_samples)
        noisy = x0 + self.schedule.at("sigmas", timesteps, x0) * widen(noise)
        return narrow(noisy, original_samples.dtype)

    def get_velocity(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """v target sqrt(a) noise - sqrt(1 - a) s x0 of the clean sample (B, …) at timesteps (B,)."""
        return narrow(velocity_of(self.schedule, sample, noise, timesteps), sample.dtype)

    def __len__(self) -> int:
        return len(self.schedule)
