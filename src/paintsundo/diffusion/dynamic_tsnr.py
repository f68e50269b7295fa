"""The published video sampler: stochastic DDIM, zero terminal SNR, trailing timesteps, dynamic scale."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers, SchedulerMixin, SchedulerOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from paintsundo.diffusion.precision import bounded, narrow, widen
from paintsundo.diffusion.schedules import NoiseSchedule, trailing_timesteps
from paintsundo.diffusion.targets import noise_to, velocity_of
from paintsundo.errors import UserError


class DynamicTSNRScheduler(SchedulerMixin, ConfigMixin):
    """DDIM (Song et al. 2021, eq. 12) with eta 1, trailing timesteps (Lin et al. 2024) and dynamic scale.

    The step at timestep t goes to its predecessor in the run, the last one to timestep 0 (not to clean data).
    The predicted x0, which carries the factor s_t, is multiplied by s_prev / s_t on the way. Steps need no
    memory of earlier ones, and samples of one batch may be at different timesteps. Coefficients are computed
    in float64 and kept in float32 on the device of the timesteps; tensor arithmetic is float32 or better.

    Args:
        num_train_timesteps, beta_start, beta_end, beta_schedule ("linear" | "scaled_linear"), trained_betas,
        rescale_betas_zero_snr: the noise schedule, as in diffusers; by default the published video schedule.
        prediction_type: "v_prediction", "epsilon" or "sample"; epsilon needs a schedule that does not end at
            zero SNR.
        eta: 1 adds as much noise at each step as DDPM, 0 none.
        dynamic_scale, turning_step, base_scale: scale of x0 by timestep (`schedules.dynamic_scale`).
    """

    _compatibles = [e.name for e in KarrasDiffusionSchedulers]  # noqa: RUF012 (diffusers' own convention)
    order = 1
    init_noise_sigma = 1.0

    @register_to_config
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        beta_schedule: str = "scaled_linear",
        trained_betas: list[float] | None = None,
        prediction_type: str = "v_prediction",
        rescale_betas_zero_snr: bool = True,
        eta: float = 1.0,
        dynamic_scale: bool = True,
        turning_step: int = 400,
        base_scale: float = 0.7,
    ) -> None:
        if prediction_type not in ("epsilon", "v_prediction", "sample"):
            raise UserError(f"prediction_type must be epsilon, v_prediction or sample, not {prediction_type!r}")
        if not 0 <= eta <= 1:
            raise UserError(f"eta must be 0 to 1, not {eta}")
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
        if prediction_type == "epsilon" and float(self.schedule.alphas_cumprod[-1]) == 0:
            raise UserError("prediction_type epsilon says nothing about x0 at zero terminal SNR; use v_prediction")
        self.alphas_cumprod = self.schedule.alphas_cumprod.float()
        self.scale = self.schedule.scale.float()
        self.timesteps = torch.arange(num_train_timesteps - 1, -1, -1)
        self.num_inference_steps: int | None = None
        self._coefficients: Tensor | None = None

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Choose `timesteps` (n,) int64 on `device`, falling from T-1; exactly n of them, none below 0.

        Raises UserError unless 1 <= num_inference_steps <= num_train_timesteps.
        """
        ascending = trailing_timesteps(num_inference_steps, len(self.schedule))
        self.timesteps = ascending.flip(0).to(device)
        self.num_inference_steps = num_inference_steps
        self._coefficients = self._coefficients_towards(ascending).to(device)

    def _coefficients_towards(self, ascending: Tensor) -> Tensor:
        """(T, 5) float32: by timestep, the weights of one step to the run's next lower timestep (or 0)."""
        every = torch.arange(len(self.schedule))
        rank = torch.searchsorted(ascending, every) - 1
        previous = torch.where(rank >= 0, ascending[rank.clamp(min=0)], 0)
        alpha = self.schedule.alphas_cumprod.float().double()
        alpha_prev = alpha[previous]
        rescale = self.schedule.scale[previous] / self.schedule.scale
        # DDIM equation 16. Timestep 0 stays where it is: alpha = alpha_prev gives sigma = 0.
        variance = (1 - alpha_prev) / (1 - alpha) * (1 - alpha / alpha_prev)
        sigma = self.config.eta * variance.clamp(min=0).sqrt()
        # With eta 1 the first direction is 0 but for rounding, and an error of 6e-8 has a root of 2e-4:
        # enough to move 3 % of a film's pixels by a level. So it is rounded where the published
        # code does: sigma to float32, then the difference in float32 of float32 alphas.
        rounded = 1 - alpha_prev.float() - sigma.float() ** 2
        direction = rounded.clamp(min=0).sqrt().double()
        x0_weight = alpha_prev.sqrt() * rescale
        columns = [alpha.sqrt(), (1 - alpha).sqrt(), x0_weight, direction, sigma]
        return torch.stack(columns, dim=1).float()

    def scale_model_input(self, sample: Tensor, timestep: float | Tensor | None = None) -> Tensor:
        """The sample as it is: it already has the variance that the network expects."""
        return sample

    def step(
        self,
        model_output: Tensor,
        timestep: int | Tensor,
        sample: Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
        noise: Tensor | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput | tuple[Tensor]:
        """One step to the timestep's predecessor.

        Args:
            model_output, sample: (B, …) the (guided) prediction and x_t. timestep: one, or (B,) one for each
                sample.
            generator: source of this step's noise; a list has one generator per sample, each drawing (1, …).
            noise: (B, …) the noise itself, in place of a draw.

        Returns the previous sample, in the dtype of `sample`. Every step draws noise (if eta > 0), the last
        as well.
        """
        if self._coefficients is None:
            raise ValueError("call set_timesteps first")
        at = torch.as_tensor(timestep, device=self._coefficients.device).reshape(-1).long()
        # Numbers on the processor multiply tensors on a GPU without a copy, for which it would wait.
        alone = len(at) == 1 and at.device.type == "cpu"
        weights = self._coefficients[at] if alone else self._coefficients[at].to(sample.device)
        shape = () if alone else (-1, *[1] * (sample.ndim - 1))
        root_alpha, root_beta, x0_weight, direction, sigma = (w.reshape(shape) for w in weights.unbind(1))
        x, prediction = widen(sample), bounded(widen(model_output))
        if self.config.prediction_type == "v_prediction":
            x0 = root_alpha * x - root_beta * prediction
            epsilon = root_alpha * prediction + root_beta * x
        elif self.config.prediction_type == "epsilon":
            epsilon = prediction
            x0 = (x - root_beta * epsilon) / root_alpha
        else:
            x0 = prediction
            epsilon = (x - root_alpha * x0) / root_beta
        previous = bounded(x0) * x0_weight + direction * epsilon
        if self.config.eta > 0:
            if noise is None:
                noise = _draw(sample, generator)
            previous = previous + sigma * widen(noise)
        prev_sample = narrow(previous, sample.dtype)
        return SchedulerOutput(prev_sample=prev_sample) if return_dict else (prev_sample,)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """x_t = sqrt(a) s x0 + sqrt(1 - a) noise of x0 (B, …) at training timesteps (B,)."""
        return narrow(noise_to(self.schedule, original_samples, noise, timesteps), original_samples.dtype)

    def get_velocity(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """v target sqrt(a) noise - sqrt(1 - a) s x0 of the clean sample (B, …) at timesteps (B,)."""
        return narrow(velocity_of(self.schedule, sample, noise, timesteps), sample.dtype)

    def __len__(self) -> int:
        return len(self.schedule)


def _draw(sample: Tensor, generator: torch.Generator | list[torch.Generator] | None) -> Tensor:
    if isinstance(generator, (list, tuple)) and len(generator) != len(sample):
        raise ValueError(f"{len(generator)} generators for a batch of {len(sample)}")
    dtype = torch.promote_types(sample.dtype, torch.float32)
    return randn_tensor(tuple(sample.shape), generator=generator, device=sample.device, dtype=dtype)
