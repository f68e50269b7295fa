"""Noise schedules as plain functions: betas, cumulative alphas, sigmas, timesteps, dynamic scale.

A picture x0 is noised to x_t = sqrt(a_t) * s_t * x0 + sqrt(1 - a_t) * noise, with a_t the cumulative
product of (1 - beta) ("alphas_cumprod") and s_t the dynamic scale (1 where it is off). All tables are
computed in float64; schedulers round them to float32 once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from paintsundo.errors import UserError

# A terminal alpha of exactly 0 means an infinite sigma. Samplers that work in sigma stop at this alpha
# instead (sigma 4096, the largest power of two whose unit-variance noise still fits into float16).
SMALLEST_ALPHA_CUMPROD = 2.0**-24


def linear_betas(num_train_timesteps: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.020) -> Tensor:
    """Betas of the published keyframe model, evenly spaced: (num_train_timesteps,) float64."""
    return torch.linspace(beta_start, beta_end, num_train_timesteps, dtype=torch.float64)


def sd_betas(num_train_timesteps: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.012) -> Tensor:
    """Betas of Stable Diffusion, evenly spaced in square root: (num_train_timesteps,) float64."""
    return torch.linspace(beta_start**0.5, beta_end**0.5, num_train_timesteps, dtype=torch.float64) ** 2


def zero_terminal_snr(betas: Tensor) -> Tensor:
    """Betas whose last timestep is pure noise: sqrt(a) is shifted and scaled to end at 0, start unchanged.

    Lin et al., "Common Diffusion Noise Schedules and Sample Steps Are Flawed" (2024), algorithm 1.
    In and out: (T,) with T >= 2, the result float64 with last entry exactly 1.
    """
    root = (1 - betas.double()).cumprod(0).sqrt()
    root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
    return betas_of_alphas_cumprod(root**2)


def betas_of_alphas_cumprod(alphas_cumprod: Tensor) -> Tensor:
    """The betas whose cumulative alphas are `alphas_cumprod` (T,), which must fall: (T,) float64."""
    alphas_cumprod = alphas_cumprod.double()
    previous = torch.cat([alphas_cumprod.new_ones(1), alphas_cumprod[:-1]])
    return 1 - alphas_cumprod / previous


def dynamic_scale(num_train_timesteps: int = 1000, turning_step: int = 400, base_scale: float = 0.7) -> Tensor:
    """Scale of x0 at each timestep: linear 1 -> base_scale over turning_step timesteps, then constant.

    Returns (num_train_timesteps,) float64.
    """
    scale = torch.full((num_train_timesteps,), base_scale, dtype=torch.float64)
    ramp = torch.linspace(1.0, base_scale, turning_step, dtype=torch.float64)[:num_train_timesteps]
    scale[: len(ramp)] = ramp
    return scale


def karras_sigmas(num_inference_steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """Falling sigmas of Karras et al. (2022), equation 5, then 0: (num_inference_steps + 1,) float32."""
    ramp = torch.linspace(0, 1, num_inference_steps)
    low, high = (torch.tensor(sigma) ** (1 / rho) for sigma in (sigma_min, sigma_max))
    return torch.cat([(high + ramp * (low - high)) ** rho, torch.zeros(1)])


def trailing_timesteps(num_inference_steps: int, num_train_timesteps: int = 1000) -> Tensor:
    """Timesteps counted back evenly from the last one, ascending: (num_inference_steps,) int64.

    The range below can come out one entry too long by rounding (61 of 1000), hence the cut.
    Raises UserError unless 1 <= num_inference_steps <= num_train_timesteps.
    """
    check_num_inference_steps(num_inference_steps, num_train_timesteps)
    falling = np.arange(num_train_timesteps, 0, -num_train_timesteps / num_inference_steps)
    falling = np.round(falling[:num_inference_steps]).astype(np.int64) - 1
    return torch.from_numpy(falling[::-1].copy())


def check_num_inference_steps(num_inference_steps: int, num_train_timesteps: int) -> None:
    """Raise UserError unless 1 <= num_inference_steps <= num_train_timesteps."""
    if not 1 <= num_inference_steps <= num_train_timesteps:
        raise UserError(f"num_inference_steps must be 1 to {num_train_timesteps}, not {num_inference_steps}")


@dataclass(frozen=True)
class NoiseSchedule:
    """The tables of one schedule, by timestep 0 (all but clean) … T-1 (noisiest).

    alphas_cumprod: (T,) float64 in [0, 1), falling. scale: (T,) float64, dynamic scale of x0, all ones where
        off.
    """

    alphas_cumprod: Tensor
    scale: Tensor
    _placed: dict[tuple[str, torch.device, torch.dtype], Tensor] = field(
        default_factory=dict, compare=False, repr=False
    )

    @classmethod
    def from_options(
        cls,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.020,
        beta_schedule: str = "linear",
        trained_betas: Sequence[float] | None = None,
        rescale_betas_zero_snr: bool = False,
        dynamic_scale_of_x0: bool = False,
        turning_step: int = 400,
        base_scale: float = 0.7,
    ) -> NoiseSchedule:
        """Build from the options diffusers schedulers use. beta_schedule: "linear" or "scaled_linear"."""
        if trained_betas is not None:
            betas = torch.as_tensor(trained_betas, dtype=torch.float64)
            if betas.shape != (num_train_timesteps,):
                raise UserError(f"trained_betas must have {num_train_timesteps} entries, not {betas.numel()}")
        elif beta_schedule == "linear":
            betas = linear_betas(num_train_timesteps, beta_start, beta_end)
        elif beta_schedule == "scaled_linear":
            betas = sd_betas(num_train_timesteps, beta_start, beta_end)
        else:
            raise UserError(f"beta_schedule must be linear or scaled_linear, not {beta_schedule!r}")
        if rescale_betas_zero_snr:
            betas = zero_terminal_snr(betas)
        scale = torch.ones(num_train_timesteps, dtype=torch.float64)
        if dynamic_scale_of_x0:
            scale = dynamic_scale(num_train_timesteps, turning_step, base_scale)
        return cls((1 - betas).cumprod(0), scale)

    @property
    def sigmas(self) -> Tensor:
        """(T,) float64 noise-to-signal ratio sqrt(1 - a) / (sqrt(a) * s), rising and always finite."""
        alphas = self.alphas_cumprod.clamp(min=SMALLEST_ALPHA_CUMPROD)
        return ((1 - alphas) / alphas).sqrt() / self.scale

    @property
    def root_alpha(self) -> Tensor:
        """(T,) float64 sqrt(a)."""
        return self.alphas_cumprod.sqrt()

    @property
    def root_beta(self) -> Tensor:
        """(T,) float64 sqrt(1 - a)."""
        return (1 - self.alphas_cumprod).sqrt()

    @property
    def snr(self) -> Tensor:
        """(T,) float64 signal-to-noise ratio a / (1 - a)."""
        return self.alphas_cumprod / (1 - self.alphas_cumprod)

    def at(self, table: str, timesteps: Tensor, like: Tensor) -> Tensor:
        """Entries of a table (named like its attribute) at integer timesteps (B,), as (B, 1, …) to multiply
        `like` (B, …): its dtype and device. Tables are copied to a device once.
        """
        place = (table, like.device, like.dtype)
        if place not in self._placed:
            self._placed[place] = getattr(self, table).to(like.dtype).to(like.device)
        values = self._placed[place][timesteps.to(like.device).reshape(-1).long()]
        return values.reshape(-1, *[1] * (like.ndim - 1))

    def __len__(self) -> int:
        return len(self.alphas_cumprod)
