"""The noise each stage was trained on: what any sampler put into it must be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from paintsundo.diffusion.schedules import NoiseSchedule
from paintsundo.errors import UserError

StageName = Literal["keyframes", "video"]


@dataclass(frozen=True)
class Stage:
    """Noise schedule and prediction type of one stage, under the names diffusers schedulers use."""

    beta_start: float
    beta_end: float
    beta_schedule: str
    rescale_betas_zero_snr: bool
    prediction_type: str
    dynamic_scale: bool
    num_train_timesteps: int = 1000
    timestep_spacing: str = "trailing"

    @classmethod
    def named(cls, name: str) -> Stage:
        """The published settings of stage "keyframes" or "video". Raises UserError for another name."""
        if name not in STAGES:
            raise UserError(f"unknown stage {name!r}: one of {', '.join(STAGES)}")
        return STAGES[name]

    def schedule(self) -> NoiseSchedule:
        """The tables of the stage, dynamic scale included."""
        return NoiseSchedule.from_options(
            self.num_train_timesteps,
            self.beta_start,
            self.beta_end,
            self.beta_schedule,
            rescale_betas_zero_snr=self.rescale_betas_zero_snr,
            dynamic_scale_of_x0=self.dynamic_scale,
        )


# Trailing spacing, so that few steps still start at the noisiest timestep (Lin et al. 2024, section 3.3).
STAGES: dict[str, Stage] = {
    "keyframes": Stage(0.00085, 0.020, "linear", False, "epsilon", False),
    "video": Stage(0.00085, 0.012, "scaled_linear", True, "v_prediction", True),
}
