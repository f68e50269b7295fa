"""What a prediction says of the finished latent, and the prediction that says a given thing of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from paintsundo.diffusion.karras_dpm_solver import KarrasDPMSolverScheduler
from paintsundo.diffusion.precision import widen
from paintsundo.diffusion.schedules import SMALLEST_ALPHA_CUMPROD
from paintsundo.diffusion.targets import schedule_of
from paintsundo.errors import UserError


class FinishedEstimate:
    """Turns predictions into estimates of the finished latent x0 and back, for the model input of one scheduler.

    A model input is x_t = sqrt(a) s x0 + sqrt(1 - a) noise, with the tables of the scheduler's training noise.

    Args:
        scheduler: any that the pipelines take, timesteps set. Coefficients are looked up for all of them at once, on
            the host.

    Raises:
        UserError: the scheduler does not say what its model predicts.
    """

    def __init__(self, scheduler: Any) -> None:
        stage = getattr(scheduler, "stage", None)
        self.prediction_type = getattr(stage, "prediction_type", None) or scheduler.config.get("prediction_type")
        if self.prediction_type not in ("epsilon", "v_prediction", "sample"):
            raise UserError(f"{type(scheduler).__name__} does not say what its model predicts")
        tables = schedule_of(scheduler)
        every = np.arange(len(tables))
        # Timesteps of some samplers lie between two of the schedule.
        at = scheduler.timesteps.detach().double().cpu().numpy()
        if isinstance(scheduler, KarrasDPMSolverScheduler):
            log_sigmas = scheduler.sigmas[:-1].double().log().numpy()  # its noise lies between timesteps, too
        else:
            log_sigmas = np.interp(at, every, tables.sigmas.log().numpy())
        self._scale = np.interp(at, every, tables.scale.numpy())
        ratio = np.exp(log_sigmas) * self._scale  # sqrt(1 - a) / sqrt(a)
        self._root_alpha = 1 / np.sqrt(1 + ratio**2)
        self._root_beta = np.sqrt(1 - self._root_alpha**2)
        self.log_snr = np.clip(-log_sigmas, 0.5 * np.log(SMALLEST_ALPHA_CUMPROD), None)

    def __len__(self) -> int:
        return len(self.log_snr)

    def of(self, prediction: Tensor, model_input: Tensor, step: int) -> Tensor:
        """x0 as a prediction (B, …) for the model input of the run's step has it; float32 or better."""
        output, x = widen(prediction), widen(model_input)
        root_alpha, root_beta, scale = self._at(step)
        if self.prediction_type == "v_prediction":
            return (root_alpha * x - root_beta * output) / scale
        if self.prediction_type == "epsilon":
            return (x - root_beta * output) / (root_alpha * scale)
        return output / scale

    def prediction(self, estimate: Tensor, model_input: Tensor, step: int) -> Tensor:
        """The prediction from which `of` makes this estimate of x0; both (B, …)."""
        x0, x = widen(estimate), widen(model_input)
        root_alpha, root_beta, scale = self._at(step)
        if self.prediction_type == "v_prediction":
            return (root_alpha * x - scale * x0) / root_beta
        if self.prediction_type == "epsilon":
            return (x - root_alpha * scale * x0) / root_beta
        return scale * x0

    def _at(self, step: int) -> tuple[float, float, float]:
        return float(self._root_alpha[step]), float(self._root_beta[step]), float(self._scale[step])
