"""Noise schedules, samplers, guidance, training targets and loss weights. No networks."""

from paintsundo.diffusion.build import build_scheduler
from paintsundo.diffusion.dynamic_tsnr import DynamicTSNRScheduler
from paintsundo.diffusion.foreign import ForeignScheduler
from paintsundo.diffusion.guidance import Guidance, guide
from paintsundo.diffusion.karras_dpm_solver import KarrasDPMSolverScheduler
from paintsundo.diffusion.loss_weights import MinSNRWeight, TimestepWeight, UniformWeight
from paintsundo.diffusion.schedules import NoiseSchedule
from paintsundo.diffusion.stages import Stage
from paintsundo.diffusion.targets import noisy_and_target

__all__ = [
    "DynamicTSNRScheduler",
    "ForeignScheduler",
    "Guidance",
    "KarrasDPMSolverScheduler",
    "MinSNRWeight",
    "NoiseSchedule",
    "Stage",
    "TimestepWeight",
    "UniformWeight",
    "build_scheduler",
    "guide",
    "noisy_and_target",
]
