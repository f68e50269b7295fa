"""The noise each stage was trained on: what any sampler put into it must be told."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from paintsundo.diffusion.schedules import NoiseSchedule
from paintsundo.errors import UserError

_FILE = "scheduler_config.json"

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

    @classmethod
    def read(cls, folder: str | Path, name: str) -> Stage:
        """What a model was trained on: FOLDER/scheduler_config.json, or the published settings where there is none.

        Raises:
            UserError: the file is damaged or names settings that are not known.
        """
        published, file = cls.named(name), Path(folder) / _FILE
        if not file.is_file():
            return published
        try:
            given = {k: v for k, v in json.loads(file.read_text(encoding="utf-8")).items() if not k.startswith("_")}
            stage = cls(**{**asdict(published), **given})
            stage.schedule()
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{file} cannot be used: {' '.join(str(error).split())}") from None
        return stage

    def save(self, folder: str | Path) -> None:
        """Write what `read` reads."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=2, sort_keys=True)
        (Path(folder) / _FILE).write_text(text + "\n", encoding="utf-8")

    def scheduler_options(self) -> dict[str, Any]:
        """Arguments of this project's schedulers."""
        return {key: value for key, value in asdict(self).items() if key != "timestep_spacing"}

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
